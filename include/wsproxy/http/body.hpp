// Where a body ends (RFC 9112 section 6), and how it is relayed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <wsproxy/export.hpp>
#include <wsproxy/http/message.hpp>

namespace wsproxy {

/// How a message's body is delimited.
struct body_framing {
  /// The ways there are.
  enum class kind {
    none,                    ///< there is no body
    length,                  ///< so many bytes: Content-Length
    chunked,                 ///< chunks, the last of which is empty: Transfer-Encoding
    until_close,             ///< all until the connection ends; responses only
  } how = kind::none;        ///< the one that holds
  std::uint64_t length = 0;  ///< for kind::length

  bool operator==(const body_framing&) const = default;
};

/// The framing of a request's body (section 6.3). `error` for lengths and codings that are refused;
/// never until_close. `Content-Length: 0` is a length, so that it can be passed on.
WSPROXY_EXPORT body_framing request_framing(const request_head&, std::error_code& error);

/// The framing of the response to a request with this method (section 6.3): none for HEAD,
/// 1xx, 204 and 304; an answer that frames itself in two ways is an error (errc::bad_response).
WSPROXY_EXPORT body_framing response_framing(const response_head&, std::string_view method,
                                             std::error_code& error);

/// Follows a body through the bytes of a connection and finds its end; the data come out as
/// views into the input, chunk headers stripped. A machine without I/O.
class WSPROXY_EXPORT body_reader {
 public:
  /// For one body, which is delimited so.
  explicit body_reader(body_framing = {});

  /// What became of one piece of input.
  struct step {
    std::size_t consumed = 0;  ///< input bytes used up, data and framing
    std::string_view data{};   ///< body bytes among them, a view into the input
    std::error_code error{};   ///< errc::bad_chunk
  };
  /// Takes a prefix of the input: call again with the rest until it is empty or done().
  /// After an error the reader must not be fed again.
  step feed(std::string_view input);
  /// The connection ended: completes a body that is delimited so, else errc::body_truncated.
  std::error_code end_of_input();
  /// The body is whole; a body of none is from the beginning. What follows belongs to the next message.
  bool done() const noexcept { return done_; }
  /// Body bytes seen so far, without framing.
  std::uint64_t size() const noexcept { return size_; }
  /// The trailer section as field lines, once done; chunked only (section 7.1.2). Fields that frame,
  /// route or authenticate are left out (RFC 9110 section 6.5.1). Over 16 KiB is errc::bad_chunk,
  /// as are 4 KiB of chunk size and extensions.
  const fields& trailers() const noexcept { return trailers_; }

 private:
  enum class at { size, space, extension, size_lf, data, data_cr, data_lf, trailer, trailer_lf, last_lf };
  step feed_chunked(std::string_view input);
  bool take_framing(char);
  bool take_size(char);
  bool take_trailer();
  body_framing framing_;
  std::uint64_t left_ = 0;  // of the body, or of the chunk
  std::uint64_t size_ = 0;
  std::size_t overhead_ = 0;  // bytes of one chunk header or of the trailer section: bounded
  at at_ = at::size;
  bool digits_ = false;  // the chunk size has one
  bool done_ = false;
  std::string line_;  // of the trailer section, so far
  fields trailers_;
};

/// The bytes around one piece of data in a chunked body: `<hex size>CRLF` … `CRLF`.
/// Writes the size line to `out` and returns its length (at most 18).
WSPROXY_EXPORT std::size_t chunk_header(std::uint64_t size, char* out) noexcept;
/// The last chunk with its trailer section, if any.
WSPROXY_EXPORT std::string last_chunk(const fields& trailers = {});

}  // namespace wsproxy
