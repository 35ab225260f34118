#include <wsproxy/http/message.hpp>

#include <charconv>
#include <stdexcept>

#include "characters.hpp"
#include "field_line.hpp"

namespace wsproxy {
namespace {

void require(bool holds, const char* rule) {
  if (!holds) throw std::invalid_argument(rule);
}

std::string_view text_of(http_version version) noexcept {
  return version == http_version::http_1_0 ? "HTTP/1.0" : "HTTP/1.1";
}

void append_number(std::string& out, std::size_t number) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

std::size_t bytes_of(const fields& lines) noexcept { return lines.bytes() + 4 * lines.size() + 2; }

bool has_no_content(int status) noexcept { return status < 200 || status == 204 || status == 304; }

}  // namespace

void serialize(const request_head& head, std::string& out) {
  require(is_token(head.method), "a method must be a token");
  require(!head.target.empty() && characters::skip(head.target, 0, characters::target) == head.target.size(),
          "a request target must not be empty or contain space or a control character");
  out.reserve(out.size() + head.method.size() + head.target.size() + 12 + bytes_of(head.fields));
  out.append(head.method).append(1, ' ').append(head.target).append(1, ' ');
  out.append(text_of(head.version)).append("\r\n");
  append_field_lines(out, head.fields);
}

void serialize(const response_head& head, std::string& out) {
  require(head.status >= 100 && head.status <= 999, "a status must have three digits");
  require(fits_on_a_line(head.reason), "a reason must not contain CR, LF or NUL");
  out.reserve(out.size() + head.reason.size() + 15 + bytes_of(head.fields));
  out.append(text_of(head.version)).append(1, ' ');
  append_number(out, static_cast<std::size_t>(head.status));
  out.append(1, ' ')
      .append(head.reason)
      .append("\r\n");  // the space stands even without a reason (section 4)
  append_field_lines(out, head.fields);
}

std::string make_response(int status, std::string_view body, const fields& extra, bool close) {
  response_head head{status, std::string(reason_phrase(status)), http_version::http_1_1, extra};
  // They may come from somebody else's answer.
  head.fields.erase_if([](const field& line) {
    return iequals(line.name, "Content-Length") || iequals(line.name, "Transfer-Encoding");
  });
  if (has_no_content(status)) {
    body = {};
  } else {
    std::string length;
    append_number(length, body.size());
    head.fields.add("Content-Length", length);
  }
  if (close && !head.fields.has_token("Connection", "close")) head.fields.add("Connection", "close");
  std::string out;
  serialize(head, out);
  return out.append(body);
}

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
  case 100: return "Continue";
  case 101: return "Switching Protocols";
  case 102: return "Processing";
  case 103: return "Early Hints";
  case 200: return "OK";
  case 201: return "Created";
  case 202: return "Accepted";
  case 204: return "No Content";
  case 206: return "Partial Content";
  case 301: return "Moved Permanently";
  case 302: return "Moved Temporarily";
  case 303: return "See Other";
  case 304: return "Not Modified";
  case 307: return "Temporary Redirect";
  case 308: return "Permanent Redirect";
  case 400: return "Bad Request";
  case 401: return "Unauthorized";
  case 402: return "Payment Required";
  case 403: return "Forbidden";
  case 404: return "Not Found";
  case 405: return "Not Allowed";
  case 406: return "Not Acceptable";
  case 408: return "Request Time-out";
  case 409: return "Conflict";
  case 410: return "Gone";
  case 411: return "Length Required";
  case 412: return "Precondition Failed";
  case 413: return "Request Entity Too Large";
  case 414: return "Request-URI Too Large";
  case 415: return "Unsupported Media Type";
  case 416: return "Requested Range Not Satisfiable";
  case 421: return "Misdirected Request";
  case 426: return "Upgrade Required";
  case 429: return "Too Many Requests";
  case 500: return "Internal Server Error";
  case 501: return "Not Implemented";
  case 502: return "Bad Gateway";
  case 503: return "Service Temporarily Unavailable";
  case 504: return "Gateway Time-out";
  case 505: return "HTTP Version Not Supported";
  case 507: return "Insufficient Storage";
  default: return "";
  }
}

}  // namespace wsproxy
