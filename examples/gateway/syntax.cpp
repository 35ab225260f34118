#include "syntax.hpp"

#include <array>
#include <utility>

namespace wsproxy_gateway {
namespace {

constexpr std::size_t deepest = 64;  // blocks inside each other; real files have five or so

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> these) {
  for (const auto& one : these)
    if (text.starts_with(one)) return true;
  return false;
}

constexpr std::string_view full_width_semicolon = "\xEF\xBC\x9B";

/// Characters that word processors and web pages put in the place of the ASCII ones.
bool begins_curly(std::string_view text) {
  return starts_with_any(
      text, {"\xE2\x80\x9C", "\xE2\x80\x9D", "\xE2\x80\x98", "\xE2\x80\x99", "\xEF\xBC\x82", "\xEF\xBC\x87"});
}
bool begins_full_width_brace(std::string_view text) {
  return starts_with_any(text, {"\xEF\xBD\x9B", "\xEF\xBD\x9D"});
}

std::string resolve_escapes(std::string_view raw) {
  std::string text;
  text.reserve(raw.size());
  for (std::size_t i = 0; i != raw.size(); ++i) {
    if (raw[i] != '\\' || i + 1 == raw.size()) {
      text += raw[i];
      continue;
    }
    switch (const char next = raw[i + 1]) {
    case '"':
    case '\'':
    case '\\': text += next; break;
    case 't': text += '\t'; break;
    case 'r': text += '\r'; break;
    case 'n': text += '\n'; break;
    default: text += '\\'; text += next;  // the backslash belongs to a regular expression
    }
    ++i;
  }
  return text;
}

class reader {
 public:
  reader(std::string_view text, std::shared_ptr<const std::string> file, diagnostics& report)
      : text_(text), report_(report) {
    here_.file = std::move(file);
  }

  std::vector<directive> read() {
    if (text_.starts_with("\xEF\xBB\xBF")) {
      report_.error(here_, "the file begins with a byte order mark; save it as UTF-8 without one");
      at_ += 3;
    }
    return read_block(0, here_);
  }

 private:
  enum class ending { semicolon, open, close, end };
  struct statement {
    std::vector<word> words;
    ending by = ending::end;
    position at;  // of what ended it
  };

  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return text_[at_]; }
  void take() {
    const auto c = static_cast<unsigned char>(text_[at_++]);
    if (c == '\n') {
      ++here_.line;
      here_.column = 1;
    } else if ((c & 0xC0u) != 0x80u) {  // not a later byte of a UTF-8 character
      ++here_.column;
    }
  }

  std::vector<directive> read_block(std::size_t depth, const position& opened) {
    std::vector<directive> result;
    for (;;) {
      auto next = read_statement();
      const bool empty = next.words.empty();
      switch (next.by) {
      case ending::semicolon:
        if (empty) report_.error(next.at, "unexpected \";\"");
        else result.push_back({std::move(next.words)});
        break;
      case ending::open: {
        if (depth == deepest) {
          report_.error(next.at, "blocks are nested too deeply");
          at_ = text_.size();
          return result;
        }
        if (empty) report_.error(next.at, "unexpected \"{\"");
        auto children = read_block(depth + 1, next.at);
        if (!empty) result.push_back({std::move(next.words), true, std::move(children)});
        break;
      }
      case ending::close:
        if (!empty) {
          report_.error(next.words.back().end, "unexpected \"}\": a \";\" is missing here");
          result.push_back({std::move(next.words)});
        }
        if (depth != 0) return result;
        report_.error(next.at, "unexpected \"}\": no block is open");
        break;
      case ending::end:
        if (!empty) {
          report_.error(next.words.back().end, "unexpected end of file: a \";\" is missing here");
          result.push_back({std::move(next.words)});
        }
        if (depth != 0) report_.error(opened, "this \"{\" is never closed: a \"}\" is missing");
        return result;
      }
    }
  }

