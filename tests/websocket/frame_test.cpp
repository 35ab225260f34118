#include <wsproxy/websocket/frame.hpp>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "frame_samples.hpp"

namespace wsproxy {
namespace {

using samples::bytes;
using samples::sample;
using event = frame_tracker::event;
constexpr auto client = frame_sender::client;
constexpr auto server = frame_sender::server;

// What a tracker tells about a text given in pieces that end at `cuts`.
struct account {
  std::vector<std::pair<std::size_t, event>> events;  // where, and what
  std::vector<frame_header> headers;
  std::string violation;
  bool operator==(const account& other) const {
    return events == other.events && violation == other.violation;
  }
};

account follow(frame_tracker tracker, std::string_view text, std::vector<std::size_t> cuts = {}) {
  account found;
  cuts.push_back(text.size());
  std::size_t at = 0;
  for (const auto cut : cuts) {
    for (;;) {
      const auto step = tracker.next({text.data() + at, cut - at});
      at += step.consumed;
      if (step.what == event::none) break;
      found.events.emplace_back(at, step.what);
      if (step.what == event::header) found.headers.push_back(tracker.header());
      if (step.what != event::illegal) continue;
      found.violation = tracker.violation();
      return found;
    }
    REQUIRE(at == cut);
  }
  return found;
}

std::string_view violation_of(std::string_view text, frame_sender sender, std::uint8_t rsv = 0) {
  static std::string kept;
  kept = follow(frame_tracker(sender, rsv), text).violation;
  return kept;
}

TEST_CASE("the examples of RFC 6455 section 5.7 are read") {
  struct example {
    frame_sender sender;
    std::string text;
    opcode code;
    bool fin;
    std::uint64_t length;
  };
  const std::vector<example> examples{
      {server, bytes({0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}), opcode::text, true, 5},
      {client, bytes({0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}), opcode::text, true,
       5},
      {server, bytes({0x01, 0x03, 0x48, 0x65, 0x6c}), opcode::text, false, 3},
      {server, bytes({0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}), opcode::ping, true, 5},
      {client, bytes({0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}), opcode::pong, true,
       5},
      {server, bytes({0x82, 0x7e, 0x01, 0x00}) + std::string(256, 'x'), opcode::binary, true, 256},
      {server, bytes({0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}) + std::string(65536, 'x'), opcode::binary, true,
       65536},
  };
  for (const auto& one : examples) {
    const auto found = follow(frame_tracker(one.sender), one.text);
    REQUIRE(found.headers.size() == 1);
    const auto& header = found.headers[0];
    CHECK(header.code == one.code);
    CHECK(header.fin == one.fin);
    CHECK(header.length == one.length);
    CHECK(header.rsv == 0);
    CHECK(header.masked == (one.sender == client));
    if (header.masked) CHECK(header.mask == std::array<std::uint8_t, 4>{0x37, 0xfa, 0x21, 0x3d});
    const auto head = one.text.size() - one.length;
    CHECK(found.events == decltype(found.events){{head, event::header}, {one.text.size(), event::end}});
  }
}

TEST_CASE("a fragmented message, with a ping inside it, is one message") {
  frame_tracker tracker(server);
  const auto first = bytes({0x01, 0x03, 0x48, 0x65, 0x6c});
  const auto ping = bytes({0x89, 0x00});
  const auto last = bytes({0x80, 0x02, 0x6c, 0x6f});
  auto take = [&](const std::string& frame) {
    CHECK(tracker.at_boundary());
    const auto header = tracker.next(frame);
    CHECK(header.what == event::header);
    CHECK_FALSE(tracker.at_boundary());
    CHECK(tracker.payload_left() == frame.size() - 2);
    const auto end = tracker.next(std::span(frame).subspan(header.consumed));
    CHECK(end.what == event::end);
    CHECK(header.consumed + end.consumed == frame.size());
    CHECK(tracker.at_boundary());
    CHECK(tracker.payload_left() == 0);
  };
  CHECK_FALSE(tracker.in_message());
  take(first);
  CHECK(tracker.in_message());
  take(ping);
  CHECK(tracker.in_message());
  take(last);
  CHECK_FALSE(tracker.in_message());
}

TEST_CASE("pieces do not change what a tracker tells") {
  for (const auto sender : {client, server}) {
    std::string text;
    for (const std::size_t size : {0u, 1u, 125u, 126u, 127u, 0u}) {
      sample frame{.code = opcode::binary, .payload = std::string(size, 'p')};
      if (sender == client) frame.mask = 0x01020304;
      text += frame.raw();
    }
    sample large{.code = opcode::text, .payload = std::string(65536, 'q')};
    if (sender == client) large.mask = 0xfffefdfc;
    const auto large_at = text.size();
    text += large.raw();
    text += sample{.code = opcode::ping, .mask = large.mask}.raw();

    const auto whole = follow(frame_tracker(sender), text);
    CHECK(whole.headers.size() == 8);
    std::vector<std::size_t> every;
    for (std::size_t cut = 0; cut != text.size(); ++cut) {
      if (cut > large_at + 20 && cut < text.size() - 20) continue;
      every.push_back(cut);
      if (follow(frame_tracker(sender), text, {cut}) != whole) FAIL("cut at " << cut);
    }
    CHECK(follow(frame_tracker(sender), text, every) == whole);
  }
}

TEST_CASE("a frame without payload ends without another byte") {
  frame_tracker tracker(server);
  const auto text = bytes({0x81, 0x00});
  CHECK(tracker.next(text).what == event::header);
  CHECK_FALSE(tracker.at_boundary());
  const auto end = tracker.next({});
  CHECK(end.what == event::end);
  CHECK(end.consumed == 0);
  CHECK(tracker.at_boundary());
  CHECK(tracker.next({}).what == event::none);
}

TEST_CASE("a tracker inside a header is at no boundary") {
  frame_tracker tracker(client);
  const auto text = sample{.payload = std::string(70000, 'x'), .mask = 7}.raw();
  for (std::size_t i = 0; i != 13; ++i) {
    CHECK(tracker.next({text.data() + i, 1}).what == event::none);
    CHECK_FALSE(tracker.at_boundary());
  }
  CHECK(tracker.next({text.data() + 13, 1}).what == event::header);
  CHECK(tracker.payload_left() == 70000);
}

TEST_CASE("lengths of 64 bits are followed") {
  frame_tracker tracker(server);
  const auto head = bytes({0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  CHECK(tracker.next(head).what == event::header);
  CHECK(tracker.header().length == std::numeric_limits<std::int64_t>::max());
  const std::string some(1000, 'x');
  CHECK(tracker.next(some).what == event::none);
  CHECK(tracker.payload_left() ==
        static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) - 1000);
}

TEST_CASE("what section 5 forbids is named, at the byte that shows it, however it is cut") {
  struct rule {
    std::string text;
    frame_sender sender;
    std::string_view violation;
    std::size_t shown_at;
  };
  const auto begun = bytes({0x01, 0x00});
  std::vector<rule> rules{
      {bytes({0xc1, 0x00}), server, "reserved bit without a negotiated extension", 2},
      {bytes({0xa1, 0x00}), server, "reserved bit without a negotiated extension", 2},
      {bytes({0x91, 0x00}), server, "reserved bit without a negotiated extension", 2},
      {bytes({0x09, 0x00}), server, "fragmented control frame", 2},
      {bytes({0x08, 0x80, 0, 0, 0, 0}), client, "fragmented control frame", 2},
      {bytes({0x89, 0x7e, 0x00, 0x7e}), server, "control frame of more than 125 bytes", 2},
      {bytes({0x8a, 0xff}), client, "control frame of more than 125 bytes", 2},
      {bytes({0x80, 0x00}), server, "continuation without a beginning", 2},
      {bytes({0x00, 0x00}), server, "continuation without a beginning", 2},
      {begun + bytes({0x81, 0x00}), server, "new message inside a message", 4},
      {begun + bytes({0x02, 0x00}), server, "new message inside a message", 4},
      {begun + bytes({0x89, 0x00, 0x80, 0x00, 0x80, 0x00}), server, "continuation without a beginning", 8},
      {bytes({0x81, 0x80, 1, 2, 3, 4}), server, "masked frame from a server", 2},
      {bytes({0x81, 0x00}), client, "unmasked frame from a client", 2},
      {bytes({0x89, 0x05}), client, "unmasked frame from a client", 2},
      {bytes({0x82, 0x7e, 0x00, 0x7d}), server, "length not in its shortest form", 4},
      {bytes({0x82, 0x7e, 0x00, 0x00}), server, "length not in its shortest form", 4},
      {bytes({0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff}), server, "length not in its shortest form", 10},
      {bytes({0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}), client, "length not in its shortest form",
       14},
      {bytes({0x82, 0x7f, 0x80, 0, 0, 0, 0, 1, 0, 0}), server, "length with its highest bit set", 10},
  };
  for (const unsigned code : {3u, 4u, 5u, 6u, 7u, 11u, 12u, 13u, 14u, 15u})
    rules.push_back({bytes({0x80 | code, 0x00}), server, "reserved opcode", 2});
  for (const auto& rule : rules) {
    const auto whole = follow(frame_tracker(rule.sender), rule.text);
    CHECK(whole.violation == rule.violation);
    REQUIRE_FALSE(whole.events.empty());
    CHECK(whole.events.back() == std::pair{rule.shown_at, event::illegal});
    for (std::size_t cut = 0; cut <= rule.text.size(); ++cut)
      CHECK(follow(frame_tracker(rule.sender), rule.text, {cut}) == whole);
  }
}

TEST_CASE("the first lengths of the longer forms are allowed") {
  CHECK(violation_of(bytes({0x82, 0x7e, 0x00, 0x7e}), server).empty());
  CHECK(violation_of(bytes({0x82, 0x7e, 0xff, 0xff}), server).empty());
  CHECK(violation_of(bytes({0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}), server).empty());
  CHECK(violation_of(bytes({0x89, 0x7d}), server).empty());
}

TEST_CASE("under permessage-deflate the first bit is legal where a message begins") {
  constexpr std::string_view misplaced = "compression bit where it has no meaning";
  CHECK(violation_of(bytes({0xc1, 0x00}), server, 0x40).empty());
  CHECK(violation_of(bytes({0x42, 0x00, 0x80, 0x00}), server, 0x40).empty());
  CHECK(violation_of(bytes({0x81, 0x00}), server, 0x40).empty());
  CHECK(violation_of(bytes({0x42, 0x00, 0xc0, 0x00}), server, 0x40) == misplaced);
  for (const unsigned control : {0xc8u, 0xc9u, 0xcau})
    CHECK(violation_of(bytes({control, 0x00}), server, 0x40) == misplaced);
  for (const unsigned other : {0xa1u, 0x91u, 0xe1u})
    CHECK(violation_of(bytes({other, 0x00}), server, 0x40) == "reserved bit without a negotiated extension");
}

TEST_CASE("under another extension every reserved bit is legal everywhere") {
  CHECK(violation_of(bytes({0xf1, 0x00, 0xf9, 0x00}), server, 0x70).empty());
  CHECK(violation_of(bytes({0x71, 0x00, 0xf0, 0x00}), server, 0x70).empty());
}

TEST_CASE("the reserved bits follow what the 101 agreed on") {
  CHECK(negotiated_rsv(fields{}) == 0);
  CHECK(negotiated_rsv(fields{{"Upgrade", "websocket"}}) == 0);
  CHECK(negotiated_rsv(fields{{"Sec-WebSocket-Extensions", ""}}) == 0);
  CHECK(negotiated_rsv(fields{{"sec-websocket-extensions", "permessage-deflate"}}) == 0x40);
  CHECK(negotiated_rsv(
            fields{{"Sec-WebSocket-Extensions", "Permessage-Deflate ; client_max_window_bits=15"}}) == 0x40);
  CHECK(negotiated_rsv(fields{{"Sec-WebSocket-Extensions", "permessage-deflate-2"}}) == 0x70);
  CHECK(negotiated_rsv(fields{{"Sec-WebSocket-Extensions", "permessage-deflate, x-other; a"}}) == 0x70);
  CHECK(negotiated_rsv(fields{{"Sec-WebSocket-Extensions", "permessage-deflate"},
                              {"Sec-WebSocket-Extensions", "x-other"}}) == 0x70);
}

TEST_CASE("a control frame of a server is plain, one of a client masked") {
  CHECK(std::string_view(make_control(opcode::ping, "Hello", server, 0x3d21fa37).span().data(), 7) ==
        bytes({0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}));
  const auto pong = make_control(opcode::pong, "Hello", client, 0x3d21fa37);
  CHECK(std::string(pong.span().data(), pong.size) ==
        bytes({0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}));
  CHECK(make_control(opcode::ping, "", server, 1).size == 2);
  CHECK(make_control(opcode::ping, "", client, 1).size == 6);
}

std::string text_of(const control_frame& frame) { return {frame.span().data(), frame.span().size()}; }

TEST_CASE("control frames of every size are legal, and cut at 125 bytes") {
  for (const auto sender : {client, server}) {
    for (std::size_t size = 0; size != 200; ++size) {
      const std::string payload(size, 'z');
      const auto text = text_of(make_control(opcode::ping, payload, sender, 0xa1b2c3d4));
      CHECK(violation_of(text, sender).empty());
      const auto frames = samples::read_frames(text);
      REQUIRE(frames.size() == 1);
      CHECK(frames[0].payload == payload.substr(0, 125));
      CHECK(frames[0].mask.has_value() == (sender == client));
    }
  }
}

TEST_CASE("a Close has its code and reason, or no body") {
  CHECK(text_of(make_close(1001, "bye", server, 0)) == bytes({0x88, 0x05, 0x03, 0xe9, 'b', 'y', 'e'}));
  CHECK(text_of(make_close(1002, "", server, 0)) == bytes({0x88, 0x02, 0x03, 0xea}));
  CHECK(text_of(make_close(0, "ignored", server, 0)) == bytes({0x88, 0x00}));
  CHECK(text_of(make_close(0, "", client, 0x04030201)) == bytes({0x88, 0x80, 1, 2, 3, 4}));
  const auto masked = samples::read_frames(text_of(make_close(4999, "über", client, 0x99887766)));
  REQUIRE(masked.size() == 1);
  CHECK(masked[0].payload == samples::close_payload(4999, "über"));
}

TEST_CASE("a long reason is cut between characters") {
  auto reason_of = [](std::string_view reason) {
    return samples::read_frames(text_of(make_close(1000, reason, server, 0)))[0].payload.substr(2);
  };
  const std::string a(200, 'a');
  CHECK(reason_of(a) == a.substr(0, 123));
  CHECK(reason_of(a.substr(0, 123)) == a.substr(0, 123));
  for (const std::string character : {"\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    for (std::size_t lead = 0; lead != 4; ++lead) {
      std::string reason(lead, 'a');
      while (reason.size() < 150) reason += character;
      const auto kept = reason_of(reason);
      CHECK(kept.size() <= 123);
      CHECK(kept.size() + character.size() > 123);
      CHECK(reason.starts_with(kept));
      CHECK((kept.size() - lead) % character.size() == 0);
    }
  }
  CHECK(reason_of(std::string(200, '\x80')).empty());
}

TEST_CASE("close codes are those that may be sent") {
  using samples::close_payload;
  CHECK(close_violation("").empty());
  CHECK(close_violation("x") == "close code of one byte");
  for (unsigned code = 0; code != 65536; ++code) {
    const bool legal =
        (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
    const auto violation = close_violation(close_payload(static_cast<std::uint16_t>(code)));
    if (violation != (legal ? "" : "close code that must not be sent")) FAIL(code << ": " << violation);
  }
}

TEST_CASE("a close reason is UTF-8") {
  auto legal = [](std::string_view reason) {
    return close_violation(samples::close_payload(1000, reason)).empty();
  };
  for (const char* good : {"bye", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
                           "a\xe2\x82\xac"
                           "b"})
    CHECK(legal(good));
  for (const char* bad : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2",
                          "\xc2"
                          "a",
                          "\xe0\x9f\xbf", "\xe2\x82",
                          "\xe2\x82"
                          "a",
                          "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "ok\xfe"})
    CHECK_FALSE(legal(bad));
  CHECK(close_violation(samples::close_payload(1000, "\xff")) == "close reason that is not UTF-8");
}

TEST_CASE("random frames, cut at random, are followed to the byte") {
  samples::for_seeds(2000, [](std::uint64_t seed) {
    samples::dice random(seed);
    const auto sender = samples::roll(random, 2) == 0 ? client : server;
    const std::uint8_t rsv = samples::roll(random, 2) == 0 ? 0 : 0x40;
    std::string text;
    std::vector<std::pair<std::size_t, event>> expected;
    bool in_message = false;
    for (std::size_t i = samples::roll(random, 12); i != 0; --i) {
      const auto frame = samples::random_frame(random, sender, in_message, rsv);
      text += frame.raw();
      expected.emplace_back(text.size() - frame.payload.size(), event::header);
      expected.emplace_back(text.size(), event::end);
    }
    std::vector<std::size_t> cuts;
    for (std::size_t i = samples::roll(random, 20); i != 0; --i)
      cuts.push_back(samples::roll(random, text.size() + 1));
    std::sort(cuts.begin(), cuts.end());
    const auto found = follow(frame_tracker(sender, rsv), text, cuts);
    REQUIRE(found.violation.empty());
    REQUIRE(found.events == expected);
  });
}

}  // namespace
}  // namespace wsproxy
