#include <wsproxy/http/fields.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace wsproxy;

namespace {

std::vector<std::string> elements(std::string_view list) {
  std::vector<std::string> found;
  for_each_element(list, [&](std::string_view element) {
    found.emplace_back(element);
    return true;
  });
  return found;
}

}  // namespace

TEST_CASE("names and tokens compare without case, in ASCII only") {
  CHECK(iequals("", ""));
  CHECK(iequals("Sec-WebSocket-Key", "sec-websocket-KEY"));
  CHECK_FALSE(iequals("a", "ab"));
  CHECK_FALSE(iequals("@", "`"));  // 0x40 and 0x60 differ by the same bit as letters
  CHECK_FALSE(iequals("[", "{"));
  CHECK_FALSE(iequals("\xc4", "\xe4"));
}

TEST_CASE("trimming removes space and tab, and nothing else") {
  CHECK(trim(" \t a \t b\t ") == "a \t b");
  CHECK(trim("") == "");
  CHECK(trim(" \t ") == "");
  CHECK(trim("\na\r") == "\na\r");
}

TEST_CASE("a token is made of one or more of 77 characters") {
  CHECK_FALSE(is_token(""));
  CHECK(is_token("!#$%&'*+-.^_`|~09azAZ"));
  CHECK_FALSE(is_token("a b"));
  int characters = 0;
  for (int c = 0; c != 256; ++c) characters += is_token(std::string(1, static_cast<char>(c)));
  CHECK(characters == 77);
}

TEST_CASE("lines keep their order and bytes, and are found without case") {
  fields lines{{"Host", "a"}, {"X-A", " 1 "}, {"x-a", "2"}};
  REQUIRE(lines.size() == 3);
  CHECK(lines[1].name == "X-A");
  CHECK(lines[1].value == "1");
  CHECK(lines[2].name == "x-a");
  CHECK(lines.find("X-a") == "1");
  CHECK(lines.count("X-A") == 2);
  CHECK(lines.value_or_empty("host") == "a");
  CHECK(lines.value_or_empty("none") == "");
  CHECK_FALSE(lines.find("none"));
  CHECK(lines.count("none") == 0);
  std::string all;
  for (const auto& line : lines) all.append(line.name).append("=").append(line.value).append(";");
  CHECK(all == "Host=a;X-A=1;x-a=2;");
}

TEST_CASE("an empty value is a line") {
  const fields lines{{"A", ""}};
  CHECK(lines.find("A") == "");
  CHECK(lines.count("A") == 1);
}

TEST_CASE("setting replaces the first line and removes the others") {
  fields lines{{"A", "1"}, {"B", "2"}, {"a", "3"}, {"C", "4"}};
  lines.set("a", "a longer value");
  CHECK(lines == fields{{"A", "a longer value"}, {"B", "2"}, {"C", "4"}});
  lines.set("A", " x ");
  CHECK(lines == fields{{"A", "x"}, {"B", "2"}, {"C", "4"}});
  lines.set("A", "");
  lines.set("D", "5");
  CHECK(lines == fields{{"A", ""}, {"B", "2"}, {"C", "4"}, {"D", "5"}});
}

TEST_CASE("erasing takes every line of a name") {
  fields lines{{"A", "1"}, {"B", "2"}, {"a", "3"}};
  CHECK(lines.erase("A") == 2);
  CHECK(lines.erase("A") == 0);
  CHECK(lines == fields{{"B", "2"}});
  lines.erase_if([](const field& each) { return each.value == "2"; });
  CHECK(lines.empty());
  lines.add("C", "4");
  CHECK(lines == fields{{"C", "4"}});
  lines.clear();
  CHECK(lines.empty());
}

TEST_CASE("arguments may be views into the object itself") {
  fields lines{{"Name", "value"}};
  for (int i = 0; i != 200; ++i) lines.add(lines[lines.size() - 1].name, lines[lines.size() - 1].value);
  for (const auto& line : lines) {
    CHECK(line.name == "Name");
    CHECK(line.value == "value");
  }
  fields pair{{"A", "short"}, {"B", "a value that is much longer than the other one"}};
  const auto longer = std::string(pair[1].value);
  pair.set("A", pair[1].value);
  CHECK(pair[0].value == longer);
  pair.set("A", pair[0].value.substr(2));
  CHECK(pair[0].value == longer.substr(2));
}

