// Finds each directive's rule, checks what all have in common, and reports what does not fit.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "directives.hpp"
#include "values.hpp"

namespace wsproxy_gateway {
namespace {

struct named_context {
  context where;
  std::string_view text;
};
constexpr named_context context_names[] = {
    {in_main, "the main level"},
    {in_events, "events"},
    {in_http, "http"},
    {in_server, "server"},
    {in_location, "location"},
    {in_upstream, "upstream"},
    {in_server_if, "if in a server"},
    {in_location_if, "if in a location"},
};

std::string list_contexts(unsigned contexts) {
  std::vector<std::string_view> names;
  for (const auto& one : context_names)
    if ((contexts & one.where) != 0) names.push_back(one.text);
  std::string result;
  for (std::size_t i = 0; i != names.size(); ++i) {
    if (i != 0) result += i + 1 == names.size() ? " or " : ", ";
    result += names[i];
  }
  return result;
}

bool is_of(const rule& r, std::string_view name) {
  return r.name == name || (r.name.ends_with('*') && name.starts_with(r.name.substr(0, r.name.size() - 1)));
}

bool is_known(std::string_view name) {
  return std::ranges::any_of(rules(), [&](const rule& r) { return is_of(r, name); });
}

void report_unknown(diagnostics& report, const word& name) {
  std::vector<std::string_view> names;
  for (const auto& one : rules())
    if (!one.name.ends_with('*')) names.push_back(one.name);
  const auto meant = closest(name.text, names);
  report.error(name.at, R"(unknown directive "{}"{})", name.text, did_you_mean(meant));
}

/// The rule for this name in this context. Reports why there is none.
const rule* find_rule(const scope& in, const word& name) {
  unsigned elsewhere = 0;
  for (const auto& one : rules()) {
    if (!is_of(one, name.text)) continue;
    if ((one.contexts & in.where) != 0) return &one;
    elsewhere |= one.contexts;
  }
  if (elsewhere == 0) report_unknown(in.report(), name);
  else
    in.report().error(name.at, R"("{}" directive is not allowed here; it belongs into {})", name.text,
                      list_contexts(elsewhere));
  return nullptr;
}

std::string expected_arguments(const rule& r) {
  if (r.most == 0) return "it takes none";
  if (r.most == any_number) return fmt::format("it takes {} or more", r.least);
  if (r.least == r.most) return fmt::format("it takes {}", r.least);
  return fmt::format("it takes {} to {}", r.least, r.most);
}

/// The index of a word that looks like the next directive's name: a known one, first on its line.
std::size_t swallowed(std::span<const word> words) {
  for (std::size_t i = 1; i < words.size(); ++i)
    if (!words[i].quoted && words[i].at.line > words[i - 1].end.line && is_known(words[i].text)) return i;
  return 0;
}

bool check_shape(const scope& in, const directive& d, const rule& r) {
  if (d.arguments() < r.least || d.arguments() > r.most) {
    in.report().error(d.at(), R"(invalid number of arguments in "{}" directive: {})", d.name().text,
                      expected_arguments(r));
    return false;
  }
  if (r.block && !d.block) {
    in.report().error(d.words.back().end, R"(directive "{}" has no opening "{{")", d.name().text);
    return false;
  }
  if (!r.block && d.block) {
    in.report().error(d.words.back().end, R"(directive "{}" is not terminated by ";")", d.name().text);
    return false;
  }
  return true;
}

/// What follows their first argument are parameters, of which none is called like a directive.
bool takes_parameters(const rule& r) { return r.name == "listen" || (r.name == "server" && !r.block); }

using earlier_ones = std::map<const rule*, position>;

/// `next`: an argument that is called like a directive and begins a line, or 0.
void apply_found(scope& in, const directive& d, const rule* found, std::size_t next, earlier_ones& seen) {
  if (found == nullptr) return;
  using how = rule::disposition;
  if (found->how == how::refused) {
    const bool inherits = (in.where & (in_http | in_server | in_location)) != 0;
    if (inherits && !found->harmless.empty() && d.arguments() == 1 && d.words[1] == found->harmless &&
        !d.block)
      return;
    in.report().error(d.at(), R"("{}" is not supported: {})", d.name().text, found->why);
    return;
  }
  if (found->how == how::ignored) {
    if (in.all.warned.insert(found->name).second)  // once for a family
      in.report().warning(d.at(), R"("{}" is ignored: it has no effect here)", d.name().text);
    if (found->act != nullptr) found->act(in, d);
    return;
  }
  if (!check_shape(in, d, *found)) return;
  if (next != 0)
    in.report().warning(d.words[next].at, R"("{}" is an argument of "{}" here; is a ";" missing before it?)",
                        d.words[next].text, d.name().text);
  const auto [earlier, fresh] = seen.try_emplace(found, d.at());
  if (found->once && !fresh) {
    in.report().error(d.at(), R"("{}" directive is duplicate; the first is on line {})", d.name().text,
                      earlier->second.line);
    return;
  }
  found->act(in, d);
}

/// Where a directive swallowed the next ones for want of semicolons, it says so, and reads all of them.
void apply_one(scope& in, const directive& d, earlier_ones& seen) {
  auto rest = std::span(d.words);
  for (;;) {
    const auto next = swallowed(rest);
    const auto* const found = find_rule(in, rest.front());
    const bool ended = next == 0 || (found != nullptr && rest.size() - 1 <= found->most &&
                                     d.block == found->block && !takes_parameters(*found));
    if (ended && rest.size() == d.words.size()) return apply_found(in, d, found, next, seen);
    if (ended) return apply_found(in, {{rest.begin(), rest.end()}, d.block, d.children}, found, next, seen);
    in.report().error(rest[next - 1].end, R"(a ";" is missing here: "{}" begins on line {})", rest[next].text,
                      rest[next].at.line);
    const auto first = rest.first(next);
    apply_found(in, {{first.begin(), first.end()}}, found, 0, seen);
    rest = rest.subspan(next);
  }
}

}  // namespace

void apply(scope& in, const std::vector<directive>& list) {
  earlier_ones seen;
  for (const auto& one : list) apply_one(in, one, seen);
}

std::string describe_directives() {
  using how = rule::disposition;
  std::string result;
  const auto section = [&](how which, std::string_view title) {
    std::set<std::string_view> names;
    for (const auto& one : rules())
      if (one.how == which) names.insert(one.name);
    result.append(title).append("\n");
    for (const auto& name : names) {
      result.append("  ").append(name);
      for (const auto& one : rules())
        if (one.name == name && one.how == which) {
          result.append("  (").append(list_contexts(one.contexts)).append(")");
          if (which == how::refused) result.append(": ").append(one.why);
          break;
        }
      result += '\n';
    }
  };
  section(how::understood, "Understood:");
  section(how::ignored, "Ignored, with one warning, as they only tune:");
  section(how::refused, "Refused, as ignoring them would change who is served what:");
  return result;
}

}  // namespace wsproxy_gateway
