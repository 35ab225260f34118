// set, return, break, and the conditions of if.
#include <algorithm>

#include "handlers.hpp"
#include "values.hpp"

namespace wsproxy_gateway::act {
namespace {

struct comparison {
  std::string_view text;
  branch::kind is;
  bool ignore_case;
};
constexpr comparison comparisons[] = {
    {"=", branch::kind::equal, false},        {"!=", branch::kind::not_equal, false},
    {"~", branch::kind::matches, false},      {"~*", branch::kind::matches, true},
    {"!~", branch::kind::matches_not, false}, {"!~*", branch::kind::matches_not, true},
};

/// The words of `( … )`, without the parentheses, which may stand apart or not.
std::optional<std::vector<word>> inside_parentheses(scope& in, const directive& d) {
  std::vector<word> words(d.words.begin() + 1, d.words.end());
  const auto fail = [&](const word& where) {
    in.report().error(where.at, R"(invalid condition "{}": it is written if (CONDITION))", where.text);
    return std::nullopt;
  };
  if (words.empty() || words.front().quoted || !words.front().text.starts_with('('))
    return fail(words.empty() ? d.name() : words.front());
  words.front().text.erase(0, 1);
  ++words.front().at.column;
  if (words.front().text.empty()) words.erase(words.begin());
  if (words.empty() || words.back().quoted || !words.back().text.ends_with(')'))
    return fail(words.empty() ? d.name() : words.back());
  words.back().text.pop_back();
  if (words.back().text.empty()) words.pop_back();
  if (words.empty()) return fail(d.words[1]);
  return words;
}

void compare(scope& in, const std::vector<word>& words, branch& out) {
  const auto* how = std::ranges::find(comparisons, words[1].text, &comparison::text);
  if (how == std::end(comparisons) || words.size() != 3) {
    in.report().error(words[1].at,
                      R"(unexpected "{}" in condition: it is $VARIABLE, )"
                      "or $VARIABLE =, !=, ~, ~*, !~ or !~* VALUE",
                      words[1].text);
    return;
  }
  out.is = how->is;
  if (how->is == branch::kind::equal || how->is == branch::kind::not_equal)
    out.value = text_template::compile(words[2], in.variables(), in.report());
  else out.expression = compile_pattern(words[2].text, how->ignore_case, words[2].at, in);
}

}  // namespace

void condition(scope& in, const directive& d, branch& out) {
  const auto words = inside_parentheses(in, d);
  if (!words) return;
  const auto& first = words->front();
  static constexpr std::string_view file_tests[] = {"-f", "!-f", "-d", "!-d", "-e", "!-e", "-x", "!-x"};
  if (std::ranges::find(file_tests, first.text) != std::end(file_tests)) {
    in.report().error(first.at, R"("{}" is not supported: files are not served)", first.text);
    return;
  }
  if (!first.text.starts_with('$') || first.text.size() == 1) {
    in.report().error(first.at, R"(invalid condition "{}": it begins with a variable)", first.text);
    return;
  }
  out.variable = in.variables().slot(std::string_view(first.text).substr(1), first.at);
  if (words->size() > 1) compare(in, *words, out);
}

void set(scope& in, const directive& d) {
  const auto& name = d.words[1];
  if (!name.text.starts_with('$') || name.text.size() == 1) {
    in.report().error(name.at, R"(invalid variable name "{}": it begins with $)", name.text);
    return;
  }
  const auto bare = std::string_view(name.text).substr(1);
  std::optional<std::size_t> slot;
  if (!wsproxy::iequals(bare, "args")) slot = in.variables().assignable(bare, name.at, in.report());
  in.rewrite->push_back({assignment{slot, text_template::compile(d.words[2], in.variables(), in.report())}});
}

void return_answer(scope& in, const directive& d) {
  const auto& first = d.words[1];
  const auto status = parse_number(first.text);
  answer result{302, std::nullopt};
  if (status) {
    if (*status > 999 || *status < 200) {
      in.report().error(first.at, R"(invalid return code "{}": it is 200 to 999)", first.text);
      return;
    }
    result.status = static_cast<int>(*status);
    if (d.arguments() == 2) result.text = text_template::compile(d.words[2], in.variables(), in.report());
  } else {
    const bool url = first.text.starts_with("http://") || first.text.starts_with("https://") ||
                     first.text.starts_with("$scheme");
    if (!url || d.arguments() == 2) {
      in.report().error(
          first.at, R"(invalid return code "{}": it is return CODE, return CODE TEXT, or return http://…)",
          first.text);
      return;
    }
    result.text = text_template::compile(first, in.variables(), in.report());
  }
  in.rewrite->push_back({std::move(result)});
}

void break_rewrite(scope& in, const directive&) { in.rewrite->push_back({stop{}}); }

}  // namespace wsproxy_gateway::act
