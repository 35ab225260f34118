#include <wsproxy/proxy/detail/probe_machine.hpp>

#include <array>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <wsproxy/error.hpp>
#include <wsproxy/proxy/probe.hpp>
#include <wsproxy/websocket/handshake.hpp>

namespace wsproxy {
namespace {

using kind = probe_options::kind;

/// What decides how a request is read, or makes the handshake, is not the user's to add.
bool is_ours(std::string_view name) noexcept {
  for (const std::string_view each : {"Host", "Connection", "Upgrade", "Content-Length", "Transfer-Encoding",
                                      "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Accept"})
    if (iequals(name, each)) return true;
  return false;
}

request_head make_request(const probe_options& options, const std::string& host, std::string_view key) {
  request_head request{"GET", options.target, http_version::http_1_1, {}};
  request.fields.add("Host", options.host.empty() ? host : options.host);
  if (options.how == kind::websocket) {
    request.fields.add("Upgrade", "websocket");
    request.fields.add("Connection", "upgrade");
    request.fields.add("Sec-WebSocket-Version", "13");
    request.fields.add("Sec-WebSocket-Key", key);
  } else {
    request.fields.add("Connection", "close");
  }
  for (const auto& line : options.extra) request.fields.add(line.name, line.value);
  return request;
}

std::array<std::uint8_t, 16> sixteen_bytes(std::uint64_t a, std::uint64_t b) noexcept {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i != 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(a >> (8 * i));
    bytes[i + 8] = static_cast<std::uint8_t>(b >> (8 * i));
  }
  return bytes;
}

std::string host_of(const address& to) {
  return to.kind == address::family::unix_socket ? "localhost" : to.to_string();
}

}  // namespace

void validate(const probe_options& options) {
  const auto refuse = [](std::string_view why) {
    throw std::invalid_argument(fmt::format("probe_options::{}", why));
  };
  if (options.timeout <= duration::zero()) refuse("timeout must be above zero");
  if (options.timeout > longest_time) refuse("timeout must not be more than a century");
  if (options.how == kind::tcp) return;
  if (!options.target.starts_with('/'))
    refuse(fmt::format(R"(target "{}" does not begin with /)", options.target));
  if (options.status_from > options.status_to) refuse("status_from is greater than status_to");
  for (const auto& line : options.extra)
    if (is_ours(line.name))
      refuse(fmt::format("extra has the field {}, which the probe itself decides", line.name));
  const auto request = make_request(options, "localhost", "AQIDBAUGBwgJCgsMDQ4PEA==");
  try {
    std::string bytes;
    serialize(request, bytes);
  } catch (const std::invalid_argument& error) {
    refuse(fmt::format("target, host or extra cannot be sent: {}", error.what()));
  }
  if (const auto error = check_request(request))
    refuse(fmt::format("target, host or extra: {}", error.message()));
}

namespace detail {

probe_machine::probe_machine(const probe_options& options, const address& to,
                             const std::function<std::uint64_t()>& random)
    : request_(make_request(options, host_of(to), make_key(sixteen_bytes(random(), random())))),
      is_websocket_(options.how == kind::websocket),
      is_tcp_(options.how == kind::tcp),
      pings_(options.ping),
      status_from_(options.status_from),
      status_to_(options.status_to),
      mask_(static_cast<std::uint32_t>(random())),
      ping_(make_key(sixteen_bytes(random(), random()))),
      parser_(head_parser::kind::response) {}

std::string probe_machine::take_output() { return std::exchange(output_, {}); }

void probe_machine::on_connected() {
  if (at_ != step::connecting) return;
  if (is_tcp_) return passed();
  serialize(request_, output_);
  at_ = step::head;
}

void probe_machine::on_read(std::span<const char> bytes) {
  if (at_ == step::head) on_head({bytes.data(), bytes.size()});
  else on_frames(bytes);
}

void probe_machine::on_head(std::string_view bytes) {
  while (at_ == step::head && !bytes.empty()) {
    const auto parsed = parser_.feed(bytes);
    if (parsed.error) return fail(parsed.error);
    if (!parsed.done) return;
    bytes.remove_prefix(parsed.consumed);
    decide(parser_.take_response(), bytes);
  }
}

void probe_machine::decide(const response_head& response, std::span<const char> behind) {
  using verdict = response_verdict::kind;
  const auto found =
      check_response(request_, is_websocket_ ? request_kind::websocket : request_kind::plain, response);
  if (found.is == verdict::interim) return;  // the next head follows
  status_ = response.status;
  if (found.is == verdict::broken) return fail(found.error);
  if (found.is == verdict::final) {
    const bool wanted = !is_websocket_ && status_ >= status_from_ && status_ <= status_to_;
    return wanted ? passed() : fail(errc::unexpected_status);
  }
  if (!pings_) {
    passed();
  } else {
    const auto ping = make_control(opcode::ping, ping_, frame_sender::client, mask_);
    output_.append(ping.bytes.data(), ping.size);
    at_ = step::pong;
  }
  frames_ = frame_tracker(frame_sender::server, negotiated_rsv(response.fields));
  on_frames(behind);
}

void probe_machine::on_frames(std::span<const char> bytes) {
  while (at_ == step::pong || at_ == step::closing) {
    const auto next = frames_.next(bytes);
    if (next.what == frame_tracker::event::illegal) return fail(errc::bad_frame);
    if (next.what == frame_tracker::event::header) {
      payload_.clear();
    } else if (frames_.header().control()) {
      payload_.append(bytes.data(), next.consumed);
    }
    bytes = bytes.subspan(next.consumed);
    if (next.what == frame_tracker::event::end) on_frame();
    if (next.what == frame_tracker::event::none) return;
  }
}

void probe_machine::on_frame() {
  const auto code = frames_.header().code;
  if (code == opcode::close)
    return at_ == step::closing ? void(at_ = step::finished) : fail(errc::upstream_closed);
  if (at_ == step::pong && code == opcode::pong && payload_ == ping_) passed();
}

void probe_machine::on_eof() { fail(errc::upstream_closed); }

void probe_machine::on_broken(std::error_code) {
  fail(at_ == step::connecting ? errc::connect_failed : errc::upstream_closed);
}

void probe_machine::on_timeout() {
  fail(at_ == step::connecting ? errc::connect_timeout : errc::response_timeout);
}

void probe_machine::abort(std::error_code why) {
  error_ = why;
  at_ = step::finished;
}

void probe_machine::passed() {
  if (!is_websocket_) {
    at_ = step::finished;
    return;
  }
  const auto close = make_close(1000, {}, frame_sender::client, mask_);
  output_.append(close.bytes.data(), close.size);
  at_ = step::closing;
}

void probe_machine::fail(std::error_code why) {
  if (!decided()) error_ = why;
  at_ = step::finished;
}

}  // namespace detail
}  // namespace wsproxy
