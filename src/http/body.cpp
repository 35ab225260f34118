#include <wsproxy/http/body.hpp>

#include <algorithm>
#include <charconv>
#include <optional>

#include <wsproxy/error.hpp>

#include "characters.hpp"
#include "field_line.hpp"

namespace wsproxy {
namespace {

constexpr std::size_t max_chunk_header = 4 * 1024;
constexpr std::size_t max_trailers = 16 * 1024;

// What the two fields that delimit a body say, before the rules of a message are applied.
struct declared {
  bool coding = false;   // any Transfer-Encoding line
  bool ends = false;     // their list ends in `chunked`, which stands nowhere else in it
  bool chunked = false;  // it is nothing but that
  std::size_t lengths = 0;
  std::optional<std::uint64_t> length{};  // the only Content-Length, if it is a number
};

std::optional<std::uint64_t> parse_length(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);  // takes no sign and no space
  if (failure != std::errc{} || stop != end) return std::nullopt;
  return value;
}

declared declared_by(const fields& lines) noexcept {
  declared found;
  std::size_t codings = 0;
  std::size_t chunked = 0;
  for (const auto& line : lines) {
    if (iequals(line.name, "Content-Length")) {
      ++found.lengths;
      found.length = found.lengths == 1 ? parse_length(line.value) : std::nullopt;
    } else if (iequals(line.name, "Transfer-Encoding")) {
      found.coding = true;
      for_each_element(line.value, [&](std::string_view coding) {
        ++codings;
        found.ends = iequals(coding, "chunked");
        chunked += found.ends;
        return true;
      });
    }
  }
  found.ends = found.ends && chunked == 1;
  found.chunked = found.ends && codings == 1;
  return found;
}

// Fields that frame, route or authenticate may not come behind a body (RFC 9110 section 6.5.1).
bool may_be_trailer(std::string_view name) noexcept {
  static constexpr std::string_view forbidden[] = {
      "Authorization", "Connection",          "Content-Encoding", "Content-Length",
      "Content-Range", "Content-Type",        "Cookie",           "Expect",
      "Host",          "Keep-Alive",          "Set-Cookie",       "TE",
      "Trailer",       "Proxy-Authorization", "Proxy-Connection", "Upgrade",
      "Cache-Control", "Transfer-Encoding"};
  return std::none_of(std::begin(forbidden), std::end(forbidden),
                      [name](std::string_view each) { return iequals(each, name); });
}

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char small = characters::lower(c);
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

}  // namespace

body_framing request_framing(const request_head& head, std::error_code& error) {
  const auto found = declared_by(head.fields);
  error.clear();
  if (found.coding && head.version == http_version::http_1_0) error = errc::coding_in_http_1_0;
  else if (found.coding && found.lengths != 0) error = errc::length_with_coding;
  else if (found.coding && !found.chunked) error = found.ends ? errc::unknown_coding : errc::chunked_not_last;
  else if (found.lengths != 0 && !found.length) error = errc::bad_content_length;
  if (error) return {};
  if (found.chunked) return {body_framing::kind::chunked};
  if (found.length) return {body_framing::kind::length, *found.length};
  return {};
}

body_framing response_framing(const response_head& head, std::string_view method, std::error_code& error) {
  const auto found = declared_by(head.fields);
  error.clear();
  if ((found.coding && (found.lengths != 0 || !found.chunked)) || (found.lengths != 0 && !found.length)) {
    error = errc::bad_response;
    return {};
  }
  if (method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304) return {};
  if (found.chunked) return {body_framing::kind::chunked};
  if (found.length) return {body_framing::kind::length, *found.length};
  return {body_framing::kind::until_close};
}

body_reader::body_reader(body_framing framing)
    : framing_(framing),
      left_(framing.how == body_framing::kind::length ? framing.length : 0),
      done_(framing.how == body_framing::kind::none ||
            (framing.how == body_framing::kind::length && framing.length == 0)) {}

body_reader::step body_reader::feed(std::string_view input) {
  if (done_) return {};
  switch (framing_.how) {
  case body_framing::kind::chunked: return feed_chunked(input);
  case body_framing::kind::length: {
    const auto data = input.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size())));
    left_ -= data.size();
    size_ += data.size();
    done_ = left_ == 0;
    return {data.size(), data};
  }
  default: size_ += input.size(); return {input.size(), input};
  }
}

// Framing up to the next data, and these. Returns at the data's end, so that there is one view of them.
body_reader::step body_reader::feed_chunked(std::string_view input) {
  for (std::size_t used = 0; used != input.size();) {
    if (at_ == at::data) {
      const auto rest = input.substr(used);
      const auto data = rest.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest.size())));
      left_ -= data.size();
      size_ += data.size();
      if (left_ == 0) at_ = at::data_cr;
      return {used + data.size(), data};
    }
    if (!take_framing(input[used])) return {used, {}, errc::bad_chunk};
    ++used;
    if (done_) return {used};
  }
  return {input.size()};
}

bool body_reader::take_framing(char c) {
  switch (at_) {
  case at::size: return take_size(c);
  case at::space:
    if (c == ' ' || c == '\t') return ++overhead_ <= max_chunk_header;
    at_ = c == '\r' ? at::size_lf : at::extension;
    return c == '\r' || c == ';';
  case at::extension:
    if (c == '\r') at_ = at::size_lf;
    return c == '\r' || (characters::is(c, characters::text) && ++overhead_ <= max_chunk_header);
  case at::size_lf:
    at_ = left_ == 0 ? at::trailer : at::data;
    overhead_ = 0;
    return c == '\n';
  case at::data: return false;  // the caller takes data
  case at::data_cr: at_ = at::data_lf; return c == '\r';
  case at::data_lf:
    at_ = at::size;
    digits_ = false;
    return c == '\n';
  case at::trailer:
    if (c != '\r') {
      line_ += c;
      return characters::is(c, characters::text) && ++overhead_ <= max_trailers;
    }
    at_ = line_.empty() ? at::last_lf : at::trailer_lf;
    return true;
  case at::trailer_lf: at_ = at::trailer; return c == '\n' && take_trailer();
  case at::last_lf: return done_ = c == '\n';
  }
  return false;
}

bool body_reader::take_size(char c) {
  if (const int digit = hex_value(c); digit >= 0) {
    if (left_ >> 60 != 0 || ++overhead_ > max_chunk_header) return false;  // leading zeros are bounded too
    left_ = left_ << 4 | static_cast<std::uint64_t>(digit);
    digits_ = true;
    return true;
  }
  if (c == '\r') at_ = at::size_lf;
  else if (c == ';') at_ = at::extension;           // extensions are skipped (section 7.1.1)
  else if (c == ' ' || c == '\t') at_ = at::space;  // before an extension, or in vain
  else return false;
  return digits_;
}

bool body_reader::take_trailer() {
  const auto line = split_field_line(line_);
  if (!line) return false;
  if (may_be_trailer(line->name)) trailers_.add(line->name, line->value);
  line_.clear();
  return true;
}

std::error_code body_reader::end_of_input() {
  if (framing_.how == body_framing::kind::until_close) done_ = true;
  return done_ ? std::error_code{} : errc::body_truncated;
}

std::size_t chunk_header(std::uint64_t size, char* out) noexcept {
  char* end = std::to_chars(out, out + 16, size, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  return static_cast<std::size_t>(end - out);
}

std::string last_chunk(const fields& trailers) {
  std::string out = "0\r\n";
  append_field_lines(out, trailers);
  return out;
}

}  // namespace wsproxy
