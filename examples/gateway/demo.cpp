#include "demo.hpp"

#include <array>
#include <iterator>
#include <span>

#include <asio/buffer.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/write.hpp>

#include <fmt/format.h>

#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/websocket/frame.hpp>
#include <wsproxy/websocket/handshake.hpp>
#include <wsproxy/websocket/upgrade.hpp>

#include "demo_page.hpp"

namespace wsproxy_gateway {
namespace {

using asio::ip::tcp;
constexpr std::size_t largest_message = 1 << 20;

/// A data frame of a server's: FIN, no mask (RFC 6455 section 5.2).
std::string data_frame(wsproxy::opcode code, std::string_view payload) {
  std::string frame(1, static_cast<char>(0x80u | static_cast<unsigned>(code)));
  const auto append = [&](unsigned bytes) {
    for (unsigned i = bytes; i != 0; --i)
      frame += static_cast<char>((payload.size() >> (8 * (i - 1))) & 0xFFu);
  };
  if (payload.size() < 126) {
    append(1);
  } else if (payload.size() < 65536) {
    frame += static_cast<char>(126);
    append(2);
  } else {
    frame += static_cast<char>(127);
    append(8);
  }
  return frame.append(payload);
}

std::string control(wsproxy::opcode code, std::string_view payload) {
  const auto frame = wsproxy::make_control(code, payload, wsproxy::frame_sender::server, 0);
  return {frame.bytes.data(), frame.size};
}

/// What a client's bytes are answered with: every message comes back, pings are answered, Close ends it.
class echo {
 public:
  /// Returns the bytes to send.
  std::string feed(std::string_view bytes) {
    std::string out;
    std::span<const char> rest(bytes.data(), bytes.size());
    while (!ended_) {
      const bool payload = frames_.payload_left() != 0;
      const auto step = frames_.next(rest);
      if (payload) take_payload(rest.first(step.consumed));
      rest = rest.subspan(step.consumed);
      switch (step.what) {
      case wsproxy::frame_tracker::event::none: return out;
      case wsproxy::frame_tracker::event::header: begin_frame(); break;
      case wsproxy::frame_tracker::event::end: end_frame(out); break;
      case wsproxy::frame_tracker::event::illegal: close(1002, out); break;
      }
      if (message_.size() > largest_message) close(1009, out);
    }
    return out;
  }
  bool ended() const { return ended_; }

 private:
  void begin_frame() {
    const auto& header = frames_.header();
    unmasked_ = 0;
    if (header.control()) control_.clear();
    else if (header.code != wsproxy::opcode::continuation) code_ = header.code;
  }
  void take_payload(std::span<const char> payload) {
    const auto& header = frames_.header();
    auto& into = header.control() ? control_ : message_;
    for (const char c : payload)
      into +=
          static_cast<char>(static_cast<unsigned char>(c) ^ header.mask[unmasked_++ % header.mask.size()]);
  }
  void end_frame(std::string& out) {
    const auto& header = frames_.header();
    if (header.code == wsproxy::opcode::ping) {
      out += control(wsproxy::opcode::pong, control_);
    } else if (header.code == wsproxy::opcode::close) {
      out += control(wsproxy::opcode::close, std::string_view(control_).substr(0, 2));
      ended_ = true;
    } else if (!header.control() && header.fin) {
      out += data_frame(code_, message_);
      message_.clear();
    }
  }
  void close(std::uint16_t code, std::string& out) {
    if (ended_) return;
    const auto frame = wsproxy::make_close(code, {}, wsproxy::frame_sender::server, 0);
    out.append(frame.bytes.data(), frame.size);
    ended_ = true;
  }

