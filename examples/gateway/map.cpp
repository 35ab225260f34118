// map $source $variable { … }: exact values, host names with wildcards, regular expressions, a default.
#include <algorithm>
#include <unordered_map>

#include "handlers.hpp"
#include "values.hpp"

namespace wsproxy_gateway::act {
namespace {

struct map_table {
  text_template source;
  bool hostnames = false;
  std::unordered_map<std::string, text_template> exact;
  std::unordered_map<std::string, text_template> suffixes;  // ".a.org": names that end so
  std::unordered_map<std::string, text_template> prefixes;  // "www.a.": names that begin so
  std::vector<std::pair<pattern, text_template>> patterns;
  std::optional<text_template> otherwise;

  const text_template* find(evaluation& e) const;
};

/// Exact, else the longest suffix, else the longest prefix, else the first pattern. (nginx:
/// ngx_http_map_find)
const text_template* map_table::find(evaluation& e) const {
  const auto subject = source.evaluate(e);
  auto key = std::string_view(subject);
  if (hostnames && key.ends_with('.')) key.remove_suffix(1);
  const auto lower = to_lower(key);
  if (const auto at = exact.find(lower); at != exact.end()) return &at->second;
  if (!suffixes.empty())
    for (auto dot = lower.find('.'); dot != lower.npos; dot = lower.find('.', dot + 1))
      if (const auto at = suffixes.find(lower.substr(dot)); dot != 0 && at != suffixes.end())
        return &at->second;
  if (!prefixes.empty())
    for (auto dot = lower.rfind('.'); dot != lower.npos && dot != 0; dot = lower.rfind('.', dot - 1))
      if (const auto at = prefixes.find(lower.substr(0, dot + 1)); at != prefixes.end()) return &at->second;
  for (const auto& [one, value] : patterns)
    if (match_and_capture(one.expression, one.captures, subject, e.state)) return &value;
  return otherwise ? &*otherwise : nullptr;
}

void add_line(scope& in, const directive& line, map_table& table) {
  const auto& key = line.name();
  if (line.words.size() == 1 && (key == "hostnames" || key == "volatile")) {
    if (key == "hostnames") table.hostnames = true;
    return;
  }
  if (line.words.size() > 2 && line.words[2].at.line > line.words[1].end.line) {
    in.report().error(line.words[1].end, "a \";\" is missing here");
    return;
  }
  if (line.words.size() != 2 || line.block) {
    in.report().error(line.at(), "a line of map is: VALUE RESULT;");
    return;
  }
  auto value = text_template::compile(line.words[1], in.variables(), in.report());
  if (key == "default") {
    if (table.otherwise) in.report().error(key.at, "duplicate default of map");
    table.otherwise = std::move(value);
    return;
  }
  if (key.text.starts_with('~')) {
    const bool ignore_case = key.text.starts_with("~*");
    auto one =
        compile_pattern(std::string_view(key.text).substr(ignore_case ? 2 : 1), ignore_case, key.at, in);
    if (one) table.patterns.emplace_back(std::move(*one), std::move(value));
    return;
  }
  auto text = to_lower(key.text);
  if (text.starts_with('\\')) text.erase(0, 1);  // \default and \~x mean themselves
  auto* into = &table.exact;
  const auto bare = table.hostnames && (text.starts_with("*.") || text.ends_with(".*"))
                        ? (text.starts_with('*') ? text.substr(1) : text.substr(0, text.size() - 2))
                        : text;
  if (table.hostnames && !is_plausible_host(bare)) {
    in.report().error(key.at, R"(invalid hostname or wildcard "{}")", key.text);
    return;
  }
  if (table.hostnames && text.starts_with("*.")) {
    into = &table.suffixes;
    text.erase(0, 1);
  } else if (table.hostnames && text.starts_with('.')) {
    table.exact.try_emplace(text.substr(1), value);
    into = &table.suffixes;
  } else if (table.hostnames && text.ends_with(".*")) {
    into = &table.prefixes;
    text.pop_back();
  }
  if (!into->try_emplace(text, std::move(value)).second)
    in.report().error(key.at, R"(conflicting parameter "{}": it is in this map already)", key.text);
}

}  // namespace

void map(scope& in, const directive& d) {
  auto table = std::make_shared<map_table>();
  table->source = text_template::compile(d.words[1], in.variables(), in.report());
  const auto& name = d.words[2];
  const bool named = name.text.size() > 1 && name.text.starts_with('$');
  if (!named) in.report().error(name.at, R"(invalid variable name "{}": it begins with $)", name.text);
  // `hostnames` concerns lines that stand before it too.
  table->hostnames = std::ranges::any_of(
      d.children, [](const directive& line) { return line.words.size() == 1 && line.name() == "hostnames"; });
  for (const auto& line : d.children) add_line(in, line, *table);
  if (!named) return;
  in.variables().define(
      name,
      [table](evaluation& e, std::string& out) {
        if (const auto* value = table->find(e)) value->append(e, out);
      },
      in.report());
}

}  // namespace wsproxy_gateway::act
