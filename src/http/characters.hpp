// Which bytes may stand where in a head (RFC 9110 section 5, RFC 9112 sections 3 and 5).
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace wsproxy::characters {

enum set : unsigned char {
  token = 1,   // tchar (RFC 9110 section 5.6.2)
  usual = 2,   // the tokens nginx keeps in a field name: letters, digits, '-'
  text = 4,    // field-content and reason-phrase: HTAB, SP, VCHAR, obs-text
  method = 8,  // the tokens nginx takes for a method: upper-case letters, '-', '_'
  target = 16  // VCHAR
};

inline constexpr auto table = [] {
  std::array<unsigned char, 256> sets{};
  const auto add = [&](int first, int last, unsigned kinds) {
    for (int c = first; c <= last; ++c) {
      auto& entry = sets[static_cast<std::size_t>(c)];
      entry = static_cast<unsigned char>(entry | kinds);
    }
  };
  add('0', '9', token | usual);
  add('a', 'z', token | usual);
  add('A', 'Z', token | usual | method);
  add('-', '-', usual | method);
  add('_', '_', method);
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) add(c, c, token);
  add('\t', '\t', text);
  add(0x20, 0x7e, text);
  add(0x80, 0xff, text);
  add(0x21, 0x7e, target);
  return sets;
}();

constexpr unsigned char sets_of(char c) noexcept { return table[static_cast<unsigned char>(c)]; }
constexpr bool is(char c, set kind) noexcept { return (sets_of(c) & kind) != 0; }

/// Whether it stands in the field names that nginx keeps. [ignore_invalid_headers, underscores_in_headers]
constexpr bool is_usual(char c, bool underscores) noexcept {
  return is(c, usual) || (underscores && c == '_');
}

/// The first position at or after `from` whose byte is not of this kind, or the size.
constexpr std::size_t skip(std::string_view bytes, std::size_t from, set kind) noexcept {
  while (from != bytes.size() && is(bytes[from], kind)) ++from;
  return from;
}

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace wsproxy::characters