TEST_CASE("a copy and a moved object have lines of their own") {
  fields first{{"A", "1"}};
  fields second = first;
  second.set("A", "2");
  CHECK(first.find("A") == "1");
  const fields third = std::move(second);
  CHECK(third.find("A") == "2");
}

TEST_CASE("values of one name are joined in order") {
  const fields lines{
      {"X-Forwarded-For", "1.1.1.1"}, {"A", "b"}, {"x-forwarded-for", ""}, {"X-Forwarded-For", "2.2.2.2, 3"}};
  CHECK(lines.joined("X-Forwarded-For") == "1.1.1.1, , 2.2.2.2, 3");
  CHECK(lines.joined("A") == "b");
  CHECK(lines.joined("none") == "");
}

TEST_CASE("a list has the elements between its commas that are not empty") {
  CHECK(elements("") == std::vector<std::string>{});
  CHECK(elements(" , ,\t,") == std::vector<std::string>{});
  CHECK(elements("a") == std::vector<std::string>{"a"});
  CHECK(elements(",a ,\tb c,, d\t") == std::vector<std::string>{"a", "b c", "d"});
  int seen = 0;
  for_each_element("a, b, c", [&](std::string_view element) { return ++seen, element != "b"; });
  CHECK(seen == 2);
}

TEST_CASE("a token is found in the list that all lines of a name make, and only as a whole element") {
  const fields lines{
      {"Connection", ""}, {"connection", "keep-alive , UPGRADE"}, {"Upgrade", "h2c,websocket/13"}};
  CHECK(lines.has_token("Connection", "upgrade"));
  CHECK(lines.has_token("Connection", "keep-alive"));
  CHECK_FALSE(lines.has_token("Connection", "up"));
  CHECK_FALSE(lines.has_token("Connection", "keep-alive , UPGRADE"));
  CHECK_FALSE(lines.has_token("Upgrade", "websocket"));
  CHECK_FALSE(lines.has_token("None", "a"));
  CHECK_FALSE(lines.has_token("Connection", ""));
}

TEST_CASE("the lines of another object are appended where a test says so") {
  const fields from{{"A", "1"}, {"B", ""}, {"C", "3"}};
  fields lines{{"Z", "0"}};
  lines.add_if(from, [](const field& line) { return line.name != "A"; });
  CHECK(lines == fields{{"Z", "0"}, {"B", ""}, {"C", "3"}});
  fields replaced = from;
  replaced.set("A", "longer than before");  // which lies elsewhere
  lines.clear();
  lines.add_if(replaced, [](const field&) { return true; });
  CHECK(lines == fields{{"A", "longer than before"}, {"B", ""}, {"C", "3"}});
}

TEST_CASE("lines are well formed while every name is a token and no value would end its line") {
  CHECK(fields().well_formed());
  CHECK(fields{{"A", "b c\t\xff\x01"}}.well_formed());
  for (const std::string_view name : {"", " A", "A:", "A B", "\xff"})
    CHECK_FALSE(fields{{name, "b"}}.well_formed());
  for (const char c : {'\r', '\n', '\0'}) {
    const std::string value{'b', c, 'c'};
    fields lines{{"A", "b"}, {"B", value}};
    CHECK_FALSE(lines.well_formed());
    fields others;
    others.add_if(lines, [](const field& line) { return line.name == "B"; });
    CHECK_FALSE(others.well_formed());
    others = lines;
    others.set("B", "harmless");
    CHECK(others.well_formed());
    others.set("A", value);
    CHECK_FALSE(others.well_formed());
    CHECK(others.erase("A") == 1);
    CHECK(others.well_formed());
    lines.clear();
    lines.add("A", "b");
    CHECK(lines.well_formed());
  }
}

TEST_CASE("equality is of lines, order and bytes") {
  const fields lines{{"A", "1"}, {"B", "2"}};
  CHECK(lines == fields{{"A", "1"}, {"B", "2"}});
  CHECK_FALSE(lines == fields{{"B", "2"}, {"A", "1"}});
  CHECK_FALSE(lines == fields{{"a", "1"}, {"B", "2"}});
  CHECK_FALSE(lines == fields{{"A", "1"}});
}
