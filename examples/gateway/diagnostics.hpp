// What is wrong with a configuration, and where: every mistake of a file, not only the first.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace wsproxy_gateway {

/// A place in a configuration file. Lines and columns count from 1; columns count characters, not bytes.
struct position {
  std::shared_ptr<const std::string> file;
  unsigned line = 1;
  unsigned column = 1;

  std::string to_string() const;  ///< "file:line:column"
};

struct diagnostic {
  enum class kind { error, warning } is = kind::error;
  position at;
  std::string text;

  std::string to_string() const;  ///< "file:line:column: error: text"
};

class diagnostics {
 public:
  void error(const position& at, std::string text) { add(diagnostic::kind::error, at, std::move(text)); }
  void warning(const position& at, std::string text) { add(diagnostic::kind::warning, at, std::move(text)); }

  /// The same with what belongs into the {} of the text.
  template <class First, class... Rest>
  void error(const position& at, fmt::format_string<First, Rest...> text, First&& first, Rest&&... rest) {
    error(at, fmt::format(text, std::forward<First>(first), std::forward<Rest>(rest)...));
  }
  template <class First, class... Rest>
  void warning(const position& at, fmt::format_string<First, Rest...> text, First&& first, Rest&&... rest) {
    warning(at, fmt::format(text, std::forward<First>(first), std::forward<Rest>(rest)...));
  }

  bool failed() const noexcept { return errors_ != 0; }
  std::size_t errors() const noexcept { return errors_; }
  /// In the order of the files' text.
  std::vector<diagnostic> sorted() const;

 private:
  void add(diagnostic::kind is, const position& at, std::string text);

  std::vector<diagnostic> all_;
  std::unordered_set<std::string> known_;  // as text
  std::size_t errors_ = 0;
};

}  // namespace wsproxy_gateway
