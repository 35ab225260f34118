// Frames: any cuts give the same verdict; what passes is what came, but for frames of ours; and those stand
// only between two frames.
#include <cstring>
#include <string>

#include <wsproxy/websocket/detail/pump.hpp>

#include "fuzz.hpp"

namespace {

using namespace wsproxy;
using detail::pump;

struct verdict {
  std::string out;
  std::string violation;
  std::error_code fault;
  std::uint64_t frames = 0, messages = 0;
  std::uint16_t code = 0;
  bool tracked = false, closed = false;

  bool operator==(const verdict&) const = default;
};

struct setting {
  frame_sender source;
  frames mode;
  std::uint8_t rsv;
  limits bounds;
  bool expects;
};

verdict follow(const setting& how, std::string_view bytes, std::uint8_t seed) {
  pump p(how.source, how.mode, how.rsv);
  if (how.expects) p.expect_pong(0x3132333435363738);
  verdict seen;
  fuzz::in_pieces(bytes, seed, [&](std::string_view piece) {
    const std::string copy(piece);
    std::span<const char> rest = copy;
    while (!rest.empty()) {
      detail::slices out;
      const auto taken = p.feed(rest, how.bounds, out);
      fuzz::require(taken <= rest.size() && (taken == rest.size() || !out.room()),
                    "all is taken while there is room");
      for (const auto& one : out.view()) seen.out.append(one.data, one.size);
      rest = rest.subspan(taken);
    }
    return true;
  });
  detail::slices held;
  p.release_held(held);
  for (const auto& one : held.view()) seen.out.append(one.data, one.size);
  seen.violation = p.violation();
  seen.fault = p.fault();
  seen.frames = p.frames_seen();
  seen.messages = p.messages();
  seen.code = p.close_code();
  seen.tracked = p.tracked();
  seen.closed = p.close_seen();
  return seen;
}

// A ping at every boundary there is: taken out again, the bytes are those that came.
void inject_everywhere(const setting& how, std::string_view bytes, std::uint8_t seed, const verdict& plain) {
  pump p(how.source, how.mode, how.rsv);
  std::string out, stripped;
  const auto take = [](const detail::slices& from, std::string& into) {
    for (const auto& one : from.view()) into.append(one.data, one.size);
  };
  fuzz::in_pieces(bytes, seed, [&](std::string_view piece) {
    const std::string copy(piece);
    std::span<const char> rest = copy;
    while (!rest.empty()) {
      detail::slices list;
      rest = rest.subspan(p.feed(rest, how.bounds, list));
      take(list, out);
      take(list, stripped);
    }
    if (p.may_inject() && p.sink_at_boundary()) {
      detail::slices ping;
      p.want_ping(7, 9);
      p.inject(ping);
      take(ping, out);
      fuzz::require(p.take_ping_sent(), "a ping was put in");
    }
    return true;
  });
  detail::slices held;
  p.release_held(held);
  take(held, out);
  take(held, stripped);
  fuzz::require(stripped == plain.out, "frames of ours change no other byte");
  // What comes out with our pings is as legal as what came in. (An opaque direction, or one at fault, gets
  // none.)
  if (!plain.tracked || plain.fault) return;
  const auto sink = follow({how.source, frames::observe, how.rsv, {}, false}, out, 0);
  fuzz::require(sink.violation == plain.violation && sink.messages == plain.messages,
                "the sink sees the same messages");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input from(data, size);
  const auto choices = from.choice();
  const auto seed = from.choice();
  setting how{(choices & 1) != 0 ? frame_sender::client : frame_sender::server,
              (choices & 2) != 0 ? frames::enforce : frames::observe,
              static_cast<std::uint8_t>((choices & 4) != 0 ? 0x40 : 0),
              {},
              (choices & 8) != 0};
  if ((choices & 16) != 0) how.bounds.message = 64;
  if ((choices & 32) != 0) how.bounds.frame = 32;

  const auto whole = follow(how, from.rest(), 0);
  fuzz::require(follow(how, from.rest(), seed) == whole, "cuts change nothing");
  fuzz::require(follow(how, from.rest(), 255) == whole, "single bytes change nothing");
  if (!how.expects && !whole.fault) fuzz::require(whole.out == from.rest(), "all bytes pass unchanged");
  if (how.expects) return 0;
  inject_everywhere(how, from.rest(), seed, whole);
  return 0;
}
