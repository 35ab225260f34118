// The first and the last step of serving a connection: read a request's head, send an answer.
#pragma once

#include <string>
#include <system_error>

#include <asio/async_result.hpp>

#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/proxy/stream.hpp>

namespace wsproxy {

/// How long and how large.
struct read_head_options {
  head_limits limits{};  ///< what is beyond is an error
  /// From the start of the operation, or from the first byte where `first_byte` is set. Zero: no limit.
  duration head = std::chrono::seconds(60);
  /// How long the first byte may take (an idle connection between two requests). Zero: part of `head`.
  duration first_byte = duration::zero();
  environment* world = nullptr;  ///< null: that of the stream's execution context
};

/// A head, or why there is none.
struct read_head_result {
  /// An errc of the head's rules, errc::client_head_timeout, errc::keep_alive_timeout, errc::cancelled, or
  /// the stream's error; asio::error::eof if it ended before the first byte.
  std::error_code error{};
  request_head head{};  ///< valid where there is no error
  /// Bytes read behind the head: the exchange's `early`.
  std::string early{};
};

/// Reads one request's head. `buffered` are bytes read before (a previous result's leftover); they come
/// first. The stream is borrowed until completion; nothing is written. Completion signature:
/// void(read_head_result). Executor as in async_forward. Any cancellation type ends it with errc::cancelled.
template <stream_like Stream,
          asio::completion_token_for<void(read_head_result)> Token = default_token<Stream>>
auto async_read_head(Stream& stream, std::string buffered, read_head_options options,
                     Token&& token = default_token<Stream>());

/// How an answer is sent.
struct send_options {
  duration send_stall = std::chrono::seconds(60);  ///< timeouts::send_stall
  /// Close the connection after the last byte: FIN, then read on for up to `linger`, so that the answer is
  /// not lost to a reset, then close.
  bool close = false;
  duration linger = std::chrono::seconds(5);  ///< timeouts::linger
  environment* world = nullptr;               ///< null: that of the stream's execution context
};

/// Sends bytes, all of them. The stream is borrowed until completion. Completion signature:
/// void(std::error_code). Any cancellation type ends it with errc::cancelled.
template <stream_like Stream, asio::completion_token_for<void(std::error_code)> Token = default_token<Stream>>
auto async_send(Stream& stream, std::string bytes, send_options options,
                Token&& token = default_token<Stream>());

}  // namespace wsproxy

#include <wsproxy/proxy/impl/read_head.hpp>
