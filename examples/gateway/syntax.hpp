// nginx's configuration syntax: words, `;`, blocks and comments. It knows no directive's meaning.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "diagnostics.hpp"

namespace wsproxy_gateway {

/// One word of a directive, unquoted and with its escapes resolved.
struct word {
  std::string text;
  position at;
  position end;         ///< behind its last character
  bool quoted = false;  ///< stood in ' or "

  bool operator==(std::string_view other) const noexcept { return text == other; }
};

/// NAME ARGUMENT… ; or NAME ARGUMENT… { … }
struct directive {
  std::vector<word> words;  ///< never empty; the first is the name
  bool block = false;
  std::vector<directive> children{};

  const word& name() const noexcept { return words.front(); }
  std::size_t arguments() const noexcept { return words.size() - 1; }
  const position& at() const noexcept { return words.front().at; }
};

/// Reads a file's text. What cannot be read is reported, and the rest is read on.
/// (nginx: ngx_conf_file.c, ngx_conf_read_token)
std::vector<directive> parse_syntax(std::string_view text, std::shared_ptr<const std::string> file,
                                    diagnostics&);

}  // namespace wsproxy_gateway
