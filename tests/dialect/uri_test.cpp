#include <examples/gateway/uri.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace wsproxy_gateway;

namespace {

std::string path(std::string_view target) {
  const auto uri = parse_target(target);
  return uri ? uri->path : "(refused)";
}

std::string replaced(std::string_view target, std::string_view location, std::string_view uri) {
  return replace_prefix(parse_target(target).value(), location, uri);
}

}  // namespace

TEST_CASE("paths are decoded and normalised") {
  CHECK(path("/") == "/");
  CHECK(path("/a//b") == "/a/b");
  CHECK(path("/a/./b/../c") == "/a/c");
  CHECK(path("/a/..") == "/");
  CHECK(path("/a/b/.") == "/a/b/");
  CHECK(path("/a/...") == "/a/...");
  CHECK(path("/%61%2Fb") == "/a/b");
  CHECK(path("/a/%2e%2E/b") == "/b");
  CHECK(path("/a%3Fb?c") == "/a?b");
  CHECK(path("/a#b") == "/a");
}

TEST_CASE("what climbs above the root or is no escape is refused") {
  for (const auto* target : {"/..", "/a/../../b", "/%2e%2e/", "/%", "/%4", "/%zz", "/%00"})
    CHECK(path(target) == "(refused)");
}

TEST_CASE("the query is what follows the first question mark") {
  const auto uri = parse_target("/a?b?c=%20").value();
  CHECK(uri.args == "b?c=%20");
  CHECK(uri.raw == "/a?b?c=%20");
}

TEST_CASE("an absolute form counts without its host") {
  CHECK(parse_target("http://h:1/a?b").value().raw == "/a?b");
  CHECK(parse_target("http://h").value().raw == "/");
  CHECK(parse_target("http://h?x").value().raw == "?x");
}

TEST_CASE("the location's prefix is replaced byte for byte") {
  CHECK(replaced("/", "/", "/") == "/");
  CHECK(replaced("/a/b?c=d", "/", "/") == "/a/b?c=d");
  CHECK(replaced("/app/x", "/app/", "/") == "/x");
  CHECK(replaced("/app/x", "/app", "/") == "//x");
  CHECK(replaced("/app/x", "/app/", "/base") == "/basex");
  CHECK(replaced("/app//y/../x?q", "/app/", "/base/") == "/base/x?q");
}

TEST_CASE("a path that was escaped is escaped again, one that was not is not") {
  CHECK(replaced("/app/a%20b%25", "/app/", "/") == "/a%20b%25");
  CHECK(replaced("/app/%C3%A4", "/app/", "/") == "/%C3%A4");
  CHECK(replaced("/app/a|b", "/app/", "/") == "/a|b");
  CHECK(replaced("/app/a|b%41", "/app/", "/") == "/a%7CbA");
}
