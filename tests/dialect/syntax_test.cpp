#include <examples/gateway/syntax.hpp>

#include <catch2/catch_test_macros.hpp>

#include "fixture.hpp"

using namespace wsproxy_gateway;

namespace {

struct parsed {
  explicit parsed(std::string_view text)
      : tree(parse_syntax(text, std::make_shared<const std::string>("f"), report)) {}

  std::vector<std::string> words(std::size_t at = 0) const {
    std::vector<std::string> all;
    for (const auto& one : tree.at(at).words) all.push_back(one.text);
    return all;
  }
  std::vector<std::string> errors() const {
    std::vector<std::string> all;
    for (const auto& one : report.sorted()) all.push_back(one.to_string());
    return all;
  }

  diagnostics report;
  std::vector<directive> tree;
};

using strings = std::vector<std::string>;

}  // namespace

TEST_CASE("words end at space, semicolon and brace") {
  const parsed file("a b\tc;d{e f;}g;");
  CHECK(file.errors().empty());
  CHECK(file.words(0) == strings{"a", "b", "c"});
  CHECK(file.words(1) == strings{"d"});
  CHECK(file.tree[1].block);
  CHECK(file.tree[1].children.at(0).words.at(1).text == "f");
  CHECK(file.words(2) == strings{"g"});
}

TEST_CASE("comments in any language and CRLF line ends are passed over") {
  const parsed file("# \xE6\xB3\xA8\xE9\x87\x8A ; { \"\r\na b; # c\r\nd; # the last line");
  CHECK(file.errors().empty());
  CHECK(file.tree.size() == 2);
  CHECK(file.words(0) == strings{"a", "b"});
  CHECK(file.tree[1].at().line == 3);
}

TEST_CASE("a # inside a word begins no comment") { CHECK(parsed("a b#c;").words() == strings{"a", "b#c"}); }

TEST_CASE("quoted words hold spaces, braces and semicolons") {
  const parsed file("a 'b ; {' \"c } d\" '' \"it's\";");
  CHECK(file.errors().empty());
  CHECK(file.words() == strings{"a", "b ; {", "c } d", "", "it's"});
}

TEST_CASE("escapes are resolved as nginx does, others stay") {
  CHECK(parsed(R"(a "\"" '\'' "\\" "\t\r\n" ~\.php$ \d;)").words() ==
        strings{"a", "\"", "'", "\\", "\t\r\n", "~\\.php$", "\\d"});
  CHECK(parsed(R"(a b\;c;)").words() == strings{"a", "b\\;c"});
}

TEST_CASE("a brace behind a $ belongs to the word") {
  CHECK(parsed("a ${b}c x$d{e;}").words() == strings{"a", "${b}c", "x$d"});
}

TEST_CASE("a closing parenthesis may follow a quote") {
  CHECK(parsed("if ($a = 'b') { }").words() == strings{"if", "($a", "=", "b", ")"});
}

TEST_CASE("positions count lines and characters") {
  const parsed file("a;\n  \xC3\xA4\xC3\xB6 b;");
  CHECK(file.tree.at(1).at().line == 2);
  CHECK(file.tree.at(1).at().column == 3);
  CHECK(file.tree.at(1).words.at(1).at.column == 6);
}

TEST_CASE("a missing semicolon before } is named where it belongs") {
  const parsed file("server {\n  listen 80\n}\n");
  CHECK(file.errors() == strings{"f:2:12: error: unexpected \"}\": a \";\" is missing here"});
  CHECK(file.tree.size() == 1);
}

TEST_CASE("what is never closed is named where it was opened") {
  CHECK(parsed("a {\n b;").errors() ==
        strings{"f:1:3: error: this \"{\" is never closed: a \"}\" is missing"});
  CHECK(parsed("a 'b;\n").errors().at(0) == "f:1:3: error: this quote is never closed: a ' is missing");
  CHECK(parsed("a").errors() == strings{"f:1:2: error: unexpected end of file: a \";\" is missing here"});
}

TEST_CASE("stray punctuation is named") {
  CHECK(parsed("a;}").errors() == strings{"f:1:3: error: unexpected \"}\": no block is open"});
  CHECK(parsed(";").errors() == strings{"f:1:1: error: unexpected \";\""});
  CHECK(parsed("{}").errors() == strings{"f:1:1: error: unexpected \"{\""});
  CHECK(parsed("a \"b\"c;").errors() == strings{"f:1:6: error: unexpected \"c\" behind a closing quote"});
}

TEST_CASE("a full-width semicolon is named, and the rest is read on") {
  const parsed file("a b\xEF\xBC\x9B\nc \"d\"\xEF\xBC\x9B\ne;");
  CHECK(file.errors() == strings{"f:1:4: error: \"\xEF\xBC\x9B\" is a full-width semicolon: write ;",
                                 "f:2:6: error: \"\xEF\xBC\x9B\" is a full-width semicolon: write ;"});
  CHECK(file.tree.size() == 3);
  CHECK(file.words(0) == strings{"a", "b"});
}

TEST_CASE("a full-width semicolon inside a text is text") {
  CHECK(parsed("return 200 a\xEF\xBC\x9B"
               "b;")
            .errors()
            .empty());
  CHECK(parsed("return 200 a\xEF\xBC\x9B;").errors().empty());
}

TEST_CASE("curly quotes are named") {
  CHECK(parsed("a \xE2\x80\x9C"
               "b\xE2\x80\x9D;")
            .errors() == strings{"f:1:3: error: \"\xE2\x80\x9C\" is not a quote here: write \" or '"});
}

TEST_CASE("a byte order mark is named") {
  const parsed file(
      "\xEF\xBB\xBF"
      "a;");
  CHECK(file.errors() ==
        strings{"f:1:1: error: the file begins with a byte order mark; save it as UTF-8 without one"});
  CHECK(file.words() == strings{"a"});
}

TEST_CASE("blocks without end do not exhaust the stack") {
  std::string deep;
  for (int i = 0; i != 100000; ++i) deep += "a{";
  CHECK(parsed(deep).errors().size() > 1);
}
