// The field lines of a head, in their order and with their bytes as received.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <wsproxy/export.hpp>

namespace wsproxy {

/// One field line (RFC 9110 section 5). The views are valid until the `fields` they come from changes.
struct field {
  std::string_view name;   ///< as received; compare it with iequals()
  std::string_view value;  ///< without surrounding space and tab
};

namespace detail {
WSPROXY_EXPORT bool same_letters(const char* a, const char* b, std::size_t size) noexcept;
}

/// Equality of field names and tokens: ASCII, without case.
inline bool iequals(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && detail::same_letters(a.data(), b.data(), a.size());
}

/// Without leading and trailing space and tab (RFC 9110 section 5.6.3, OWS).
WSPROXY_EXPORT std::string_view trim(std::string_view) noexcept;

/// True for one or more token characters (RFC 9110 section 5.6.2).
WSPROXY_EXPORT bool is_token(std::string_view) noexcept;

/// An ordered multimap of field lines. Names compare without case; names, values and
/// order are kept byte for byte. One allocation for all of them.
class WSPROXY_EXPORT fields {
 public:
  /// A forward iterator, which gives a `field` by value. Any change of the fields makes it invalid.
  class const_iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = field;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = field;
    const_iterator() = default;
    const_iterator(const fields* all, std::size_t at) : all_(all), at_(at) {}
    field operator*() const { return (*all_)[at_]; }
    const_iterator& operator++() {
      ++at_;
      return *this;
    }
    const_iterator operator++(int) {
      auto old = *this;
      ++at_;
      return old;
    }
    bool operator==(const const_iterator&) const = default;

   private:
    const fields* all_ = nullptr;
    std::size_t at_ = 0;
  };

  fields() = default;
  fields(const fields&);                 ///< the same lines
  fields& operator=(const fields&);      ///< the same
  fields(fields&&) noexcept;             ///< the other is empty afterwards
  fields& operator=(fields&&) noexcept;  ///< as well
  ~fields() = default;
  /// These lines, in this order.
  fields(std::initializer_list<field> lines) {
    for (const auto& line : lines) add(line.name, line.value);
  }

  /// Appends a line. The value is stored without surrounding space and tab.
  /// Arguments may be views into this object.
  void add(std::string_view name, std::string_view value);
  /// Appends the lines of another object for which `test(field)` is true.
  template <class Test> void add_if(const fields& from, Test test);
  /// Replaces the first line of that name and removes the others; appends if there is none.
  void set(std::string_view name, std::string_view value);
  /// Removes every line of that name; returns how many there were.
  std::size_t erase(std::string_view name);
  /// Removes the lines for which `test(field)` is true.
  template <class Test> void erase_if(Test test);
  /// Removes every line; keeps the memory.
  void clear() noexcept;
  /// Makes room for so many lines with so many bytes of names and values in all.
  void reserve(std::size_t lines, std::size_t bytes);

  /// How many lines there are.
  std::size_t size() const noexcept { return lines_; }
  bool empty() const noexcept { return lines_ == 0; }  ///< there is no line
  /// As many bytes as all names and values have, or more: what was replaced or removed may be counted still.
  std::size_t bytes() const noexcept { return used_; }
  /// The line at this place, which must be less than size().
  field operator[](std::size_t at) const noexcept {
    const auto line = extent_of(at);
    return {{block_.get() + line.name, line.name_size}, {block_.get() + line.value, line.value_size}};
  }
  const_iterator begin() const noexcept { return {this, 0}; }     ///< the first line
  const_iterator end() const noexcept { return {this, lines_}; }  ///< behind the last

  /// The first line's value; nothing if there is none.
  std::optional<std::string_view> find(std::string_view name) const noexcept;
  /// The first line's value, or an empty view.
  std::string_view value_or_empty(std::string_view name) const noexcept {
    return find(name).value_or(std::string_view{});
  }
  /// How many lines have this name.
  std::size_t count(std::string_view name) const noexcept;
  /// All values of that name, joined by ", " (RFC 9110 section 5.3); empty if there is none.
  std::string joined(std::string_view name) const;
  /// True if the comma-separated list that all lines of that name make has this element (without case).
  bool has_token(std::string_view name, std::string_view token) const noexcept;

  /// True if every line may be sent as it is: its name is a token, and there is no CR, LF or NUL in its value
  /// (RFC 9110 section 5). Lines are looked at once, when they are added; those a parser has read, never.
  bool well_formed() const noexcept;

  /// The same lines in the same order, byte for byte.
  bool operator==(const fields& other) const noexcept;

 private:
  struct extent {
    std::uint32_t name, name_size, value, value_size;
  };
  friend class head_parser;
  // Appends what needs neither trimming nor a look.
  void put(std::string_view name, std::string_view value);
  // Where it says where a line is. Bytes are what may stand anywhere.
  char* place_of(std::size_t line) const noexcept {
    return block_.get() + capacity_ - (line + 1) * sizeof(extent);
  }
  extent extent_of(std::size_t line) const noexcept {
    extent found;
    std::memcpy(&found, place_of(line), sizeof found);
    return found;
  }
  void set_extent(std::size_t line, const extent& to) noexcept {
    std::memcpy(place_of(line), &to, sizeof to);
  }
  std::size_t room() const noexcept { return capacity_ - used_ - lines_ * sizeof(extent); }
  std::unique_ptr<char[]> grow(std::size_t capacity);

  // The text, room, and where the lines are: those from the end backwards.
  std::unique_ptr<char[]> block_;
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
  std::size_t lines_ = 0;
  bool known_good_ = true;  // every line is well formed; else some may not be
};

/// Calls `visit(element)` for every non-empty element of a comma-separated list (RFC 9110 section 5.6.1).
/// Stops early when `visit` returns false. Quoted strings are not interpreted: the lists of a
/// handshake (Connection, Upgrade, Sec-WebSocket-Protocol) are lists of tokens.
template <class Visit> void for_each_element(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    const auto element = trim(list.substr(0, comma));
    if (!element.empty() && !visit(element)) return;
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

template <class Test> void fields::add_if(const fields& from, Test test) {
  known_good_ = known_good_ && from.known_good_;
  for (const auto& line : from)
    if (test(line)) put(line.name, line.value);
}

template <class Test> void fields::erase_if(Test test) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i != lines_; ++i)
    if (!test((*this)[i])) set_extent(kept++, extent_of(i));
  lines_ = kept;
}

}  // namespace wsproxy
