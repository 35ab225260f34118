#include <wsproxy/http/fields.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "characters.hpp"
#include "field_line.hpp"

namespace wsproxy {

namespace {

constexpr std::size_t first_capacity = 368;  // eight lines, say

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

fields::fields(const fields& from) : used_(from.used_), lines_(from.lines_), known_good_(from.known_good_) {
  const auto places = lines_ * sizeof(extent);
  if (used_ + places == 0) return;
  capacity_ = used_ + places;
  block_ = std::make_unique_for_overwrite<char[]>(capacity_);
  std::memcpy(block_.get(), from.block_.get(), used_);
  std::memcpy(block_.get() + used_, from.block_.get() + from.capacity_ - places, places);
}

fields& fields::operator=(const fields& from) { return *this = fields(from); }

fields::fields(fields&& from) noexcept
    : block_(std::move(from.block_)),
      capacity_(std::exchange(from.capacity_, 0)),
      used_(std::exchange(from.used_, 0)),
      lines_(std::exchange(from.lines_, 0)),
      known_good_(std::exchange(from.known_good_, true)) {}

fields& fields::operator=(fields&& from) noexcept {
  block_ = std::move(from.block_);
  capacity_ = std::exchange(from.capacity_, 0);
  used_ = std::exchange(from.used_, 0);
  lines_ = std::exchange(from.lines_, 0);
  known_good_ = std::exchange(from.known_good_, true);
  return *this;
}

// Returns the old block: what is going to be put in may lie there.
std::unique_ptr<char[]> fields::grow(std::size_t capacity) {
  auto other = std::make_unique_for_overwrite<char[]>(capacity);
  const auto places = lines_ * sizeof(extent);
  if (block_) {
    std::memcpy(other.get(), block_.get(), used_);
    std::memcpy(other.get() + capacity - places, block_.get() + capacity_ - places, places);
  }
  block_.swap(other);
  capacity_ = capacity;
  return other;
}

void fields::put(std::string_view name, std::string_view value) {
  assert(!known_good_ || is_well_formed({name, value}));
  const auto size = name.size() + value.size();
  const auto needed = size + sizeof(extent);
  const auto old = needed > room() ? grow(std::max(2 * capacity_, first_capacity) + needed) : nullptr;
  char* const to = block_.get() + used_;
  if (value.data() == name.data() + name.size()) {  // side by side, as they lie here
    std::copy_n(name.data(), size, to);
  } else {
    std::copy_n(name.data(), name.size(), to);
    std::copy_n(value.data(), value.size(), to + name.size());
  }
  set_extent(lines_++,
             {static_cast<std::uint32_t>(used_), static_cast<std::uint32_t>(name.size()),
              static_cast<std::uint32_t>(used_ + name.size()), static_cast<std::uint32_t>(value.size())});
  used_ += size;
}

void fields::set(std::string_view name, std::string_view value) {
  value = trim(value);
  const auto is_named = [name](const field& line) { return iequals(line.name, name); };
  std::size_t first = 0;
  while (first != lines_ && !is_named((*this)[first])) ++first;
  if (first == lines_) return add(name, value);
  known_good_ = known_good_ && fits_on_a_line(value);
  std::size_t seen = 0;
  erase_if([&](const field& line) { return seen++ > first && is_named(line); });
  auto line = extent_of(first);
  std::unique_ptr<char[]> old;
  if (value.size() > line.value_size) {  // else in its old place: repeated setting does not grow the text
    if (value.size() > room()) old = grow(2 * capacity_ + value.size());
    line.value = static_cast<std::uint32_t>(used_);
    used_ += value.size();
  }
  if (!value.empty()) std::memmove(block_.get() + line.value, value.data(), value.size());
  line.value_size = static_cast<std::uint32_t>(value.size());
  set_extent(first, line);
}

std::size_t fields::erase(std::string_view name) {
  const auto before = size();
  erase_if([name](const field& line) { return iequals(line.name, name); });
  return before - size();
}

void fields::clear() noexcept {
  used_ = lines_ = 0;
  known_good_ = true;
}

void fields::reserve(std::size_t lines, std::size_t bytes) {
  const auto capacity = bytes + lines * sizeof(extent);
  if (capacity > capacity_) grow(capacity);
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
