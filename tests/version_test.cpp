#include <wsproxy/version.hpp>

#include <algorithm>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("the version is three numbers") {
  const std::string_view version = wsproxy::version();
  CHECK(std::ranges::count(version, '.') == 2);
  CHECK(version.find_first_not_of("0123456789.") == std::string_view::npos);
}
