#include "src/websocket/sha1.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace wsproxy;

namespace {

std::string hex(const sha1_digest& digest) {
  std::string text;
  for (const auto byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

// The first four are RFC 3174 section 7.3; the others were computed with another implementation.
TEST_CASE("SHA-1 of the standard's messages and of every way the padding falls") {
  CHECK(hex(sha1({"abc"})) == "a9993e364706816aba3e25717850c26c9cd0d89d");
  CHECK(hex(sha1({"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"})) ==
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  CHECK(hex(sha1({std::string(1'000'000, 'a')})) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
  std::string digits;
  for (int i = 0; i != 80; ++i) digits += "01234567";
  CHECK(hex(sha1({digits})) == "dea356a2cddd90c7a7ecedc5ebb563934f460452");
  CHECK(hex(sha1({})) == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  CHECK(hex(sha1({std::string(55, 'a')})) == "c1c8bbdc22796e28c0e15163d20899b65621d65a");
  CHECK(hex(sha1({std::string(56, 'a')})) == "c2db330f6083854c99d4b5bfb6e8f29f201be699");
  CHECK(hex(sha1({std::string(63, 'a')})) == "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
  CHECK(hex(sha1({std::string(64, 'a')})) == "0098ba824b5c16427bd7a1122a5a442a25ec644d");
  CHECK(hex(sha1({std::string(65, 'a')})) == "11655326c708d70319be2610e8a57d9a5b959d3b");
  CHECK(hex(sha1({std::string(119, 'a')})) == "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56");
  CHECK(hex(sha1({std::string(120, 'a')})) == "f34c1488385346a55709ba056ddd08280dd4c6d6");
}

TEST_CASE("SHA-1 of parts is that of the parts joined") {
  CHECK(sha1({"a", "", "bc"}) == sha1({"abc"}));
  CHECK(sha1({std::string(63, 'x'), "yz"}) == sha1({std::string(63, 'x') + "yz"}));
}
