// Which bytes may stand where in a head (RFC 9110 section 5, RFC 9112 sections 3 and 5).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace wsproxy::characters {

enum set : unsigned char {
  token = 1,                // tchar (RFC 9110 section 5.6.2)
  usual = 2,                // the tokens nginx keeps in a field name: letters, digits, '-'
  text = 4,                 // field-content and reason-phrase: HTAB, SP, VCHAR, obs-text
  method = 8,               // the tokens nginx takes for a method: upper-case letters, '-', '_'
  target = 16,              // VCHAR
  usual_or_underscore = 32  // [underscores_in_headers]
};

inline constexpr auto table = [] {
  std::array<unsigned char, 256> sets{};
  const auto add = [&](int first, int last, unsigned kinds) {
    for (int c = first; c <= last; ++c) {
      auto& entry = sets[static_cast<std::size_t>(c)];
      entry = static_cast<unsigned char>(entry | kinds);
    }
  };
  add('0', '9', token | usual | usual_or_underscore);
  add('a', 'z', token | usual | usual_or_underscore);
  add('A', 'Z', token | usual | usual_or_underscore | method);
  add('-', '-', usual | usual_or_underscore | method);
  add('_', '_', usual_or_underscore | method);
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) add(c, c, token);
  add('\t', '\t', text);
  add(0x20, 0x7e, text);
  add(0x80, 0xff, text);
  add(0x21, 0x7e, target);
  return sets;
}();

constexpr unsigned char sets_of(char c) noexcept { return table[static_cast<unsigned char>(c)]; }
constexpr bool is(char c, set kind) noexcept { return (sets_of(c) & kind) != 0; }

/// The first position at or after `from` whose byte is not of this kind, or the size.
constexpr std::size_t skip(std::string_view bytes, std::size_t from, set kind) noexcept {
  while (from != bytes.size() && is(bytes[from], kind)) ++from;
  return from;
}

/// skip(bytes, from, text), eight bytes at a time. Values and reasons are most of a head.
inline std::size_t skip_text(std::string_view bytes, std::size_t from) noexcept {
  constexpr std::uint64_t each = 0x0101010101010101;
  for (std::uint64_t eight; bytes.size() - from >= sizeof eight; from += sizeof eight) {
    std::memcpy(&eight, bytes.data() + from, sizeof eight);
    const auto not_delete = eight ^ 0x7f * each;
    const auto below_space = (eight - 0x20 * each) & ~eight;
    const auto is_delete = (not_delete - each) & ~not_delete;
    if (((below_space | is_delete) & 0x80 * each) != 0) break;
  }
  return skip(bytes, from, text);
}

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace wsproxy::characters
