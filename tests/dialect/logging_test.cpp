#include <examples/gateway/logging.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <unistd.h>

#include "fixture.hpp"

using namespace wsproxy_gateway;

TEST_CASE("an error log's message is one line, whatever a client put into it") {
  const auto path =
      (std::filesystem::temp_directory_path() / ("wsproxy-" + std::to_string(::getpid()) + ".log")).string();
  log_sink(path).message("error",
                         "host \"a\"\n2026-01-01T00:00:00+00:00 [notice] forged \x1B[31m\x9B\xC3\xA4\\");
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  CHECK(text.str().ends_with(
      " [error] host \"a\"\\x0A2026-01-01T00:00:00+00:00 [notice] forged \\x1B[31m\\x9B\\xC3\\xA4\\\n"));
}

TEST_CASE("an access line shows what became of the exchange, and no client can forge one") {
  const dialect_test::request what{.target = "/x", .fields = {{"Host", "h"}, {"User-Agent", "a\"b"}}};
  const auto head = what.head();
  const wsproxy::inbound in{head, what.client, 1, what.local, 80, 0, 1, 1};
  CHECK(access_line(in, 404, 12, nullptr).ends_with("\"GET /x HTTP/1.1\" 404 12 \"-\" \"a\\x22b\""));
  wsproxy::forward_result result;
  result.begun = wsproxy::time_point(std::chrono::seconds(10));
  result.established = result.begun;
  result.ended = result.begun + std::chrono::milliseconds(1042);
  result.cause = wsproxy::end_cause::closed;
  result.who = wsproxy::side::downstream;
  result.from_client.bytes = 5;
  CHECK(access_line(in, 101, 7, &result)
            .find(" websocket from_client=5 from_upstream=0 time=1.042 backend=- end=") != std::string::npos);
}
