#include <wsproxy/websocket/detail/pump.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "frame_samples.hpp"

namespace wsproxy::detail {
namespace {

using samples::bytes;
using samples::sample;
constexpr auto client = frame_sender::client;
constexpr auto server = frame_sender::server;

std::string text_of(const slices& out) {
  std::string text;
  for (const auto& one : out.view()) text.append(one.data, one.size);
  CHECK(text.size() == out.total());
  return text;
}

// A pump and what came out of it.
struct rig {
  pump p;
  limits bounds{};
  std::string out{};

  explicit rig(frame_sender source, frames mode = frames::observe, std::uint8_t rsv = 0)
      : p(source, mode, rsv) {}

  // As its user does: a full list is emptied, and the rest given again.
  void feed(std::string_view in) {
    for (;;) {
      slices list;
      const auto taken = p.feed(in, bounds, list);
      REQUIRE(taken <= in.size());
      REQUIRE((taken == in.size() || !list.room()));
      out += text_of(list);
      in.remove_prefix(taken);
      if (in.empty()) return;
    }
  }
  void feed(std::string_view in, const std::vector<std::size_t>& cuts) {
    std::size_t at = 0;
    for (const auto cut : cuts) {
      feed(in.substr(at, cut - at));
      at = cut;
    }
    feed(in.substr(at));
  }
  void inject() {
    REQUIRE(p.sink_at_boundary());
    slices list;
    p.inject(list);
    out += text_of(list);
  }
  void end() {
    slices list;
    p.release_held(list);
    out += text_of(list);
  }
};

constexpr std::uint32_t some_mask = 0x5a1133f0;
constexpr std::uint64_t number = 0x1122334455667788;

std::string payload_of(std::uint64_t value) {
  std::string text(sizeof value, '\0');
  std::memcpy(text.data(), &value, sizeof value);
  return text;
}
std::optional<std::uint32_t> mask_of(frame_sender sender, std::uint32_t mask = some_mask) {
  return sender == client ? std::optional(mask) : std::nullopt;
}
std::string raw(frame_sender sender, opcode code, std::string payload = {}, bool fin = true) {
  return sample{.code = code, .payload = std::move(payload), .fin = fin, .mask = mask_of(sender)}.raw();
}
std::string pong(frame_sender sender, std::uint64_t value) {
  return raw(sender, opcode::pong, payload_of(value));
}

// One of everything that goes through unchanged, short enough for all pairs of cuts.
std::string a_bit_of_everything(frame_sender sender) {
  return raw(sender, opcode::text, "Hello") + raw(sender, opcode::ping) +
         raw(sender, opcode::binary, "ab", false) + raw(sender, opcode::ping, "12345678") +
         pong(sender, number + 1) + raw(sender, opcode::continuation, "", false) +
         raw(sender, opcode::continuation, "c") + raw(sender, opcode::binary, std::string(126, 'n')) +
         raw(sender, opcode::close, samples::close_payload(1000, "the end of it all"));
}

constexpr frames all_modes[] = {frames::off, frames::observe, frames::enforce};

TEST_CASE("legal frames pass unchanged, cut at every pair of places") {
  for (const auto sender : {client, server}) {
    const auto text = a_bit_of_everything(sender);
    for (const auto mode : all_modes) {
      for (std::size_t i = 0; i <= text.size(); ++i) {
        for (std::size_t k = i; k <= text.size(); ++k) {
          rig r(sender, mode);
          r.p.expect_pong(number);  // so that pongs are looked at
          r.feed(text, {i, k});
          if (r.out != text) FAIL("cuts at " << i << " and " << k);
        }
      }
    }
  }
}

TEST_CASE("legal frames pass unchanged, byte by byte") {
  for (const auto sender : {client, server}) {
    const auto text = a_bit_of_everything(sender);
    for (const auto mode : all_modes) {
      rig r(sender, mode);
      r.p.expect_pong(number);
      for (const char& byte : text) r.feed({&byte, 1});
      CHECK(r.out == text);
      CHECK(r.p.bytes() == text.size());
      CHECK(r.p.frames_seen() == (mode == frames::off ? 0 : 9));
      CHECK(r.p.messages() == (mode == frames::off ? 0 : 3));
      CHECK(r.p.close_code() == (mode == frames::off ? 0 : 1000));
    }
  }
}

TEST_CASE("bytes that are not followed pass at once and are never added to") {
  rig r(client, frames::off);
  r.feed("\xff\xff no frames at all");
  CHECK(r.out == "\xff\xff no frames at all");
  CHECK_FALSE(r.p.may_inject());
  CHECK_FALSE(r.p.tracked());
  CHECK(r.p.violation().empty());
}

// What is illegal, by its first bytes.
const std::string reserved_opcode = bytes({0x83, 0x05}) + "12345 and anything after it";
const std::string bad_length = bytes({0x82, 0x7e, 0x00, 0x05}) + "12345";

TEST_CASE("an observed violation makes a direction opaque for good, and not a byte is lost") {
  for (const auto& illegal : {reserved_opcode, bad_length}) {
    const auto text = raw(server, opcode::text, "Hello") + illegal + raw(server, opcode::close);
    for (std::size_t i = 0; i <= text.size(); ++i) {
      rig r(server);
      r.feed(text, {i});
      CHECK(r.out == text);
      CHECK_FALSE(r.p.violation().empty());
      CHECK_FALSE(r.p.fault());
      CHECK_FALSE(r.p.may_inject());
      CHECK_FALSE(r.p.tracked());
      CHECK_FALSE(r.p.close_seen());
      CHECK_FALSE(r.p.sink_at_boundary());
      r.feed("more");
      CHECK(r.out == text + "more");
    }
  }
}

TEST_CASE("what was to be put in is given up when a direction becomes opaque") {
  rig r(server);
  r.feed(raw(server, opcode::text, "Hello").substr(0, 3));
  r.p.want_ping(number, 0);
  r.p.want_close(1001, "", 0);
  r.feed("llo" + reserved_opcode);  // the boundary before the illegal frame is still used
  CHECK(r.p.close_injected());
  CHECK_FALSE(r.p.wants_injection());

  rig s(server);
  s.feed(reserved_opcode.substr(0, 1));
  s.feed(reserved_opcode.substr(1));
  CHECK_FALSE(s.p.may_inject());
  CHECK(s.out == reserved_opcode);
}

TEST_CASE("when frames are enforced nothing of the illegal one passes") {
  for (const auto& illegal : {reserved_opcode, bad_length}) {
    const auto legal = raw(server, opcode::text, "Hello") + raw(server, opcode::ping);
    const auto text = legal + illegal + raw(server, opcode::text, "more");
    for (std::size_t i = 0; i <= text.size(); ++i) {
      for (std::size_t k = i; k <= text.size(); ++k) {
        rig r(server, frames::enforce);
        r.feed(text, {i, k});
        CHECK(r.out == legal);
        CHECK(r.p.fault() == errc::bad_frame);
        CHECK_FALSE(r.p.violation().empty());
        CHECK(r.p.sink_at_boundary());
        CHECK(r.p.may_inject());
      }
    }
  }
}

TEST_CASE("after a fault a Close can be put in, and nothing else passes") {
  rig r(client, frames::enforce);
  r.feed(bytes({0x81, 0x01, 'x'}));
  CHECK(r.p.violation() == "unmasked frame from a client");
  r.p.want_close(1002, "", some_mask);
  r.inject();
  r.feed("anything");
  const auto sent = samples::read_frames(r.out);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].payload == samples::close_payload(1002));
  CHECK(sent[0].mask);
}

