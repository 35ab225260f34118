#include "src/http/characters.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace wsproxy::characters;

TEST_CASE("text is skipped as far eight bytes at a time as one by one") {
  for (std::size_t size = 0; size != 20; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (int c = 0; c != 256; ++c) {
        std::string bytes(size, '\xe4');
        bytes[at] = static_cast<char>(c);
        for (std::size_t from = 0; from <= size; ++from)
          if (skip_text(bytes, from) != skip(bytes, from, text))
            FAIL(size << ' ' << at << ' ' << c << ' ' << from);
      }
    }
  }
  CHECK(skip_text("plain, with\ttabs and \xc3\xa4\r\n", 0) == 23);
  CHECK(skip_text(std::string(64, '~') + '\x7f', 3) == 64);
}
