#include "src/websocket/base64.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace wsproxy;

namespace {

std::string encode(std::string_view text) {
  return base64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace

TEST_CASE("base64 of the vectors of RFC 4648 section 10") {
  CHECK(encode("") == "");
  CHECK(encode("f") == "Zg==");
  CHECK(encode("fo") == "Zm8=");
  CHECK(encode("foo") == "Zm9v");
  CHECK(encode("foob") == "Zm9vYg==");
  CHECK(encode("fooba") == "Zm9vYmE=");
  CHECK(encode("foobar") == "Zm9vYmFy");
  CHECK(encode("\xfb\xff\xbf") == "+/+/");
}

TEST_CASE("the base64 of 16 bytes is known by its form") {
  CHECK(is_base64_of_16_bytes("dGhlIHNhbXBsZSBub25jZQ=="));
  CHECK(is_base64_of_16_bytes(encode(std::string(16, '\xff'))));
  CHECK(is_base64_of_16_bytes("AAAAAAAAAAAAAAAAAAAAAB=="));  // bits that mean nothing are not looked at
  for (const auto* text :
       {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25j==Q=",
        "dGhlIHNhbXBsZSBub25jZ Q==", "dGhlIHNhbXBsZSBub25-ZQ==", "dGhlIHNhbXBsZSBub25jZQ=a"}) {
    CAPTURE(text);
    CHECK_FALSE(is_base64_of_16_bytes(text));
  }
  CHECK_FALSE(is_base64_of_16_bytes(encode(std::string(15, 'a'))));
  CHECK_FALSE(is_base64_of_16_bytes(encode(std::string(17, 'a'))));
}
