// Who talks through the proxy in the simulation: what they say, and how it is read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <wsproxy/http/message.hpp>
#include <wsproxy/websocket/frame.hpp>

#include "world.hpp"

namespace sim {

inline constexpr std::string_view sample_key = "dGhlIHNhbXBsZSBub25jZQ==";

/// A WebSocket handshake; `extra` are whole field lines.
std::string websocket_request(std::string_view extra = {});
/// The 101 that fits a request.
std::string accepting(const wsproxy::request_head&, std::string_view extra = {});
/// One frame; masked with a fixed mask where the sender is a client.
std::string frame(wsproxy::opcode, std::string_view payload, wsproxy::frame_sender, bool fin = true);
std::string close_frame(std::uint16_t code, wsproxy::frame_sender);
/// A body as chunks of at most `size`.
std::string chunked(std::string_view body, std::size_t size = 1000, std::string_view trailers = {});
/// `size` bytes that differ from place to place.
std::string sample(std::size_t size, std::uint64_t seed = 0);

struct seen_frame {
  std::string bytes;  ///< as on the wire
  wsproxy::opcode code;
  bool fin;
  bool masked;
  std::string payload;  ///< unmasked
  std::uint16_t close_code() const;
};
struct seen_frames {
  std::vector<seen_frame> frames;
  std::string rest;  ///< of an unfinished frame
};
seen_frames read_frames(std::string_view bytes);
/// The bytes without the proxy's own frames: pings of eight bytes, and a last Close whose code is not
/// `theirs`.
std::string without_ours(std::string_view bytes, std::uint16_t theirs = 1000);

/// A response as a client reads it.
struct seen_response {
  wsproxy::response_head head;
  std::string body;
  wsproxy::fields trailers;
  bool whole = false;
  std::size_t size = 0;  ///< bytes of the wire that it took
};
/// Reads one response (interim ones are responses too) from the start of `bytes`; status 0 if there is no
/// head.
seen_response read_response(std::string_view bytes, std::string_view method = "GET", bool at_end = false);
wsproxy::request_head read_request(std::string_view bytes);

/// A backend that reads a request's head, then calls `answer` with the peer, the head and what followed; what
/// comes later is added to peer::received, of which the head has been cut off.
using responder = std::function<void(peer&, const wsproxy::request_head&)>;
std::function<void(peer&)> answering(responder answer);
/// A backend that accepts a WebSocket and sends `first` at once with its 101.
std::function<void(peer&)> websocket_backend(std::string first = {});
/// Answers every request with these bytes, then closes if `then_close`.
std::function<void(peer&)> answering_with(std::string bytes, bool then_close = false);

}  // namespace sim
