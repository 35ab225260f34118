#include "diagnostics.hpp"

#include <algorithm>
#include <tuple>

#include "values.hpp"

namespace wsproxy_gateway {

std::string position::to_string() const {
  return (file ? *file : std::string("?")) + ":" + std::to_string(line) + ":" + std::to_string(column);
}

std::string diagnostic::to_string() const {
  // Whatever is quoted from the file, it stays one line; what is beyond ASCII can be read.
  const auto is_text = [](char c) { return is_printable(c) || static_cast<unsigned char>(c) >= 0x80; };
  return at.to_string() + (is == kind::error ? ": error: " : ": warning: ") + escape_bytes(text, is_text);
}

void diagnostics::add(diagnostic::kind is, const position& at, std::string text) {
  // A file that is included twice would otherwise say everything twice.
  for (const auto& known : all_)
    if (known.at.line == at.line && known.at.column == at.column && known.text == text &&
        *known.at.file == *at.file)
      return;
  if (is == diagnostic::kind::error) ++errors_;
  all_.push_back({is, at, std::move(text)});
}

std::vector<diagnostic> diagnostics::sorted() const {
  auto result = all_;
  const auto place = [](const diagnostic& d) { return std::tie(*d.at.file, d.at.line, d.at.column); };
  std::stable_sort(result.begin(), result.end(),
                   [&](const diagnostic& a, const diagnostic& b) { return place(a) < place(b); });
  return result;
}

}  // namespace wsproxy_gateway
