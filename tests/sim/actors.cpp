#include "actors.hpp"

#include <memory>

#include <wsproxy/http/body.hpp>
#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/websocket/handshake.hpp>

namespace sim {

using namespace wsproxy;

std::string websocket_request(std::string_view extra) {
  std::string out =
      "GET /chat HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
  out.append("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ").append(sample_key).append("\r\n");
  return out.append(extra).append("\r\n");
}

std::string accepting(const request_head& head, std::string_view extra) {
  std::string out = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
  out += "Sec-WebSocket-Accept: " + accept_key(head.fields.value_or_empty("Sec-WebSocket-Key")) + "\r\n";
  return out.append(extra).append("\r\n");
}

std::string frame(opcode code, std::string_view payload, frame_sender from, bool fin) {
  std::string out;
  out += static_cast<char>((fin ? 0x80 : 0) | static_cast<int>(code));
  const bool masked = from == frame_sender::client;
  const int mask_bit = masked ? 0x80 : 0;
  const auto size = payload.size();
  const int bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
  out += static_cast<char>(mask_bit | (bytes == 0 ? static_cast<int>(size) : bytes == 2 ? 126 : 127));
  for (int i = bytes - 1; i >= 0; --i)
    out += static_cast<char>(static_cast<std::uint64_t>(size) >> (8 * i) & 0xff);
  if (!masked) return out.append(payload);
  constexpr char mask[] = {0x11, 0x22, 0x33, 0x44};
  out.append(mask, 4);
  for (std::size_t i = 0; i != size; ++i) out += static_cast<char>(payload[i] ^ mask[i % 4]);
  return out;
}

std::string close_frame(std::uint16_t code, frame_sender from) {
  const char payload[] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  return frame(opcode::close, {payload, 2}, from);
}

std::string chunked(std::string_view body, std::size_t size, std::string_view trailers) {
  std::string out;
  for (; !body.empty(); body.remove_prefix(std::min(size, body.size()))) {
    const auto piece = body.substr(0, size);
    char header[18];
    out.append(header, chunk_header(piece.size(), header)).append(piece).append("\r\n");
  }
  return out.append("0\r\n").append(trailers).append("\r\n");
}

std::string sample(std::size_t size, std::uint64_t seed) {
  std::string out(size, '\0');
  std::uint64_t state = seed + 1;
  for (auto& c : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>('!' + (state >> 33) % 90);
  }
  return out;
}

std::uint16_t seen_frame::close_code() const {
  if (payload.size() < 2) return 1005;
  return static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8 |
                                    static_cast<unsigned char>(payload[1]));
}

seen_frames read_frames(std::string_view bytes) {
  seen_frames out;
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  for (;;) {
    std::size_t header = 2;
    if (bytes.size() < header) break;
    const bool masked = byte(1) & 0x80;
    std::uint64_t size = byte(1) & 0x7f;
    const std::size_t more = size == 126 ? 2 : size == 127 ? 8 : 0;
    header += more + (masked ? 4 : 0);
    if (bytes.size() < header) break;
    if (more != 0) size = 0;
    for (std::size_t i = 0; i != more; ++i) size = size << 8 | byte(2 + i);
    if (bytes.size() - header < size) break;
    seen_frame f{std::string(bytes.substr(0, header + size)), static_cast<opcode>(byte(0) & 0x0f),
                 (byte(0) & 0x80) != 0, masked, std::string(bytes.substr(header, size))};
    if (masked)
      for (std::size_t i = 0; i != f.payload.size(); ++i)
        f.payload[i] = static_cast<char>(f.payload[i] ^ bytes[header - 4 + i % 4]);
    out.frames.push_back(std::move(f));
    bytes.remove_prefix(header + size);
  }
  out.rest = bytes;
  return out;
}

std::string without_ours(std::string_view bytes, std::uint16_t theirs) {
  const auto seen = read_frames(bytes);
  std::string out;
  for (std::size_t i = 0; i != seen.frames.size(); ++i) {
    const auto& f = seen.frames[i];
    const bool last = i + 1 == seen.frames.size() && seen.rest.empty();
    const bool our_ping = f.code == opcode::ping && f.payload.size() == 8;
    const bool our_close = f.code == opcode::close && f.close_code() != theirs && last;
    if (!our_ping && !our_close) out += f.bytes;
  }
  return out + seen.rest;
}

seen_response read_response(std::string_view bytes, std::string_view method, bool at_end) {
  seen_response out;
  head_parser parser(head_parser::kind::response);
  const auto parsed = parser.feed(bytes);
  out.size = parsed.consumed;
  if (!parsed.done) return out;
  out.head = parser.take_response();
  std::error_code error;
  body_reader body(response_framing(out.head, method, error));
  if (error) return out;
  bytes.remove_prefix(parsed.consumed);
  while (!bytes.empty() && !body.done()) {
    const auto piece = body.feed(bytes);
    if (piece.error) return out;
    out.body += piece.data;
    out.size += piece.consumed;
    bytes.remove_prefix(piece.consumed);
  }
  if (at_end) body.end_of_input();
  out.whole = body.done();
  out.trailers = body.trailers();
  return out;
}

request_head read_request(std::string_view bytes) {
  head_parser parser(head_parser::kind::request);
  return parser.feed(bytes).done ? parser.take_request() : request_head{};
}

std::function<void(peer&)> answering(responder answer) {
  struct reading {
    head_parser parser{head_parser::kind::request};
    std::size_t fed = 0;
  };
  return [answer = std::move(answer)](peer& who) {
    who.on_receive = [state = std::make_shared<reading>(), answer](peer& self) {
      const auto parsed = state->parser.feed(std::string_view(self.received).substr(state->fed));
      state->fed += parsed.consumed;
      if (!parsed.done) return;
      self.received.erase(0, state->fed);
      self.on_receive = nullptr;
      answer(self, state->parser.take_request());
    };
  };
}

std::function<void(peer&)> websocket_backend(std::string first) {
  return answering([first = std::move(first)](peer& self, const request_head& head) {
    self.send(accepting(head) + first);
  });
}

std::function<void(peer&)> answering_with(std::string bytes, bool then_close) {
  return answering([bytes = std::move(bytes), then_close](peer& self, const request_head&) {
    self.send(bytes);
    if (then_close) self.fin();
  });
}

}  // namespace sim
