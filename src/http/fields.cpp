#include <wsproxy/http/fields.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "characters.hpp"
#include "field_line.hpp"

namespace wsproxy {

namespace {

constexpr std::size_t first_lines = 8;
constexpr std::size_t first_bytes = 240;

bool is_well_formed(const field& line) noexcept { return fault_of(line) == line_fault::none; }

}  // namespace

bool detail::same_letters(const char* a, const char* b, std::size_t size) noexcept {
  for (std::size_t i = 0; i != size; ++i)
    if (a[i] != b[i] && characters::lower(a[i]) != characters::lower(b[i])) return false;
  return true;
}

std::string_view trim(std::string_view text) noexcept {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_token(std::string_view text) noexcept {
  return !text.empty() && characters::skip(text, 0, characters::token) == text.size();
}

void fields::add(std::string_view name, std::string_view value) {
  const field line{name, trim(value)};
  known_good_ = known_good_ && is_well_formed(line);
  put(line.name, line.value);
}

void fields::put(std::string_view name, std::string_view value) {
  assert(!known_good_ || is_well_formed({name, value}));
  const auto at = text_.size();
  const extent added{static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(name.size()),
                     static_cast<std::uint32_t>(at + name.size()), static_cast<std::uint32_t>(value.size())};
  if (lines_.size() == lines_.capacity()) lines_.reserve(std::max(first_lines, 2 * lines_.size()));
  const auto needed = at + name.size() + value.size();
  if (needed <= text_.capacity()) {
    if (value.data() == name.data() + name.size())
      text_.append(name.data(), needed - at);  // side by side, as they lie here
    else text_.append(name).append(value);
  } else {  // the arguments may lie in text_, which must therefore outlive the copying
    std::string grown;
    grown.reserve(std::max({needed, 2 * text_.capacity(), first_bytes}));
    grown.append(text_).append(name).append(value);
    text_.swap(grown);
  }
  lines_.push_back(added);
}

void fields::set(std::string_view name, std::string_view value) {
  value = trim(value);
  const auto named = [&](const extent& each) {
    return iequals({text_.data() + each.name, each.name_size}, name);
  };
  const auto first = std::find_if(lines_.begin(), lines_.end(), named);
  if (first == lines_.end()) return add(name, value);
  known_good_ = known_good_ && fits_on_a_line(value);
  lines_.erase(std::remove_if(first + 1, lines_.end(), named), lines_.end());
  if (value.size() <= first->value_size) {  // in its old place: repeated setting does not grow the text
    if (!value.empty()) std::memmove(text_.data() + first->value, value.data(), value.size());
  } else {
    const auto at = text_.size();
    std::string grown;
    grown.reserve(at + value.size());
    grown.append(text_).append(value);  // `value` may lie in text_
    text_.swap(grown);
    first->value = static_cast<std::uint32_t>(at);
  }
  first->value_size = static_cast<std::uint32_t>(value.size());
}

std::size_t fields::erase(std::string_view name) {
  const auto before = size();
  erase_if([name](const field& line) { return iequals(line.name, name); });
  return before - size();
}

void fields::clear() noexcept {
  text_.clear();
  lines_.clear();
  known_good_ = true;
}

void fields::reserve(std::size_t lines, std::size_t bytes) {
  lines_.reserve(lines);
  text_.reserve(bytes);
}

std::optional<std::string_view> fields::find(std::string_view name) const noexcept {
  for (const auto& line : *this)
    if (iequals(line.name, name)) return line.value;
  return std::nullopt;
}

std::size_t fields::count(std::string_view name) const noexcept {
  return static_cast<std::size_t>(
      std::count_if(begin(), end(), [name](const field& line) { return iequals(line.name, name); }));
}

std::string fields::joined(std::string_view name) const {
  std::string all;
  bool first = true;
  for (const auto& line : *this) {
    if (!iequals(line.name, name)) continue;
    if (!first) all += ", ";
    first = false;
    all += line.value;
  }
  return all;
}

bool fields::has_token(std::string_view name, std::string_view token) const noexcept {
  bool found = false;
  for (const auto& line : *this)
    if (!found && iequals(line.name, name))
      for_each_element(line.value,
                       [&](std::string_view element) { return !(found = iequals(element, token)); });
  return found;
}

bool fields::well_formed() const noexcept {
  return known_good_ || std::all_of(begin(), end(), is_well_formed);
}

bool fields::operator==(const fields& other) const noexcept {
  return std::equal(begin(), end(), other.begin(), other.end(),
                    [](const field& a, const field& b) { return a.name == b.name && a.value == b.value; });
}

}  // namespace wsproxy
