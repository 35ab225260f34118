#include "field_line.hpp"

#include <stdexcept>

#include <fmt/format.h>

#include "characters.hpp"

namespace wsproxy {
namespace {

std::string fault_of(const fields& lines) {
  std::size_t number = 0;
  for (const auto& line : lines) {
    ++number;
    if (!is_token(line.name)) return fmt::format("the name of field line {} is no token", number);
    if (!fits_on_a_line(line.value))
      return fmt::format("the value of field {} contains CR, LF or NUL", line.name);
  }
  return {};
}

}  // namespace

std::optional<field> split_field_line(std::string_view line) noexcept {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return std::nullopt;
  return field{line.substr(0, colon), trim(line.substr(colon + 1))};
}

void append_field_lines(std::string& out, const fields& lines) {
  if (!lines.well_formed()) throw std::invalid_argument(fault_of(lines));
  for (const auto& line : lines) out.append(line.name).append(": ", 2).append(line.value).append("\r\n", 2);
  out.append("\r\n", 2);
}

bool fits_on_a_line(std::string_view text) noexcept {
  text.remove_prefix(characters::skip_text(text, 0));
  for (const char c : text)
    if (c == '\r' || c == '\n' || c == '\0') return false;
  return true;
}

}  // namespace wsproxy
