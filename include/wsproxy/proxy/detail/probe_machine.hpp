// What one probe says and what it makes of the answer. No I/O: its operation dials, sends, reads and keeps
// time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <system_error>

#include <wsproxy/export.hpp>
#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/http/message.hpp>
#include <wsproxy/websocket/frame.hpp>

namespace wsproxy {

struct address;
struct probe_options;

namespace detail {

class WSPROXY_EXPORT probe_machine {
 public:
  /// `random` draws what a peer cannot guess: the key, the mask, the ping's payload.
  probe_machine(const probe_options& options, const address& to,
                const std::function<std::uint64_t()>& random);

  // Events. After a verdict they only bring the end nearer.
  void on_connected();
  void on_read(std::span<const char> bytes);
  void on_eof();
  void on_broken(std::error_code);
  /// The time is up: before the verdict it failed, after it there is no more waiting for a Close.
  void on_timeout();
  void abort(std::error_code);

  /// Bytes to be sent now.
  std::string take_output();
  /// A verdict was reached; while not finished(), the peer's Close is awaited.
  bool decided() const noexcept { return at_ >= step::closing; }
  bool finished() const noexcept { return at_ == step::finished; }
  std::error_code error() const noexcept { return error_; }
  int status() const noexcept { return status_; }

 private:
  enum class step { connecting, head, pong, closing, finished };

  void on_head(std::string_view bytes);
  void on_frames(std::span<const char> bytes);
  void on_frame();
  void decide(const response_head&, std::span<const char> behind);
  void passed();
  void fail(std::error_code);

  request_head request_;
  bool is_websocket_;
  bool is_tcp_;
  bool pings_;
  int status_from_, status_to_;
  std::uint32_t mask_;
  std::string ping_;  // its payload
  head_parser parser_;
  frame_tracker frames_{frame_sender::server};
  std::string payload_;  // of the control frame that is being read
  std::string output_;
  step at_ = step::connecting;
  std::error_code error_{};
  int status_ = 0;
};

}  // namespace detail
}  // namespace wsproxy
