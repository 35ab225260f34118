#include <wsproxy/error.hpp>

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>

using namespace wsproxy;

namespace {

struct row {
  errc error;
  int status;
  condition group;  // {} for none
};

constexpr condition none{};

constexpr row table[] = {
    {errc::bad_start_line, 400, condition::bad_request},
    {errc::bad_version, 505, condition::bad_request},
    {errc::bad_method, 405, condition::bad_request},
    {errc::bad_target, 400, condition::bad_request},
    {errc::bad_field_name, 400, condition::bad_request},
    {errc::bad_field_value, 400, condition::bad_request},
    {errc::bad_line_ending, 400, condition::bad_request},
    {errc::folded_field, 400, condition::bad_request},
    {errc::start_line_too_long, 414, condition::bad_request},
    {errc::head_too_large, 400, condition::bad_request},
    {errc::missing_host, 400, condition::bad_request},
    {errc::duplicate_host, 400, condition::bad_request},
    {errc::bad_host, 400, condition::bad_request},
    {errc::bad_content_length, 400, condition::bad_request},
    {errc::length_with_coding, 400, condition::bad_request},
    {errc::chunked_not_last, 400, condition::bad_request},
    {errc::unknown_coding, 501, condition::bad_request},
    {errc::coding_in_http_1_0, 400, condition::bad_request},
    {errc::bad_chunk, 400, condition::bad_request},
    {errc::body_too_large, 413, condition::bad_request},
    {errc::body_truncated, 400, condition::bad_request},
    {errc::missing_key, 400, condition::bad_request},
    {errc::duplicate_key, 400, condition::bad_request},
    {errc::bad_key, 400, condition::bad_request},
    {errc::bad_websocket_version, 426, condition::bad_request},
    {errc::upgrade_with_body, 400, condition::bad_request},
    {errc::origin_not_allowed, 403, condition::bad_request},
    {errc::early_bytes_too_large, 400, condition::bad_request},
    {errc::bad_response, 502, condition::bad_gateway},
    {errc::unasked_switch, 502, condition::bad_gateway},
    {errc::bad_switch_upgrade, 502, condition::bad_gateway},
    {errc::bad_switch_connection, 502, condition::bad_gateway},
    {errc::bad_accept, 502, condition::bad_gateway},
    {errc::unexpected_status, 502, condition::bad_gateway},
    {errc::no_backend, 502, condition::unavailable},
    {errc::connect_failed, 502, condition::bad_gateway},
    {errc::upstream_closed, 502, condition::bad_gateway},
    {errc::client_head_timeout, 408, condition::timed_out},
    {errc::keep_alive_timeout, 0, condition::timed_out},
    {errc::client_body_timeout, 408, condition::timed_out},
    {errc::connect_timeout, 504, condition::timed_out},
    {errc::response_timeout, 504, condition::timed_out},
    {errc::send_stall_timeout, 504, condition::timed_out},
    {errc::idle_timeout, 0, condition::timed_out},
    {errc::half_close_timeout, 0, condition::timed_out},
    {errc::heartbeat_timeout, 0, condition::timed_out},
    {errc::bad_rewrite, 500, none},
    {errc::bad_frame, 0, none},
    {errc::message_too_large, 0, none},
    {errc::frame_too_large, 0, none},
    {errc::lifetime_reached, 0, none},
    {errc::consumer_too_slow, 0, none},
    {errc::downstream_closed, 0, none},
    {errc::tunnel_limit, 503, condition::unavailable},
    {errc::cancelled, 0, none},
};

}  // namespace

TEST_CASE("every error has its status and belongs to one group at most") {
  int value = 0;
  for (const auto& [error, status, group] : table) {
    CAPTURE(make_error_code(error).message());
    CHECK(static_cast<int>(error) == ++value);  // the table leaves none out
    CHECK(status_for(error) == status);
    for (const auto each :
         {condition::bad_request, condition::bad_gateway, condition::timed_out, condition::unavailable})
      CHECK((make_error_code(error) == each) == (each == group));
  }
}

TEST_CASE("every error has a sentence of its own") {
  std::set<std::string> sentences;
  for (const auto& each : table) {
    const auto text = make_error_code(each.error).message();
    CAPTURE(text);
    CHECK(sentences.insert(text).second);
    CHECK(text.back() == '.');
    CHECK(text != make_error_code(static_cast<errc>(999)).message());
  }
}

TEST_CASE("a timer's message names the timer") {
  CHECK(make_error_code(errc::send_stall_timeout).message().find("send_stall") != std::string::npos);
  CHECK(make_error_code(errc::lifetime_reached).message().find("max_lifetime") != std::string::npos);
}

TEST_CASE("an error of another category is a failed connection; success has no status") {
  CHECK(status_for(std::make_error_code(std::errc::connection_refused)) == 502);
  CHECK(status_for({}) == 0);
  CHECK_FALSE(std::make_error_code(std::errc::timed_out) == condition::timed_out);
}

TEST_CASE("categories and conditions can be told apart by name") {
  CHECK(std::string(category().name()) == "wsproxy");
  CHECK(std::string(condition_category().name()) == "wsproxy.condition");
  std::set<std::string> sentences;
  for (const auto each :
       {condition::bad_request, condition::bad_gateway, condition::timed_out, condition::unavailable})
    CHECK(sentences.insert(make_error_condition(each).message()).second);
}

TEST_CASE("stages, sides and causes are printed by their names") {
  CHECK(to_string(stage::head) == "head");
  CHECK(to_string(stage::pick) == "pick");
  CHECK(to_string(stage::connect) == "connect");
  CHECK(to_string(stage::handshake) == "handshake");
  CHECK(to_string(stage::response) == "response");
  CHECK(to_string(stage::tunnel) == "tunnel");
  CHECK(to_string(side::none) == "none");
  CHECK(to_string(side::downstream) == "downstream");
  CHECK(to_string(side::upstream) == "upstream");
  CHECK(to_string(side::local) == "local");
  CHECK(to_string(end_cause::none) == "none");
  CHECK(to_string(end_cause::complete) == "complete");
  CHECK(to_string(end_cause::closed) == "closed");
  CHECK(to_string(end_cause::reset) == "reset");
  CHECK(to_string(end_cause::timeout) == "timeout");
  CHECK(to_string(end_cause::limit) == "limit");
  CHECK(to_string(end_cause::drained) == "drained");
  CHECK(to_string(end_cause::aborted) == "aborted");
  CHECK(to_string(end_cause::refused) == "refused");
  CHECK(to_string(end_cause::failed) == "failed");
}
