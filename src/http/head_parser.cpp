// llhttp reads the field lines, the status line and the request target. Before it sees a line, the bytes of
// that line are judged here, for three reasons: its versions differ in what they refuse (obs-fold, empty
// names, space before the colon), its error numbers differ too, and it knows neither limits nor methods
// outside its list. The first wrong byte decides, whoever finds it, so any split gives the same error.
#include <wsproxy/http/head_parser.hpp>

#include <llhttp.h>

#include <algorithm>
#include <array>
#include <utility>

#include <wsproxy/http/body.hpp>

#include "characters.hpp"
#include "field_line.hpp"
#include "target.hpp"

namespace wsproxy {
namespace {

using characters::is;
using characters::skip;

constexpr errc nothing{};  // is wrong
constexpr std::size_t usual_lines = 16;
constexpr std::size_t usual_bytes = 1024;

// Text that llhttp hands out: a view of the bytes being fed while that suffices, else a copy.
class piece {
 public:
  void extend(const char* at, std::size_t size) noexcept {
    if (size == 0) return;
    const auto* first = fresh_.empty() ? at : fresh_.data();
    fresh_ = {first, static_cast<std::size_t>(at + size - first)};
  }
  // The bytes being fed are about to go away.
  void keep() {
    kept_.append(fresh_);
    fresh_ = {};
  }
  std::string_view text() {
    if (kept_.empty()) return fresh_;
    keep();
    return kept_;
  }
  void clear() noexcept {
    kept_.clear();
    fresh_ = {};
  }

 private:
  std::string kept_;
  std::string_view fresh_;
};

}  // namespace

struct head_parser::impl {
  impl(kind what, const head_limits& limits) : what_(what), limits_(limits) { restart(); }

  outcome feed(std::string_view bytes);
  bool begun() const noexcept { return at_ != at::start && at_ != at::start_lf && at_ != at::done; }
  request_head take_request();
  response_head take_response();

 private:
  // clang-format off
  enum class at {
    start, start_lf,                      // empty lines before a request
    method, target, version, version_lf,  // the request line
    status, status_lf,                    // the status line
    name, value, value_lf, last_lf,       // field lines and the blank one
    done
  };
  // clang-format on

  void restart();
  // Each of these takes bytes of one line from `i` on, up to the line's end or to the first wrong byte, and
  // says what is wrong with it.
  errc take(std::string_view bytes, std::size_t& i);
  errc take_empty_line(std::string_view bytes, std::size_t& i);
  errc take_request_line(std::string_view bytes, std::size_t& i);
  errc take_version(std::string_view bytes, std::size_t& i);
  errc take_status_line(std::string_view bytes, std::size_t& i);
  errc take_field_line(std::string_view bytes, std::size_t& i);
  errc judge_field_line(std::string_view bytes, std::size_t& i);
  errc judge_name(std::string_view bytes, std::size_t& i);
  errc end_request_line();
  errc end_status_line();
  void end_field_line();
  errc execute(std::string_view bytes);
  errc unnamed_refusal();
  outcome refuse(errc error, std::size_t used) const {
    return {used, false, what_ == kind::response ? errc::bad_response : error};
  }

  // A callback. It only notes a position: an exception must not pass through C.
  template <piece impl::*Where> static int note(llhttp_t* parser, const char* at, std::size_t size) noexcept {
    (static_cast<impl*>(parser->data)->*Where).extend(at, size);
    return 0;
  }
  static const llhttp_settings_t settings;

