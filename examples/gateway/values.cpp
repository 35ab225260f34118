#include "values.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include <wsproxy/policy.hpp>

namespace wsproxy_gateway {
namespace {

struct unit {
  std::string_view name;
  int rank;  // falls from years to milliseconds
  std::int64_t milliseconds;
};
constexpr std::int64_t second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
// "ms" before "m" and "s": the longer name is tried first.
constexpr unit units[] = {{"ms", 1, 1},      {"y", 9, 365 * day}, {"M", 8, 30 * day},
                          {"w", 7, 7 * day}, {"d", 6, day},       {"h", 5, hour},
                          {"m", 4, minute},  {"s", 2, second},    {" ", 2, second}};
constexpr int rank_of_seconds = 2;
constexpr int rank_of_weeks = 7;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::optional<std::int64_t> parse_units(std::string_view text, bool whole_seconds) {
  // What nginx can hold; and what the arithmetic of time points can, which is still more than anybody means.
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t enough = std::int64_t{1000} * 365 * day;
  std::int64_t total = 0;
  int last_rank = whole_seconds ? 10 : rank_of_weeks + 1;
  bool any = false;
  while (!text.empty()) {
    if (!is_digit(text.front())) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    any = true;
    std::int64_t scale = second;
    if (!text.empty()) {
      const auto* found = std::find_if(std::begin(units), std::end(units),
                                       [&](const unit& u) { return text.starts_with(u.name); });
      if (found == std::end(units) || found->rank >= last_rank) return std::nullopt;
      if (whole_seconds && found->rank < rank_of_seconds) return std::nullopt;
      last_rank = found->name == " " ? 0 : found->rank;  // a space ends the list
      scale = found->milliseconds;
      text.remove_prefix(found->name.size());
      while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    }
    if (value > (most - total) / scale) return std::nullopt;
    total += value * scale;
  }
  if (!any) return std::nullopt;
  return std::min(total, enough);
}

/// Whether no more letters than that need be inserted, removed or changed to make one the other.
bool within(std::string_view a, std::string_view b, std::size_t edits) {
  const auto same = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  a.remove_prefix(same);
  b.remove_prefix(same);
  if (a.empty() || b.empty()) return a.size() + b.size() <= edits;
  if (edits == 0) return false;
  return within(a.substr(1), b.substr(1), edits - 1) || within(a.substr(1), b, edits - 1) ||
         within(a, b.substr(1), edits - 1);
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_time(std::string_view text) {
  const auto total = parse_units(text, false);
  if (!total) return std::nullopt;
  return std::min(std::chrono::milliseconds(*total), wsproxy::longest_time);
}

std::optional<std::chrono::seconds> parse_seconds(std::string_view text) {
  const auto total = parse_units(text, true);
  if (!total) return std::nullopt;
  constexpr auto most = std::chrono::duration_cast<std::chrono::seconds>(wsproxy::longest_time);
  return std::min(std::chrono::seconds(*total / second), most);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  if (text.empty()) return std::nullopt;
  unsigned shift = 0;
  switch (text.back()) {
  case 'k':
  case 'K': shift = 10; break;
  case 'm':
  case 'M': shift = 20; break;
  case 'g':
  case 'G': shift = 30; break;
  default: break;
  }
  if (shift != 0) text.remove_suffix(1);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (error != std::errc() || end != text.data() + text.size() || value > (most >> shift))
    return std::nullopt;
  return value << shift;
}

std::optional<unsigned> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return static_cast<unsigned>(std::min<std::uint64_t>(value, std::numeric_limits<int>::max()));
}

std::string to_lower(std::string_view text) {
  std::string result(text);
  for (auto& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

std::string escape_bytes(std::string_view text, bool (*keep)(char)) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (keep(c)) result += c;
    else result.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 15u]);
  }
  return result;
}

std::string_view closest(std::string_view text, const std::vector<std::string_view>& candidates) {
  for (std::size_t edits = 0; edits <= std::min<std::size_t>(2, text.size() / 3); ++edits)
    for (const auto& candidate : candidates)
      if (within(text, candidate, edits)) return candidate;
  return {};
}

std::string did_you_mean(std::string_view meant) {
  return meant.empty() ? std::string() : fmt::format(R"(; did you mean "{}"?)", meant);
}

}  // namespace wsproxy_gateway
