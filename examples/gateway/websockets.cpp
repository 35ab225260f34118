// The websocket_ directives: what tunnels are pinged, bounded and ended by. None of them is nginx's.
//
//   websocket_heartbeat 20s timeout=10s side=both|client|upstream;
//   websocket_max_lifetime 4h jitter=10%;
//   websocket_max_message_size 1m;
//   websocket_max_frame_size 64k;
//   websocket_frames off|observe|enforce;
//   websocket_drain spread=10s code=1012 reason=text;
//   websocket_slow_consumer 30s;
//
// Each is inherited as a whole; `off` undoes what the block around says, and 0 is no limit.
#include <wsproxy/websocket/frame.hpp>

#include "handlers.hpp"
#include "values.hpp"

namespace wsproxy_gateway {
namespace {

constexpr std::string_view a_time = "a time is 60s, 1m30s or 500ms";

/// Always false, for `return complain(...)`.
bool complain(scope& in, const directive& d, const word& at, std::string_view value,
              std::string_view expected) {
  in.report().error(at.at, R"(invalid value "{}" in "{}" directive: {})", value, d.name().text, expected);
  return false;
}

bool is_off(const directive& d) { return d.arguments() == 1 && d.words[1] == "off"; }

bool read_time(scope& in, const directive& d, const word& at, std::string_view text,
               wsproxy::duration& into) {
  const auto t = parse_time(text);
  if (!t) return complain(in, d, at, text, a_time);
  into = *t;
  return true;
}

/// Gives `take` the parameters NAME=VALUE from word `first` on; it is false for a name that it does not know,
/// and reports a value that is wrong. False if anything was reported.
template <class Take> bool parameters(scope& in, const directive& d, std::size_t first, Take take) {
  const auto before = in.report().errors();
  std::set<std::string_view> seen;
  for (std::size_t i = first; i < d.words.size(); ++i) {
    const std::string_view text = d.words[i].text;
    const auto equals = text.find('=');
    const auto name = text.substr(0, equals);
    if (equals == text.npos || !take(name, text.substr(equals + 1), d.words[i]))
      in.report().error(d.words[i].at, R"(invalid parameter "{}" in "{}" directive)", text, d.name().text);
    else if (!seen.insert(name).second)
      in.report().error(d.words[i].at, R"(parameter "{}" is given twice)", name);
  }
  return in.report().errors() == before;
}

/// A code that an endpoint may put into a Close frame (RFC 6455 section 7.4).
std::optional<std::uint16_t> close_code(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number > 4999) return std::nullopt;
  const bool assigned = *number >= 1000 && *number <= 1014 && (*number < 1004 || *number > 1006);
  if (!assigned && *number < 3000) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

}  // namespace

namespace act {

void websocket_heartbeat(scope& in, const directive& d) {
  wsproxy::heartbeat beat;
  if (is_off(d)) {
    in.set->websocket_heartbeat = beat;
    return;
  }
  const bool timed = read_time(in, d, d.words[1], d.words[1].text, beat.interval);
  const bool known = parameters(in, d, 2, [&](std::string_view name, std::string_view value, const word& at) {
    if (name == "timeout") {
      read_time(in, d, at, value, beat.timeout);
    } else if (name == "side") {
      beat.downstream = value != "upstream";
      beat.upstream = value != "client";
      if (value != "both" && value != "client" && value != "upstream")
        complain(in, d, at, value, "a side is both, client or upstream");
    } else {
      return false;
    }
    return true;
  });
  if (timed && known) in.set->websocket_heartbeat = beat;
}

void websocket_max_lifetime(scope& in, const directive& d) {
  lifetime_limit limit;
  if (is_off(d)) {
    in.set->websocket_max_lifetime = limit;
    return;
  }
  const bool timed = read_time(in, d, d.words[1], d.words[1].text, limit.length);
  const bool known = parameters(in, d, 2, [&](std::string_view name, std::string_view value, const word& at) {
    if (name != "jitter") return false;
    const auto share = value.ends_with('%') ? parse_number(value.substr(0, value.size() - 1)) : std::nullopt;
    if (!share || *share > 100) complain(in, d, at, value, "a jitter is 0% to 100%");
    else limit.jitter = *share / 100.0;
    return true;
  });
  if (timed && known) in.set->websocket_max_lifetime = limit;
}

template <auto Member> void websocket_size(scope& in, const directive& d) {
  const auto size = is_off(d) ? std::optional<std::uint64_t>(0) : parse_size(d.words[1].text);
  if (!size) complain(in, d, d.words[1], d.words[1].text, "a size is 64k, 1m or off");
  else in.set->*Member = *size;
}
void websocket_max_message_size(scope& in, const directive& d) {
  websocket_size<&settings::websocket_max_message_size>(in, d);
}
void websocket_max_frame_size(scope& in, const directive& d) {
  websocket_size<&settings::websocket_max_frame_size>(in, d);
}

void websocket_frames(scope& in, const directive& d) {
  using wsproxy::frames;
  auto& set = in.set->websocket_frames;
  if (d.words[1] == "off") set = frames::off;
  else if (d.words[1] == "observe") set = frames::observe;
  else if (d.words[1] == "enforce") set = frames::enforce;
  else complain(in, d, d.words[1], d.words[1].text, "it is off, observe or enforce");
}

void websocket_drain(scope& in, const directive& d) {
  wsproxy::drain_options how{.deadline = wsproxy::duration::zero()};
  if (is_off(d)) {
    how.code = 0;
    in.set->websocket_drain = how;
    return;
  }
  const bool known = parameters(in, d, 1, [&](std::string_view name, std::string_view value, const word& at) {
    if (name == "spread") {
      read_time(in, d, at, value, how.spread);
    } else if (name == "code") {
      if (const auto code = close_code(value)) how.code = *code;
      else complain(in, d, at, value, "a Close code is 1000 to 1003, 1007 to 1014 or 3000 to 4999");
    } else if (name == "reason") {
      if (value.size() > 123) complain(in, d, at, value, "a reason has 123 bytes at most");
      how.reason = value;
    } else {
      return false;
    }
    return true;
  });
  if (known) in.set->websocket_drain = how;
}

void websocket_slow_consumer(scope& in, const directive& d) {
  wsproxy::duration after{};
  if (is_off(d) || read_time(in, d, d.words[1], d.words[1].text, after))
    in.set->websocket_slow_consumer = after;
}

}  // namespace act
}  // namespace wsproxy_gateway