  wsproxy::frame_tracker frames_{wsproxy::frame_sender::client};
  wsproxy::opcode code_ = wsproxy::opcode::text;
  std::string message_;
  std::string control_;
  std::size_t unmasked_ = 0;  // bytes of the present frame's payload
  bool ended_ = false;
};

std::string switching_response(const wsproxy::request_head& head) {
  wsproxy::response_head response;
  response.status = 101;
  response.reason = "Switching Protocols";
  response.fields.add("Upgrade", "websocket");
  response.fields.add("Connection", "Upgrade");
  response.fields.add("Sec-WebSocket-Accept",
                      wsproxy::accept_key(head.fields.value_or_empty("Sec-WebSocket-Key")));
  std::string out;
  serialize(response, out);
  return out;
}

std::string page_for(const wsproxy::request_head& head) {
  const auto path = std::string_view(head.target).substr(0, head.target.find('?'));
  if (path != "/")
    return wsproxy::make_response(404, "There is nothing here.\n", {{"Content-Type", "text/plain"}}, true);
  auto page = wsproxy::make_response(
      200, demo_page, {{"Content-Type", "text/html; charset=utf-8"}, {"Cache-Control", "no-cache"}}, true);
  if (head.method == "HEAD") page.resize(page.find("\r\n\r\n") + 4);
  return page;
}

/// One connection: a request, and then its answer or the frames of a WebSocket. Its pending operation keeps
/// it alive; an error is its end, and there is nobody to tell.
class connection : public std::enable_shared_from_this<connection> {
 public:
  connection(tcp::socket socket, std::shared_ptr<const std::string> name)
      : socket_(std::move(socket)), name_(std::move(name)) {}

  void read() {
    socket_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](std::error_code error, std::size_t size) {
                              if (!error) self->take({self->buffer_.data(), size});
                            });
  }

 private:
  enum class stage { head, frames, finishing };

  void take(std::string_view bytes) {
    switch (stage_) {
    case stage::head: return take_head(bytes);
    case stage::frames: return answer(messages_.feed(bytes));
    case stage::finishing: return read();  // until the client's FIN: no reset may overtake what was sent
    }
  }

  void take_head(std::string_view bytes) {
    const auto step = parser_.feed(bytes);
    if (step.error) return finish(wsproxy::make_refusal(step.error));
    if (!step.done) return read();
    const auto head = parser_.take_request();
    const auto wish = wsproxy::detect_upgrade(head);
    if (wish.kind == wsproxy::request_kind::refused) return finish(wsproxy::make_refusal(wish.error));
    if (wish.kind == wsproxy::request_kind::plain) return finish(page_for(head));
    stage_ = stage::frames;
    answer(switching_response(head) +
           data_frame(wsproxy::opcode::text, fmt::format(R"({{"backend":"{}"}})", *name_)) +
           messages_.feed(bytes.substr(step.consumed)));
  }

  void answer(std::string bytes) {
    if (messages_.ended()) return finish(std::move(bytes));
    if (bytes.empty()) return read();
    send(std::move(bytes));
  }
  void finish(std::string bytes) {
    stage_ = stage::finishing;
    send(std::move(bytes));
  }

  void send(std::string bytes) {
    out_ = std::move(bytes);
    asio::async_write(socket_, asio::buffer(out_),
                      [self = shared_from_this()](std::error_code error, std::size_t) {
                        if (!error && self->stage_ == stage::finishing)
                          self->socket_.shutdown(tcp::socket::shutdown_send, error);
                        if (!error) self->read();
                      });
  }

  tcp::socket socket_;
  const std::shared_ptr<const std::string> name_;
  stage stage_ = stage::head;
  wsproxy::head_parser parser_{wsproxy::head_parser::kind::request};
  echo messages_;
  std::string out_;
  std::array<char, 4096> buffer_;
};

}  // namespace

demo_backend::demo_backend(asio::io_context& context, std::string name)
    : acceptor_(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
      name_(std::make_shared<const std::string>(std::move(name))) {
  accept();
}

void demo_backend::accept() {
  acceptor_.async_accept([this](std::error_code error, tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      std::error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      std::make_shared<connection>(std::move(socket), name_)->read();
    }
    accept();
  });
}

demo::demo() {
  for (const char* name : {"b1", "b2"}) backends_.push_back(std::make_unique<demo_backend>(context_, name));
  thread_ = std::thread([this] { context_.run(); });
}

demo::~demo() {
  context_.stop();
  thread_.join();
}

std::string demo::configuration(std::string_view listen) const {
  // Hashed by place in the list: a ring over ports of chance may lead every key to one of the two.
  std::string servers;
  for (const auto& one : backends_)
    fmt::format_to(std::back_inserter(servers), "    server 127.0.0.1:{};\n", one->port());
  return fmt::format(R"(events {{ }}
http {{
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  upstream demo {{
    hash $arg_key;
{}  }}
  server {{
    listen {};
    location / {{
      proxy_pass http://demo;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
}}
worker_shutdown_timeout 3s;
)",
                     servers, listen);
}

}  // namespace wsproxy_gateway