  statement read_statement() {
    statement result;
    for (;;) {
      while (!at_end() && is_space(peek())) take();
      result.at = here_;
      if (at_end()) return result;
      switch (peek()) {
      case '#':
        while (!at_end() && peek() != '\n') take();
        continue;
      case ';':
        take();
        result.by = ending::semicolon;
        return result;
      case '{':
        take();
        result.by = ending::open;
        return result;
      case '}':
        take();
        result.by = ending::close;
        return result;
      default: break;
      }
      if (text_.substr(at_).starts_with(full_width_semicolon)) {
        complain_about_semicolon();
        result.by = ending::semicolon;
        return result;
      }
      if (peek() == '"' || peek() == '\'') result.words.push_back(read_quoted());
      else result.words.push_back(read_bare());
      if (ended_) {
        ended_ = false;
        result.by = ending::semicolon;
        return result;
      }
    }
  }

  word read_quoted() {
    word result{{}, here_, here_, true};
    const char quote = peek();
    take();
    const auto begin = at_;
    while (!at_end() && peek() != quote) {
      if (peek() == '\\') take();
      if (!at_end()) take();
    }
    result.text = resolve_escapes(text_.substr(begin, at_ - begin));
    if (at_end()) {
      report_.error(result.at, "this quote is never closed: a {} is missing", quote);
      result.end = here_;
      return result;
    }
    take();
    result.end = here_;
    if (!at_end() && !is_space(peek()) && peek() != ';' && peek() != '{' && peek() != ')') {
      if (text_.substr(at_).starts_with(full_width_semicolon)) {
        complain_about_semicolon();
        ended_ = true;
      } else {
        report_.error(here_, R"(unexpected "{}" behind a closing quote)", character_here());
      }
    }
    return result;
  }

  word read_bare() {
    word result{{}, here_, here_, false};
    if (begins_curly(text_.substr(at_)))
      report_.error(here_, R"("{}" is not a quote here: write " or ')", character_here());
    else if (begins_full_width_brace(text_.substr(at_)))
      report_.error(here_, R"("{}" is a full-width character: write {{ or }})", character_here());
    const auto begin = at_;
    bool variable = false;  // behind a $, where { begins no block
    while (!at_end()) {
      const char c = peek();
      if (c == '\\') {
        take();
        if (!at_end()) take();
        variable = false;
        continue;
      }
      if (is_space(c) || c == ';' || (c == '{' && !variable)) break;
      if (semicolon_meant()) {
        result.text = resolve_escapes(text_.substr(begin, at_ - begin));
        result.end = here_;
        complain_about_semicolon();
        ended_ = true;
        return result;
      }
      variable = c == '$';
      take();
    }
    result.text = resolve_escapes(text_.substr(begin, at_ - begin));
    result.end = here_;
    return result;
  }

  /// A full-width semicolon that ends a word. One that a real semicolon follows is text, as it is to nginx.
  bool semicolon_meant() const {
    const auto rest = text_.substr(at_);
    if (!rest.starts_with(full_width_semicolon)) return false;
    const auto behind = rest.substr(full_width_semicolon.size());
    return behind.empty() || is_space(behind.front()) || behind.front() == '}';
  }

  void complain_about_semicolon() {
    report_.error(here_, "\"\xEF\xBC\x9B\" is a full-width semicolon: write ;");
    for (std::size_t i = 0; i != full_width_semicolon.size(); ++i) take();
  }

  std::string_view character_here() const {
    std::size_t size = 1;
    while (at_ + size < text_.size() && (static_cast<unsigned char>(text_[at_ + size]) & 0xC0u) == 0x80u)
      ++size;
    return text_.substr(at_, size);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  position here_;
  diagnostics& report_;
  bool ended_ = false;  // a full-width semicolon, already reported, ended the last word's directive
};

}  // namespace

std::vector<directive> parse_syntax(std::string_view text, std::shared_ptr<const std::string> file,
                                    diagnostics& report) {
  return reader(text, std::move(file), report).read();
}

}  // namespace wsproxy_gateway
