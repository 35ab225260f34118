#include "diagnostics.hpp"

#include <algorithm>
#include <tuple>

#include "values.hpp"

namespace wsproxy_gateway {
namespace {

/// A message may quote a word of any length: nobody reads more of it.
std::string shortened(std::string text) {
  constexpr std::size_t beginning = 400, end = 200;
  if (text.size() <= 2 * (beginning + end)) return text;
  const auto in_character = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u;
  };
  auto from = beginning, to = text.size() - end;
  while (from != 0 && in_character(from)) --from;
  while (to != text.size() && in_character(to)) ++to;
  return text.replace(from, to - from, " … ");
}

}  // namespace

std::string position::to_string() const { return fmt::format("{}:{}:{}", file ? *file : "?", line, column); }

std::string diagnostic::to_string() const {
  // Whatever is quoted from the file, it stays one line; what is beyond ASCII can be read.
  const auto is_text = [](char c) { return is_printable(c) || static_cast<unsigned char>(c) >= 0x80; };
  return fmt::format("{}: {}: {}", at.to_string(), is == kind::error ? "error" : "warning",
                     escape_bytes(text, is_text));
}

void diagnostics::add(diagnostic::kind is, const position& at, std::string text) {
  diagnostic fresh{is, at, shortened(std::move(text))};
  // A file that is included twice would otherwise say everything twice.
  if (!known_.insert(fmt::format("{} {}", at.to_string(), fresh.text)).second) return;
  if (is == diagnostic::kind::error) ++errors_;
  all_.push_back(std::move(fresh));
}

std::vector<diagnostic> diagnostics::sorted() const {
  auto result = all_;
  const auto place = [](const diagnostic& d) { return std::tie(*d.at.file, d.at.line, d.at.column); };
  std::stable_sort(result.begin(), result.end(),
                   [&](const diagnostic& a, const diagnostic& b) { return place(a) < place(b); });
  return result;
}

}  // namespace wsproxy_gateway
