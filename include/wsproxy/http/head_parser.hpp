// Bytes to heads. A strict incremental parser of request and response heads.
//
// It stops after the blank line and leaves every byte behind it to the caller:
// those are the body, a pipelined request, or the first frames of a tunnel.
// What two hops could read differently is refused: bare LF, obs-fold, NUL,
// space before the colon, empty names (RFC 9112 sections 2.2, 5.1, 5.2, 11.2).
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <system_error>

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/http/message.hpp>

namespace wsproxy {

/// How large a head may be. What is larger is refused, with the status in parentheses.
struct head_limits {
  /// The start line (414), or one field line (400), in bytes with its line ending.
  /// [large_client_header_buffers' size]
  std::size_t line_bytes = 8 * 1024;
  /// The whole head in bytes, blank line included (400). [large_client_header_buffers' number times size]
  std::size_t head_bytes = 32 * 1024;
  /// Field lines (400). [max_headers]
  std::size_t field_count = 1000;
  /// Fields of a request whose name has token characters other than letters, digits and '-' are
  /// dropped, as nginx does by default; false keeps them. A response keeps them always.
  /// [ignore_invalid_headers]
  bool drop_unusual_names = true;
  /// Then '_' is no reason to drop one. [underscores_in_headers]
  bool keep_underscores = false;
};

/// Parses one head at a time. Not thread-safe; movable.
class WSPROXY_EXPORT head_parser {
 public:
  /// Whose heads it parses.
  enum class kind {
    request,   ///< a client's
    response,  ///< an upstream's
  };

  /// For heads of one kind, within these limits.
  explicit head_parser(kind, const head_limits& = {});
  head_parser(head_parser&&) noexcept;             ///< the other can only be assigned to or destroyed
  head_parser& operator=(head_parser&&) noexcept;  ///< the same
  ~head_parser();

  /// What became of one piece of input.
  struct outcome {
    std::size_t consumed = 0;  ///< bytes of the input that belong to the head
    bool done = false;         ///< the blank line was reached
    std::error_code error{};   ///< an errc; the parser must not be fed again
  };

  /// Takes the next bytes. Until `done` or an error, all input is consumed. Any split of the same
  /// bytes gives the same head or error. Empty lines before a request line are skipped (RFC 9112 section
  /// 2.2). What is wrong with a request is named by the error, at the first wrong byte; a response that
  /// is wrong in any way is errc::bad_response.
  outcome feed(std::string_view bytes);

  /// True from a head's first byte until it is done: an end of input is then an error, else it is not.
  bool begun() const noexcept;

  /// The parsed head, once `done`. The parser is ready for the next head afterwards.
  request_head take_request();
  response_head take_response();  ///< the same, of kind::response

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// The rules a request head must obey beyond its grammar, whoever parsed it: one valid Host
/// (or none in HTTP/1.0), body framing that cannot be read in two ways, a method and target
/// we forward, nothing that serialize() would throw for. The head parser does not call it; the
/// engine does, on every exchange. An absolute-form target must name the same host as Host does.
WSPROXY_EXPORT std::error_code check_request(const request_head&);

}  // namespace wsproxy
