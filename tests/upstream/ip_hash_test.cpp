#include <wsproxy/upstream/ip_hash.hpp>

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "group.hpp"

using namespace wsproxy::test;
using wsproxy::ip_hash;
using wsproxy::pick_state;
using wsproxy::upstream;

namespace {

upstream four() { return upstream({server("a"), server("b", 2), server("c", 3), server("d")}, ip_hash()); }

}  // namespace

// The orders are those of nginx for weights 1, 2, 3, 1.
TEST_CASE("an address is hashed, and again for each retry, as nginx does") {
  CHECK(attempts(four(), "192.168.1.1") == std::vector<std::string>{"a", "c", "d", "b"});
  CHECK(attempts(four(), "2001:db8::1") == std::vector<std::string>{"c", "b", "a", "d"});
  CHECK(attempts(four(), "2001:db8::2") == std::vector<std::string>{"c", "b", "a", "d"});
  CHECK(attempts(four(), "::ffff:10.0.0.1") == std::vector<std::string>{"b", "d", "a", "c"});
}

TEST_CASE("the last byte of an IPv4 address does not count") {
  const auto group = four();
  for (const char* client : {"192.168.1.0", "192.168.1.77", "192.168.1.255"})
    CHECK(attempts(group, client) == attempts(group, "192.168.1.1"));
  CHECK(pick_once(group, "192.168.2.1") == "b");
}

TEST_CASE("an IPv6 zone does not count") {
  CHECK(attempts(four(), "2001:db8::1%eth0") == attempts(four(), "2001:db8::1"));
}

TEST_CASE("clients without an IP address are one") {
  for (const char* client : {"", "unix:", "no address", "1.2.3", "1.2.3.4.5"})
    CHECK(attempts(four(), client) == std::vector<std::string>{"b", "c", "d", "a"});
}

TEST_CASE("the client counts, not the hash key") {
  const auto group = four();
  pick_state state;
  CHECK(group.pick({.client = "192.168.1.1", .hash_key = "192.168.2.1"}, state, start).backend()->name() ==
        "a");
}

TEST_CASE("an address hashed in vain twenty times goes round robin") {
  auto nearly_all = server("a", 1'000'000'000);
  nearly_all.down = true;
  const upstream group({nearly_all, server("b"), server("c")}, ip_hash());
  std::string seen;
  for (const char* client : {"10.0.0.1", "10.0.1.1", "10.0.2.1", "10.0.3.1"})
    seen += pick_once(group, client);
  CHECK(seen == "bcbc");
}

TEST_CASE("ip_hash needs no second backend and allows no backups") {
  CHECK(attempts(upstream({server("a")}, ip_hash()), "10.0.0.1") == std::vector<std::string>{"a"});
  CHECK_FALSE(ip_hash()->allows_backups());
}
