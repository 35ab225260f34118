// Heads: any cuts give the same head or the same error; what is read can be written and read again; and what
// passes for a request can be sent upstream.
#include <optional>
#include <string>

#include <wsproxy/http/body.hpp>
#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/websocket/handshake.hpp>
#include <wsproxy/websocket/upgrade.hpp>

#include "fuzz.hpp"

namespace {

using namespace wsproxy;
using kind = head_parser::kind;

struct parsed {
  std::size_t consumed = 0;
  bool done = false;
  std::error_code error{};
  std::string method, text;
  int status = 0;
  http_version version{};
  wsproxy::fields lines{};

  bool operator==(const parsed&) const = default;
};

parsed parse(kind what, const head_limits& limits, std::string_view bytes, std::uint8_t seed) {
  head_parser parser(what, limits);
  parsed result;
  fuzz::in_pieces(bytes, seed, [&](std::string_view piece) {
    const std::string copy(piece);  // exactly as large: a byte read behind it is found
    const auto step = parser.feed(copy);
    fuzz::require(step.consumed <= copy.size(), "no more is consumed than there is");
    fuzz::require(step.done || step.error || step.consumed == copy.size(), "all is consumed until the end");
    result.consumed += step.consumed;
    result.done = step.done;
    result.error = step.error;
    return !step.done && !step.error;
  });
  if (!result.done) {
    result.consumed = 0;  // where an error is found may depend on the cuts; which one it is may not
    return result;
  }
  if (what == kind::request) {
    auto head = parser.take_request();
    result.method = std::move(head.method);
    result.text = std::move(head.target);
    result.version = head.version;
    result.lines = std::move(head.fields);
  } else {
    auto head = parser.take_response();
    result.status = head.status;
    result.text = std::move(head.reason);
    result.version = head.version;
    result.lines = std::move(head.fields);
  }
  return result;
}

// Without empty lines, space around values and dropped fields, which are not kept.
std::string written(kind what, const parsed& from) {
  std::string bytes;
  if (what == kind::request) serialize(request_head{from.method, from.text, from.version, from.lines}, bytes);
  else serialize(response_head{from.status, from.text, from.version, from.lines}, bytes);
  return bytes;
}

void send_upstream(const parsed& from) {
  const request_head head{from.method, from.text, from.version, from.lines};
  if (check_request(head)) return;
  const auto verdict = detect_upgrade(head);
  if (verdict.kind == request_kind::refused) return;
  std::error_code error;
  const auto framing = request_framing(head, error);
  fuzz::require(!error, "the framing of a request that was checked is known");
  const auto sent = make_upstream_request(head, verdict.kind, framing, {});
  std::string bytes;
  serialize(sent, bytes);
  const auto seen = parse(
      kind::request, {.line_bytes = 1 << 20, .head_bytes = 1 << 20, .drop_unusual_names = false}, bytes, 0);
  fuzz::require(seen.done && seen.consumed == bytes.size(), "the backend sees one head");
  const request_head again{seen.method, seen.text, seen.version, seen.lines};
  fuzz::require(request_framing(again, error) == framing && !error, "the backend sees the same body");
  fuzz::require(again.fields.count("Upgrade") == (verdict.kind == request_kind::websocket ? 1u : 0u),
                "only a handshake asks for an upgrade");
}

void receive(const parsed& from) {
  const response_head head{from.status, from.text, from.version, from.lines};
  std::error_code error;
  const auto framing = response_framing(head, "GET", error);
  if (error) return;
  std::string bytes;
  serialize(make_downstream_response(head, framing, true, http_version::http_1_1), bytes);
  const auto seen = parse(kind::response, {.line_bytes = 1 << 20, .head_bytes = 1 << 20}, bytes, 0);
  fuzz::require(seen.done && seen.consumed == bytes.size(), "the client sees one head");
  const response_head again{seen.status, seen.text, seen.version, seen.lines};
  const auto same = response_framing(again, "GET", error);
  using how = body_framing::kind;
  fuzz::require(!error && (same == framing || framing.how == how::until_close),
                "the client sees the same body");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input from(data, size);
  const auto choices = from.choice();
  const auto seed = from.choice();
  const auto what = (choices & 1) != 0 ? kind::response : kind::request;
  head_limits limits;
  if ((choices & 2) != 0) limits = {.line_bytes = 40, .head_bytes = 120, .field_count = 3};
  limits.drop_unusual_names = (choices & 4) == 0;

  const auto whole = parse(what, limits, from.rest(), 0);
  fuzz::require(parse(what, limits, from.rest(), seed) == whole, "cuts change nothing");
  fuzz::require(parse(what, limits, from.rest(), 255) == whole, "single bytes change nothing");
  if (!whole.done) return 0;

  const auto text = written(what, whole);
  auto again =
      parse(what, {.line_bytes = 1 << 20, .head_bytes = 1 << 20, .drop_unusual_names = false}, text, seed);
  fuzz::require(again.done && again.consumed == text.size(), "what is written is a head");
  again.consumed = whole.consumed;
  fuzz::require(again == whole, "what is written is the same head");
  if (what == kind::request) send_upstream(whole);
  else receive(whole);
  return 0;
}
