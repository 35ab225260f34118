// One field line, in and out (RFC 9112 section 5), shared by heads and trailer sections.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <wsproxy/http/fields.hpp>

namespace wsproxy {

/// `name ":" OWS value OWS` without its line ending; nothing if the name is no token, so also if the
/// line is folded. The caller has seen to the bytes of the value.
std::optional<field> split_field_line(std::string_view line) noexcept;

/// What keeps a line from being sent.
enum class line_fault {
  none,
  name,   // it is no token
  value,  // CR, LF or NUL is in it
};
line_fault fault_of(const field& line) noexcept;

/// The lines and the blank line behind them. Throws std::invalid_argument for a name that is no token
/// and for a value with CR, LF or NUL.
void append_field_lines(std::string& out, const fields& lines);

/// True without CR, LF and NUL.
bool fits_on_a_line(std::string_view text) noexcept;

}  // namespace wsproxy
