#include <examples/gateway/values.hpp>

#include <catch2/catch_test_macros.hpp>

#include <wsproxy/policy.hpp>

using namespace wsproxy_gateway;
using namespace std::chrono_literals;

TEST_CASE("times are read as nginx reads them") {
  CHECK(parse_time("60") == 60s);
  CHECK(parse_time("4s") == 4s);
  CHECK(parse_time("500ms") == 500ms);
  CHECK(parse_time("1m30s") == 90s);
  CHECK(parse_time("1h 30m") == 90min);
  CHECK(parse_time("1d12h") == 36h);
  CHECK(parse_time("2w") == 24h * 14);
  CHECK(parse_time("1m30") == 90s);
  CHECK(parse_time("1s500ms") == 1500ms);
  CHECK(parse_time("0") == 0s);
  CHECK(parse_time("99999999999") == wsproxy::longest_time);  // nginx takes it
  CHECK(parse_seconds("99999999999") == wsproxy::longest_time);
}

TEST_CASE("what is no time is refused") {
  for (const auto* text : {"", "s", "1x", "1s1m", "1m1m", "-1", "1.5s", "1 s", "1y", "1M", "5 3ms", "1ss",
                           "99999999999999999999", "9999999999999w"})
    CHECK_FALSE(parse_time(text).has_value());
}

TEST_CASE("whole seconds know years but no milliseconds") {
  CHECK(parse_seconds("1y") == 24h * 365);
  CHECK(parse_seconds("10s") == 10s);
  CHECK_FALSE(parse_seconds("10ms").has_value());
}

TEST_CASE("sizes have units of 1024") {
  CHECK(parse_size("512") == 512u);
  CHECK(parse_size("8k") == 8192u);
  CHECK(parse_size("1M") == 1u << 20);
  CHECK(parse_size("2g") == std::uint64_t{2} << 30);
  for (const auto* text : {"", "k", "1kk", "-1", "1t", "99999999999g"})
    CHECK_FALSE(parse_size(text).has_value());
}

TEST_CASE("the nearest name is suggested, a far one is not") {
  CHECK(closest("proxy_pas", {"proxy_pass", "proxy_redirect"}) == "proxy_pass");
  CHECK(closest("xyz", {"proxy_pass"}).empty());
  CHECK(closest("proxypaas", {"proxy_pass"}) == "proxy_pass");     // one is missing, another wrong
  CHECK(closest("prroxy_ppass", {"proxy_pass"}) == "proxy_pass");  // two are too many
  CHECK(closest("rpoxypass", {"proxy_pass"}).empty());             // three changes
  CHECK(closest("lisen", {"lister", "listen"}) == "listen");       // the nearer one
  CHECK(closest("if", {"ip", "in"}).empty());                      // short words are near to too many
  CHECK(closest(std::string(100000, 'a'), {"proxy_pass"}).empty());
}

TEST_CASE("bytes that are not kept are written as hexadecimal") {
  CHECK(escape_bytes(std::string_view("a\r\n\0~\x7F\x80\xFF ", 9), is_printable) ==
        "a\\x0D\\x0A\\x00~\\x7F\\x80\\xFF ");
}
