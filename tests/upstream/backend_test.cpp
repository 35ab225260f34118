#include <wsproxy/upstream/backend.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <stdexcept>
#include <string>
#include <utility>

using wsproxy::address;

namespace {

constexpr auto ip = address::family::ip;
constexpr auto name = address::family::name;
constexpr auto unix_socket = address::family::unix_socket;

}  // namespace

TEST_CASE("an address is read with its kind, host and port") {
  CHECK(address::parse("10.0.12.108:9000") == address{ip, "10.0.12.108", 9000});
  CHECK(address::parse("[::1]:18104") == address{ip, "::1", 18104});
  CHECK(address::parse("backend.internal:8080") == address{name, "backend.internal", 8080});
  CHECK(address::parse("under_score:65535") == address{name, "under_score", 65535});
  CHECK(address::parse("unix:/run/app.sock") == address{unix_socket, "/run/app.sock", 0});
  CHECK(address::parse("UNIX:relative:1") == address{unix_socket, "relative:1", 0});
}

TEST_CASE("an address without a port has port 80") {
  CHECK(address::parse("10.0.0.1").port == 80);
  CHECK(address::parse("backend").port == 80);
  CHECK(address::parse("[::1]") == address{ip, "::1", 80});
}

TEST_CASE("what is almost an IP address is a name") {
  CHECK(address::parse("10.0.0").kind == name);
  CHECK(address::parse("10.0.0.256").kind == name);
  CHECK(address::parse("1.2.3.4.5").kind == name);
}

TEST_CASE("an address is written as it is read") {
  for (const char* text : {"10.0.0.1:80", "[::1]:8080", "backend:1", "unix:/run/app.sock"})
    CHECK(address::parse(text).to_string() == text);
  CHECK(address::parse("backend").to_string() == "backend:80");
}

TEST_CASE("an address that cannot be read is refused by its text and the reason") {
  const std::pair<std::string, std::string> wrong[] = {
      {"", "no host"},
      {":80", "no host"},
      {"host:", "invalid port"},
      {"host:65536", "invalid port"},
      {"host:-1", "invalid port"},
      {"host:80x", "invalid port"},
      {"host: 80", "invalid port"},
      {"::1", "no host"},
      {"fe80::1", "invalid port"},
      {"ho st", "invalid host"},
      {"host/path", "invalid host"},
      {"h\xc3\xb6st", "invalid host"},
      {"[::1", "no ] after ["},
      {"[]:80", "invalid IPv6 address"},
      {"[10.0.0.1]:80", "invalid IPv6 address"},
      {"[fe80::1%eth0]:80", "invalid IPv6 address"},
      {"[::1]80", "invalid host"},
      {"[::1]:", "invalid port"},
      {"unix:", "no path after unix:"},
  };
  for (const auto& [text, why] : wrong)
    CHECK_THROWS_MATCHES(address::parse(text), std::invalid_argument,
                         Catch::Matchers::Message("address \"" + text + "\": " + why));
}

TEST_CASE("a socket's path fits a socket address, or is refused") {
  CHECK(address::parse("unix:" + std::string(107, 'p')).host.size() == 107);
  CHECK_THROWS_AS(address::parse("unix:" + std::string(108, 'p')), std::invalid_argument);
  using namespace std::string_literals;
  CHECK_THROWS_AS(address::parse("unix:a\0b"s), std::invalid_argument);
  CHECK_THROWS_AS(address::parse("[::1\0]"s), std::invalid_argument);
}

TEST_CASE("a new backend carries nothing") {
  const wsproxy::backend one("app", address::parse("10.0.0.1:81"));
  CHECK(one.name() == "app");
  CHECK(one.address().to_string() == "10.0.0.1:81");
  CHECK(one.active() == 0);
  CHECK(one.picked() == 0);
  CHECK(one.failed() == 0);
}
