#include "field_line.hpp"

#include <stdexcept>

namespace wsproxy {

std::optional<field> split_field_line(std::string_view line) noexcept {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return std::nullopt;
  return field{line.substr(0, colon), trim(line.substr(colon + 1))};
}

void append_field_lines(std::string& out, const fields& lines) {
  for (const auto& line : lines) {
    if (!is_token(line.name)) throw std::invalid_argument("a field name must be a token");
    if (!fits_on_a_line(line.value))
      throw std::invalid_argument("a field value must not contain CR, LF or NUL");
    out.append(line.name).append(": ").append(line.value).append("\r\n");
  }
  out += "\r\n";
}

bool fits_on_a_line(std::string_view text) noexcept {
  for (const char c : text)
    if (c == '\r' || c == '\n' || c == '\0') return false;
  return true;
}

}  // namespace wsproxy