TEST_CASE("enforcing judges a Close before any of it passes") {
  struct bad_close {
    std::string payload;
    std::string_view violation;
  };
  const std::vector<bad_close> bad{
      {"x", "close code of one byte"},
      {samples::close_payload(999), "close code that must not be sent"},
      {samples::close_payload(1005), "close code that must not be sent"},
      {samples::close_payload(1015, "why"), "close code that must not be sent"},
      {samples::close_payload(2999), "close code that must not be sent"},
      {samples::close_payload(5000), "close code that must not be sent"},
      {samples::close_payload(1000, std::string(60, 'a') + "\xff"), "close reason that is not UTF-8"},
  };
  for (const auto sender : {client, server}) {
    const auto before = raw(sender, opcode::text, "Hello");
    for (const auto& one : bad) {
      const auto text = before + raw(sender, opcode::close, one.payload);
      for (std::size_t i = 0; i <= text.size(); ++i) {
        rig r(sender, frames::enforce);
        r.feed(text, {i});
        CHECK(r.out == before);
        CHECK(r.p.fault() == errc::bad_frame);
        CHECK(r.p.violation() == one.violation);
        CHECK_FALSE(r.p.close_seen());
        CHECK(r.p.may_inject());

        rig observed(sender);
        observed.feed(text, {i});
        CHECK(observed.out == text);
        CHECK_FALSE(observed.p.fault());
        CHECK(observed.p.close_seen());
      }
    }
  }
}

