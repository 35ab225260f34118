#include <wsproxy/upstream/key_hash.hpp>

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "group.hpp"

using namespace wsproxy::test;
using wsproxy::key_hash;
using wsproxy::upstream;

namespace {

upstream four() { return upstream({server("a"), server("b", 2), server("c", 3), server("d")}, key_hash()); }

}  // namespace

// The orders are those of nginx for weights 1, 2, 3, 1.
TEST_CASE("a key is hashed, and again for each retry, as nginx does") {
  CHECK(attempts(four(), "192.168.1.1") == std::vector<std::string>{"c", "b", "a", "d"});
  CHECK(attempts(four(), "10.0.0.1") == std::vector<std::string>{"a", "c", "b", "d"});
  CHECK(attempts(four(), "2001:db8::1") == std::vector<std::string>{"c", "d", "b", "a"});
}

TEST_CASE("a key stays with its backend") {
  const auto group = four();
  for (int i = 0; i != 20; ++i) CHECK(pick_once(group, "192.168.1.1") == "c");
}

TEST_CASE("another list hashes by its own weights") {
  auto group = four();
  CHECK(pick_once(group, "10.0.0.1") == "a");
  group.set_backends({server("x"), server("a"), server("b", 2), server("c", 2), server("d")});
  CHECK(pick_once(group, "10.0.0.1") == "x");
}

TEST_CASE("an empty key goes round robin by key_hash") {
  const upstream group({server("a", 2), server("b")}, key_hash());
  CHECK(picks(group, 6) == "a b a a b a");
}

TEST_CASE("a single backend needs no key") {
  CHECK(attempts(upstream({server("a")}, key_hash()), "any") == std::vector<std::string>{"a"});
}

TEST_CASE("a key hashed in vain twenty times goes round robin") {
  auto nearly_all = server("a", 1'000'000'000);
  nearly_all.down = true;
  const upstream group({nearly_all, server("b"), server("c")}, key_hash());
  std::string seen;
  for (const char* key : {"one", "two", "three", "four"}) seen += pick_once(group, key);
  CHECK(seen == "bcbc");
}

TEST_CASE("key_hash allows no backups") { CHECK_FALSE(key_hash()->allows_backups()); }