  const kind what_;
  const head_limits limits_;
  llhttp_t parser_{};
  at at_ = at::start;
  std::size_t head_size_ = 0;
  std::size_t line_size_ = 0;
  std::size_t lines_ = 0;  // field lines, those that are dropped too
  bool line_ended_ = false;
  std::size_t name_size_ = 0;
  bool unusual_name_ = false;
  std::array<char, 8> version_text_{};
  std::size_t version_size_ = 0;
  piece start_text_;  // the request target, or the reason phrase
  piece name_;
  piece value_;
  // The head so far. What belongs to the other kind stays empty.
  http_version version_ = http_version::http_1_1;
  int status_ = 0;
  std::string method_;
  std::string text_;  // the request target, or the reason phrase
  fields fields_;
};

constinit const llhttp_settings_t head_parser::impl::settings = [] {
  llhttp_settings_t calls{};
  calls.on_url = calls.on_status = note<&impl::start_text_>;
  calls.on_header_field = note<&impl::name_>;
  calls.on_header_value = note<&impl::value_>;
  // 2: stop after the blank line, whatever the head says about a body or an upgrade.
  calls.on_headers_complete = [](llhttp_t*) { return 2; };
  return calls;
}();

void head_parser::impl::restart() {
  llhttp_init(&parser_, what_ == kind::request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
  parser_.data = this;
  at_ = at::start;
  head_size_ = line_size_ = lines_ = version_size_ = 0;
  start_text_.clear();
  name_.clear();
  value_.clear();
  method_.clear();
  text_.clear();
  fields_.clear();
}

head_parser::outcome head_parser::impl::feed(std::string_view bytes) {
  if (at_ == at::done) restart();
  std::size_t used = 0;
  while (used != bytes.size()) {
    const auto room = std::min(limits_.line_bytes - line_size_, limits_.head_bytes - head_size_);
    if (room == 0) {
      const bool long_start = at_ < at::name && line_size_ == limits_.line_bytes;
      return refuse(long_start ? errc::start_line_too_long : errc::head_too_large, used);
    }
    // The fields' two allocations, once: most heads arrive whole, and few are longer.
    if (at_ == at::name && lines_ == 0 && line_size_ == 0)
      fields_.reserve(usual_lines, std::min(bytes.size() - used, usual_bytes));
    std::size_t taken = 0;
    const auto wrong = take(bytes.substr(used, room), taken);
    used += taken;
    head_size_ += taken;
    line_size_ = std::exchange(line_ended_, false) ? 0 : line_size_ + taken;
    if (wrong != nothing) return refuse(wrong, used);
    if (at_ == at::done) return {used, true};
  }
  start_text_.keep();
  name_.keep();
  value_.keep();
  return {used};
}

errc head_parser::impl::take(std::string_view bytes, std::size_t& i) {
  if (at_ == at::start && what_ == kind::response) at_ = at::status;
  if (at_ == at::start || at_ == at::start_lf) return take_empty_line(bytes, i);
  if (at_ <= at::version_lf) return take_request_line(bytes, i);
  if (at_ <= at::status_lf) return take_status_line(bytes, i);
  return take_field_line(bytes, i);
}

errc head_parser::impl::take_empty_line(std::string_view bytes, std::size_t& i) {
  const char c = bytes.front();
  if ((c == '\n') != (at_ == at::start_lf)) return errc::bad_line_ending;
  line_ended_ = c == '\n';
  i = c == '\n' || c == '\r' ? 1 : 0;
  at_ = c == '\n' ? at::start : c == '\r' ? at::start_lf : at::method;
  return nothing;
}

// llhttp gets a method it knows and the version in question; both are judged here.
errc head_parser::impl::take_request_line(std::string_view bytes, std::size_t& i) {
  if (at_ == at::method) {
    i = skip(bytes, 0, characters::method);
    method_.append(bytes.substr(0, i));
    if (i == bytes.size()) return nothing;
    if (bytes[i] != ' ' || method_.empty()) return errc::bad_start_line;
    if (method_ == "CONNECT") return errc::bad_method;  // its target has a form of its own
    ++i;
    at_ = at::target;
    if (const auto wrong = execute("GET "); wrong != nothing) return wrong;
  }
  if (at_ == at::target) {
    const auto start = i;
    i = skip(bytes, i, characters::target);
    if (const auto wrong = execute(bytes.substr(start, i - start)); wrong != nothing) return wrong;
    if (i == bytes.size()) return nothing;
    if (bytes[i] == '\r' || bytes[i] == '\n' || start_text_.text().empty()) return errc::bad_start_line;
    if (bytes[i] != ' ') return errc::bad_target;
    ++i;
    at_ = at::version;
  }
  return take_version(bytes, i);
}

errc head_parser::impl::take_version(std::string_view bytes, std::size_t& i) {
  for (; at_ == at::version && i != bytes.size(); ++i) {
    const char c = bytes[i];
    if (c == '\r') {
      const std::string_view text(version_text_.data(), version_size_);
      const bool known = text == "HTTP/1.0" || text == "HTTP/1.1";
      if (!known) return text.starts_with("HTTP/") ? errc::bad_version : errc::bad_start_line;
      version_ = text.back() == '0' ? http_version::http_1_0 : http_version::http_1_1;
      at_ = at::version_lf;
    } else {
      if (c == '\n') return errc::bad_line_ending;
      if (version_size_ == version_text_.size() || !is(c, characters::target)) return errc::bad_start_line;
      version_text_[version_size_++] = c;
    }
  }
  if (i == bytes.size()) return nothing;
  if (bytes[i] != '\n') return errc::bad_line_ending;
  ++i;
  return end_request_line();
}

errc head_parser::impl::end_request_line() {
  text_ = start_text_.text();
  const auto wrong = execute(version_ == http_version::http_1_0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  at_ = at::name;
  line_ended_ = true;
  return wrong;
}

errc head_parser::impl::take_status_line(std::string_view bytes, std::size_t& i) {
  if (at_ == at::status) {
    i = characters::skip_text(bytes, 0);
    if (i != bytes.size() && bytes[i] == '\r') {
      at_ = at::status_lf;
      ++i;
    }
  }
  const bool ended = at_ == at::status_lf && i != bytes.size() && bytes[i] == '\n';
  const bool broken = !ended && i != bytes.size();
  if (ended) ++i;
  if (const auto wrong = execute(bytes.substr(0, i)); wrong != nothing) return wrong;
  if (broken) return errc::bad_start_line;
  return ended ? end_status_line() : nothing;
}

errc head_parser::impl::end_status_line() {
  status_ = llhttp_get_status_code(&parser_);
  if (llhttp_get_http_major(&parser_) != 1) return errc::bad_version;
  if (status_ < 100 || status_ > 999) return errc::bad_start_line;
  version_ = llhttp_get_http_minor(&parser_) == 0 ? http_version::http_1_0 : http_version::http_1_1;
  text_ = start_text_.text();
  at_ = at::name;
  line_ended_ = true;
  return nothing;
}

errc head_parser::impl::take_field_line(std::string_view bytes, std::size_t& i) {
  if (line_size_ == 0) {
    name_.clear();
    value_.clear();
    name_size_ = 0;
    unusual_name_ = false;
  }
  const auto wrong_here = judge_field_line(bytes, i);
  const auto wrong_before = execute(bytes.substr(0, i));
  if (wrong_before != nothing) return wrong_before;
  if (line_ended_ && at_ == at::name) end_field_line();
  return wrong_here;
}

errc head_parser::impl::judge_field_line(std::string_view bytes, std::size_t& i) {
  if (at_ == at::name)
    if (const auto wrong = judge_name(bytes, i); wrong != nothing) return wrong;
  if (at_ == at::value) {
    i = characters::skip_text(bytes, i);
    if (i == bytes.size()) return nothing;
    if (bytes[i] != '\r') return bytes[i] == '\n' ? errc::bad_line_ending : errc::bad_field_value;
    ++i;
    at_ = at::value_lf;
  }
  if (i == bytes.size()) return nothing;
  if (bytes[i] != '\n') return errc::bad_line_ending;
  ++i;
  at_ = at_ == at::last_lf ? at::done : at::name;
  line_ended_ = true;
  return nothing;
}

// A name and its colon, or the CR of the blank line.
errc head_parser::impl::judge_name(std::string_view bytes, std::size_t& i) {
  const auto start = i;
  unsigned all_are = ~0U;
  for (; i != bytes.size() && is(bytes[i], characters::token); ++i) all_are &= characters::sets_of(bytes[i]);
  name_size_ += i - start;
  unusual_name_ |=
      (all_are & (limits_.keep_underscores ? characters::usual_or_underscore : characters::usual)) == 0;
  if (i == bytes.size()) return nothing;
  const char c = bytes[i];
  if (c == '\n') return errc::bad_line_ending;
  if (name_size_ == 0) {
    if (c == ' ' || c == '\t') return errc::folded_field;
    if (c != '\r') return errc::bad_field_name;
    at_ = at::last_lf;
  } else {
    if (c != ':') return errc::bad_field_name;
    if (++lines_ > limits_.field_count) return errc::head_too_large;
    at_ = at::value;
  }
  ++i;
  return nothing;
}

void head_parser::impl::end_field_line() {
  const bool dropped = unusual_name_ && limits_.drop_unusual_names && what_ == kind::request;
  if (!dropped) fields_.put(name_.text(), trim(value_.text()));
}

errc head_parser::impl::execute(std::string_view bytes) {
  const auto result = llhttp_execute(&parser_, bytes.data(), bytes.size());
  // The two must agree on where the head ends.
  return result == (at_ == at::done ? HPE_PAUSED_UPGRADE : HPE_OK) ? nothing : unnamed_refusal();
}

// What llhttp alone refuses: targets without a known form, and fields that delimit a body badly. Of those
// it may speak late, at the first byte of the next line, when no name is known yet.
errc head_parser::impl::unnamed_refusal() {
  if (at_ < at::name) return errc::bad_target;
  const auto name = name_.text();
  const bool here_length = iequals(name, "Content-Length");
  const bool here_coding = iequals(name, "Transfer-Encoding");
  if (!name.empty() && !here_length && !here_coding) return errc::bad_field_value;
  const bool length = here_length || fields_.count("Content-Length") != 0;
  const bool coding = here_coding || fields_.count("Transfer-Encoding") != 0;
  if (length && coding) return errc::length_with_coding;
  return coding ? errc::chunked_not_last : errc::bad_content_length;
}

request_head head_parser::impl::take_request() {
  return {std::move(method_), std::move(text_), version_, std::move(fields_)};
}

response_head head_parser::impl::take_response() {
  return {status_, std::move(text_), version_, std::move(fields_)};
}

head_parser::head_parser(kind what, const head_limits& limits)
    : impl_(std::make_unique<impl>(what, limits)) {}
head_parser::head_parser(head_parser&&) noexcept = default;
head_parser& head_parser::operator=(head_parser&&) noexcept = default;
head_parser::~head_parser() = default;

head_parser::outcome head_parser::feed(std::string_view bytes) { return impl_->feed(bytes); }
bool head_parser::begun() const noexcept { return impl_->begun(); }
request_head head_parser::take_request() { return impl_->take_request(); }
response_head head_parser::take_response() { return impl_->take_response(); }

namespace {

std::error_code check_target(const request_head& head) {
  const std::string_view target = head.target;
  if (target.empty() || skip(target, 0, characters::target) != target.size()) return errc::bad_target;
  if (target.front() == '/') return {};
  if (target == "*") return head.method == "OPTIONS" ? std::error_code{} : errc::bad_target;
  const auto absolute = split_absolute(target);
  if (!absolute || !is_authority(absolute->authority)) return errc::bad_target;
  // Of another scheme nobody here is the origin (RFC 9110 section 7.4).
  const bool known = iequals(absolute->scheme, "http") || iequals(absolute->scheme, "https") ||
                     iequals(absolute->scheme, "ws") || iequals(absolute->scheme, "wss");
  return known ? std::error_code{} : errc::bad_target;
}

std::error_code check_host(const request_head& head) {
  const auto lines = head.fields.count("Host");
  if (lines > 1) return errc::duplicate_host;
  if (lines == 0) return head.version == http_version::http_1_0 ? std::error_code{} : errc::missing_host;
  const auto host = head.fields.value_or_empty("Host");
  if (!is_authority(host)) return errc::bad_host;
  const auto absolute = split_absolute(head.target);
  return absolute && !iequals(absolute->authority, host) ? errc::bad_host : std::error_code{};
}

std::error_code check_fields(const fields& lines) {
  if (lines.well_formed()) return {};
  const auto bad = std::find_if(lines.begin(), lines.end(),
                                [](const field& line) { return fault_of(line) != line_fault::none; });
  return fault_of(*bad) == line_fault::name ? errc::bad_field_name : errc::bad_field_value;
}

}  // namespace

std::error_code check_request(const request_head& head) {
  if (!is_token(head.method)) return errc::bad_start_line;
  if (head.method == "CONNECT" || head.method == "TRACE") return errc::bad_method;
  if (const auto error = check_target(head)) return error;
  if (const auto error = check_fields(head.fields)) return error;
  if (const auto error = check_host(head)) return error;
  std::error_code error;
  request_framing(head, error);
  return error;
}

}  // namespace wsproxy
