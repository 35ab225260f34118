#include "field_line.hpp"

#include <stdexcept>

#include <fmt/format.h>

#include "characters.hpp"

namespace wsproxy {
namespace {

[[noreturn]] void refuse(const fields& lines) {
  std::size_t at = 0;
  while (fault_of(lines[at]) == line_fault::none) ++at;
  throw std::invalid_argument(
      fault_of(lines[at]) == line_fault::name
          ? fmt::format("the name of field line {} is no token", at + 1)
          : fmt::format("the value of field {} contains CR, LF or NUL", lines[at].name));
}

}  // namespace

std::optional<field> split_field_line(std::string_view line) noexcept {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return std::nullopt;
  return field{line.substr(0, colon), trim(line.substr(colon + 1))};
}

line_fault fault_of(const field& line) noexcept {
  if (!is_token(line.name)) return line_fault::name;
  return fits_on_a_line(line.value) ? line_fault::none : line_fault::value;
}

void append_field_lines(std::string& out, const fields& lines) {
  if (!lines.well_formed()) refuse(lines);
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
