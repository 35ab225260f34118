// Regular expressions, as nginx has them (PCRE).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wsproxy_gateway {

/// Compiled once, matched on any thread.
class regex {
 public:
  /// Throws std::invalid_argument that says what is wrong with the pattern and where.
  regex(std::string_view pattern, bool ignore_case);

  /// On a match fills `captures`: the whole match first, then the groups; unset ones are empty.
  bool match(std::string_view subject, std::vector<std::string>& captures) const;

  /// The named groups, each with its number.
  const std::vector<std::pair<std::string, std::size_t>>& names() const noexcept { return names_; }

 private:
  std::shared_ptr<const void> code_;
  std::vector<std::pair<std::string, std::size_t>> names_;
};

}  // namespace wsproxy_gateway