TEST_CASE("a frame over its limit is refused by the length it announces") {
  for (const std::uint64_t over : {0u, 1u}) {
    const auto small = raw(client, opcode::text, std::string(100, 's'));
    const auto large = raw(client, opcode::binary, std::string(200 + over, 'l'));
    for (std::size_t i = 0; i <= small.size() + 10; ++i) {
      rig r(client);
      r.bounds.frame = 200;
      r.feed(small + large, {i});
      CHECK(r.p.fault() == (over != 0 ? errc::frame_too_large : std::error_code{}));
      CHECK(r.out == (over != 0 ? small : small + large));
      CHECK(r.p.sink_at_boundary());
      CHECK(r.p.violation().empty());
    }
  }
  rig r(server);
  r.bounds.frame = 1 << 20;
  r.feed(bytes({0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  CHECK(r.p.fault() == errc::frame_too_large);
  CHECK(r.out.empty());
}

TEST_CASE("a message over its limit is refused at the fragment that makes it so") {
  const auto first = raw(server, opcode::text, std::string(60, 'a'), false);
  const auto ping = raw(server, opcode::ping, std::string(100, 'p'));  // is no part of it
  const auto second = raw(server, opcode::continuation, std::string(40, 'b'), false);
  const auto last = raw(server, opcode::continuation, "c");
  rig r(server);
  r.bounds.message = 100;
  r.feed(first + ping + second);
  CHECK_FALSE(r.p.fault());
  r.feed(last);
  CHECK(r.p.fault() == errc::message_too_large);
  CHECK(r.out == first + ping + second);

  rig again(server);  // each message is counted for itself
  again.bounds.message = 100;
  again.feed(first + second + raw(server, opcode::continuation) + first + second);
  CHECK_FALSE(again.p.fault());
}

TEST_CASE("fragments whose lengths overflow a counter do not hide a message over its limit") {
  rig r(server);
  r.bounds.message = 1000;
  r.feed(raw(server, opcode::binary, std::string(900, 'x'), false));
  r.feed(bytes({0x00, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  CHECK(r.p.fault() == errc::message_too_large);
}

TEST_CASE("a ping goes in at the first boundary, never inside a frame") {
  for (const auto sender : {client, server}) {
    const auto first = raw(sender, opcode::text, "first");
    const auto second = raw(sender, opcode::binary, std::string(130, 's'));
    const auto both = first + second;
    for (std::size_t i = 0; i <= both.size(); ++i) {
      rig r(sender);
      r.feed(std::string_view(both).substr(0, i));
      r.p.want_ping(number, some_mask);
      r.feed(std::string_view(both).substr(i));
      if (r.p.wants_injection()) r.inject();
      const auto sent = samples::read_frames(r.out);
      REQUIRE(sent.size() == 3);
      // Of a frame whose header is not complete nothing has gone: the ping goes before it.
      const std::size_t head = sender == client ? 6 : 2;
      const std::size_t at = i < head ? 0 : i < first.size() + head + 2 ? 1 : 2;
      CHECK(sent[at].code == opcode::ping);
      CHECK(sent[at].payload == payload_of(number));
      CHECK(sent[at].mask.has_value() == (sender == client));
      std::string rest;
      for (std::size_t k = 0; k != 3; ++k)
        if (k != at) rest += sent[k].raw();
      CHECK(rest == both);
      CHECK(r.p.take_ping_sent());
      CHECK_FALSE(r.p.take_ping_sent());
    }
  }
}

TEST_CASE("a ping goes between fragments") {
  rig r(server);
  r.feed(raw(server, opcode::text, "Hel", false));
  r.p.want_ping(number, 0);
  r.feed(raw(server, opcode::continuation, "lo"));
  const auto sent = samples::read_frames(r.out);
  REQUIRE(sent.size() == 3);
  CHECK(sent[1].code == opcode::ping);
}

TEST_CASE("nothing of ours follows the source's Close") {
  const auto text =
      raw(client, opcode::close, samples::close_payload(1000, "bye")) + raw(client, opcode::text, "late");
  for (std::size_t i = 0; i <= text.size(); ++i) {
    rig r(client);
    r.feed(std::string_view(text).substr(0, i));
    if (r.p.may_inject()) r.p.want_ping(number, some_mask);
    r.feed(std::string_view(text).substr(i));
    CHECK_FALSE(r.p.wants_injection());
    CHECK_FALSE(r.p.may_inject());
    CHECK(r.out.ends_with(text));
    const auto sent = samples::read_frames(r.out);
    // Until the Close is whole nothing of it has gone, and a ping still goes before it.
    CHECK(sent.front().code == (i < 11 ? opcode::ping : opcode::close));
  }
}

TEST_CASE("nothing follows a Close of ours, and the source's frames are still followed") {
  const auto first = raw(server, opcode::text, "first");
  const auto late =
      raw(server, opcode::text, "late") + raw(server, opcode::close, samples::close_payload(1001));
  for (std::size_t i = 0; i <= first.size(); ++i) {
    rig r(server);
    r.feed(std::string_view(first).substr(0, i));
    r.p.want_close(1012, "restart", 0);
    if (r.p.sink_at_boundary()) r.inject();
    r.feed(first.substr(i) + late);
    const auto sent = samples::read_frames(r.out);
    const bool before = i < 2;
    REQUIRE(sent.size() == (before ? 1 : 2));
    CHECK(sent.back().code == opcode::close);
    CHECK(sent.back().payload == samples::close_payload(1012, "restart"));
    CHECK(r.p.close_injected());
    CHECK_FALSE(r.p.may_inject());
    CHECK(r.p.close_seen());
    CHECK(r.p.close_code() == 1001);
    r.end();
    CHECK(samples::read_frames(r.out).size() == sent.size());
  }
}

TEST_CASE("a Close takes the place of a ping that has not gone") {
  rig r(server);
  r.p.want_ping(number, 0);
  r.p.want_close(1001, "", 0);
  r.inject();
  CHECK(r.out == bytes({0x88, 0x02, 0x03, 0xe9}));
  CHECK_FALSE(r.p.take_ping_sent());
}

TEST_CASE("the echo of our ping is swallowed once, wherever it is cut") {
  for (const auto sender : {client, server}) {
    const auto before = raw(sender, opcode::text, "before", false);
    const auto after = raw(sender, opcode::continuation, "after");
    const auto echo = pong(sender, number);
    const auto text = before + echo + after + echo;
    for (std::size_t i = 0; i <= text.size(); ++i) {
      for (std::size_t k = i; k <= text.size(); ++k) {
        rig r(sender, frames::enforce);
        r.p.expect_pong(number);
        r.feed(text, {i, k});
        if (r.out != before + after + echo) FAIL("cuts at " << i << " and " << k);
        CHECK(r.p.take_pong());
        CHECK_FALSE(r.p.take_pong());
        CHECK(r.p.frames_seen() == 3);
        CHECK(r.p.bytes() == text.size());
      }
    }
  }
}

TEST_CASE("pongs that are not our echo pass") {
  for (const auto sender : {client, server}) {
    rig r(sender);
    r.p.expect_pong(number);
    const auto text =
        pong(sender, number + 1) + raw(sender, opcode::pong) + raw(sender, opcode::pong, "1234567") +
        raw(sender, opcode::pong, payload_of(number) + "9") +
        raw(sender, opcode::ping, payload_of(number)) +  // a ping of its own with the same payload
        raw(sender, opcode::binary, payload_of(number));
    r.feed(text);
    CHECK(r.out == text);
    CHECK_FALSE(r.p.take_pong());
  }
}

TEST_CASE("without a ping of ours every pong passes") {
  rig r(client);
  r.feed(pong(client, number).substr(0, 10));
  CHECK(r.out == pong(client, number).substr(0, 10));  // it is not even held back
  r.feed(pong(client, number).substr(10));
  CHECK(r.out == pong(client, number));
}

TEST_CASE("each unanswered ping's echo is swallowed once, in any order; only the latest tells the time") {
  rig r(server);
  r.p.expect_pong(1);
  r.p.expect_pong(2);
  r.p.expect_pong(3);
  r.feed(pong(server, 2));
  CHECK_FALSE(r.p.take_pong());
  r.feed(pong(server, 3));
  CHECK(r.p.take_pong());
  r.feed(pong(server, 1));
  CHECK(r.out.empty());
  const auto again = pong(server, 1) + pong(server, 2) + pong(server, 3);
  r.feed(again);
  CHECK(r.out == again);
}

TEST_CASE("the oldest of many unanswered pings is forgotten") {
  rig r(server);
  for (std::uint64_t i = 1; i <= 5; ++i) r.p.expect_pong(i);
  r.feed(pong(server, 5) + pong(server, 2) + pong(server, 1));
  CHECK(r.out == pong(server, 1));
}

TEST_CASE("a ping goes before a pong that is held back") {
  rig r(client);
  r.p.expect_pong(number);
  const auto echo = pong(client, number);
  r.feed(echo.substr(0, 9));
  CHECK(r.p.sink_at_boundary());
  r.p.want_ping(number + 1, some_mask);
  r.inject();
  r.p.expect_pong(number + 1);
  r.feed(echo.substr(9));
  const auto sent = samples::read_frames(r.out);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].code == opcode::ping);
}

TEST_CASE("close codes are noted, also masked and cut anywhere") {
  struct noted {
    std::string payload;
    std::uint16_t code;
  };
  for (const auto sender : {client, server}) {
    for (const auto& one : {noted{"", 1005}, noted{"x", 1005}, noted{samples::close_payload(1000), 1000},
                            noted{samples::close_payload(4999, std::string(123, 'r')), 4999}}) {
      const auto text =
          raw(sender, opcode::close, one.payload) + raw(sender, opcode::close, samples::close_payload(3000));
      for (std::size_t i = 0; i <= text.size(); ++i) {
        rig r(sender);
        CHECK(r.p.close_code() == 0);
        r.feed(text, {i});
        CHECK(r.p.close_code() == one.code);  // the first one's
        CHECK(r.out == text);
      }
    }
  }
}

TEST_CASE("what is held back goes out when the source ends") {
  const auto text = raw(client, opcode::text, "whole") +
                    raw(client, opcode::close, samples::close_payload(1000, "half of it"));
  for (const auto mode : all_modes) {
    for (std::size_t i = 0; i <= text.size(); ++i) {
      rig r(client, mode);
      r.feed(std::string_view(text).substr(0, i));
      r.end();
      CHECK(r.out == text.substr(0, i));
      CHECK((mode == frames::off || r.p.sink_at_boundary() == (i == 0 || i == 11 || i == text.size())));
    }
  }
}

// A list that has `pieces` in it already.
slices filled(std::size_t pieces) {
  static const std::string other(64, 'o');
  slices list;
  for (std::size_t i = 0; i != pieces; ++i) list.borrow({other.data() + 2 * i, 1});
  return list;
}

TEST_CASE("more events in one read than the list has room for are not lost") {
  for (std::size_t pieces = 0; pieces <= 12; ++pieces) {
    rig r(server);
    std::string text;
    std::string rest = sample{.code = opcode::ping, .payload = payload_of(number)}.raw();
    r.p.want_ping(number, 0);
    for (std::uint64_t k = 0; k != 4; ++k) {
      r.p.expect_pong(k);
      text += raw(server, opcode::text, "ab") + pong(server, k);
      rest += raw(server, opcode::text, "ab");
    }
    auto list = filled(pieces);
    const auto taken = r.p.feed(text, r.bounds, list);
    r.out = text_of(list).substr(pieces);
    CHECK((taken == text.size()) == (pieces <= 4));
    if (taken != text.size()) r.feed(std::string_view(text).substr(taken));
    CHECK(r.out == rest);
  }
}

TEST_CASE("a frame without payload that fills the list is complete") {
  for (const auto code : {opcode::close, opcode::ping, opcode::text}) {
    rig r(server);
    const auto text = raw(server, code);
    r.feed(text.substr(0, 1));
    auto list = filled(8);
    CHECK(r.p.feed(std::string_view(text).substr(1), r.bounds, list) == 1);
    CHECK(text_of(list).substr(8) == text);
    CHECK(r.p.sink_at_boundary());
    CHECK(r.p.close_seen() == (code == opcode::close));
    CHECK(r.p.messages() == (code == opcode::text ? 1 : 0));
  }
}

TEST_CASE("a full list takes nothing") {
  for (const auto mode : all_modes) {
    auto list = filled(9);
    rig r(server, mode);
    CHECK(r.p.feed(raw(server, opcode::text, "x"), r.bounds, list) == 0);
    CHECK(text_of(list) == std::string(9, 'o'));
  }
}

TEST_CASE("a pump that is stopped swallows everything and still follows it") {
  rig r(client);
  const auto text =
      raw(client, opcode::text, "never") + raw(client, opcode::close, samples::close_payload(1000));
  r.p.stop();
  r.feed(text);
  r.end();
  CHECK(r.out.empty());
  CHECK(r.p.close_seen());
  rig s(client, frames::off);
  s.p.stop();
  s.feed(text);
  CHECK(s.out.empty());
}

// Random frames, pings and pongs of ours, and at times an illegal end; cut at random.
void random_direction(std::uint64_t seed) {
  samples::dice random(seed);
  const auto sender = samples::roll(random, 2) == 0 ? client : server;
  const auto mode = all_modes[samples::roll(random, 3)];
  const std::uint8_t rsv = samples::roll(random, 2) == 0 ? 0 : 0x40;
  std::string text;
  std::vector<std::string> legal;
  bool in_message = false;
  for (std::size_t i = samples::roll(random, 30); i != 0; --i) {
    legal.push_back(samples::random_frame(random, sender, in_message, rsv).raw());
    text += legal.back();
  }
  const auto legal_size = text.size();
  const bool broken = samples::roll(random, 3) == 0;
  if (broken) {
    text += bytes({0xb3, sender == client ? 0x85u : 0x05u});
    for (std::size_t i = samples::roll(random, 50); i != 0; --i) text += static_cast<char>(random());
  }
  rig r(sender, mode, rsv);
  std::size_t pings = 0;
  std::string_view left = text;
  while (!left.empty()) {
    if (r.p.may_inject() && samples::roll(random, 3) == 0)
      r.p.want_ping(random(), static_cast<std::uint32_t>(random()));
    if (r.p.wants_injection() && r.p.sink_at_boundary() && samples::roll(random, 2) == 0) r.inject();
    if (samples::roll(random, 4) == 0) r.p.expect_pong(random());
    const auto size =
        std::min(left.size(), 1 + samples::roll(random, samples::roll(random, 3) == 0 ? 100000 : 20));
    r.feed(left.substr(0, size));
    left.remove_prefix(size);
    if (r.p.take_ping_sent()) ++pings;
  }
  r.end();
  const auto expected = mode == frames::enforce ? text.substr(0, legal_size) : text;
  // At every boundary of the source's frames there may be pings of ours, and nowhere else.
  std::string_view out = r.out;
  std::size_t found = 0;
  auto skip_pings = [&](std::string_view next) {
    while (!out.empty() && !out.starts_with(next)) {
      const auto ping = samples::read_frame(out);
      REQUIRE(ping);
      REQUIRE(ping->frame.code == opcode::ping);
      REQUIRE(ping->frame.payload.size() == 8);
      REQUIRE(ping->frame.mask.has_value() == (sender == client));
      out.remove_prefix(ping->size);
      ++found;
    }
  };
  for (const auto& frame : legal) {
    skip_pings(frame);
    REQUIRE(out.starts_with(frame));
    out.remove_prefix(frame.size());
  }
  const auto tail = std::string_view(expected).substr(legal_size);
  skip_pings(tail.empty() ? std::string_view("\xff\xff") : tail);
  REQUIRE(out == tail);
  REQUIRE(found == pings);
  if (mode == frames::off) REQUIRE(found == 0);
}

TEST_CASE("random frames come out as they went in, with our pings at boundaries only") {
  samples::for_seeds(6000, random_direction);
}

}  // namespace
}  // namespace wsproxy::detail
