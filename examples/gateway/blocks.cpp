// The blocks that hold other directives.
#include <algorithm>
#include <stdexcept>

#include "handlers.hpp"
#include "values.hpp"

namespace wsproxy_gateway::act {

std::optional<pattern> compile_pattern(std::string_view text, bool ignore_case, const position& at,
                                       scope& in) {
  try {
    pattern result{regex(text, ignore_case), {}};
    result.captures = declare_captures(result.expression, at, in.variables(), in.report());
    return result;
  } catch (const std::invalid_argument& e) {
    in.report().error(at, e.what());
    return std::nullopt;
  }
}

void events(scope& in, const directive& d) {
  in.all.has_events = true;
  scope inside{in.all, in_events};
  apply(inside, d.children);
}

void http(scope& in, const directive& d) {
  in.all.has_http = true;
  scope inside{in.all, in_http};
  inside.set = &in.all.http;
  apply(inside, d.children);
}

void server(scope& in, const directive& d) {
  auto& fresh = *in.all.config.servers.emplace_back(std::make_unique<server_block>());
  fresh.at = d.at();
  scope inside{in.all, in_server};
  inside.set = &fresh.here.set;
  inside.here = &fresh.here;
  inside.server = &fresh;
  inside.rewrite = &fresh.rewrite;
  apply(inside, d.children);
}

namespace {

using kind = location_block::kind;

/// The location's kind and name: `location [=|^~|~|~*] NAME`, where a modifier may stand without a space.
bool read_location_name(scope& in, const directive& d, location_block& fresh) {
  static constexpr std::pair<std::string_view, kind> modifiers[] = {
      {"=", kind::exact}, {"^~", kind::prefix_final}, {"~*", kind::regex}, {"~", kind::regex}};
  std::string_view modifier;
  std::string_view name = d.words.back().text;
  if (d.arguments() == 2) {
    modifier = d.words[1].text;
  } else {
    for (const auto& [text, is] : modifiers)
      if (name.starts_with(text)) {
        modifier = text;
        name.remove_prefix(text.size());
        break;
      }
  }
  if (name.starts_with('@') && modifier.empty()) fresh.is = kind::named;
  if (!modifier.empty()) {
    const auto* found = std::ranges::find(modifiers, modifier, [](const auto& m) { return m.first; });
    if (found == std::end(modifiers)) {
      in.report().error(d.words[1].at, R"(invalid location modifier "{}": =, ^~, ~ or ~* are)",
                        d.words[1].text);
      return false;
    }
    fresh.is = found->second;
  }
  fresh.name = name;
  if (fresh.is != kind::regex) return true;
  fresh.expression = compile_pattern(name, modifier == "~*", d.words.back().at, in);
  return fresh.expression.has_value();
}

void report_duplicate(scope& in, const location_block& fresh, const location_list& siblings) {
  const auto same = [](kind a, kind b) {
    return (a == kind::prefix_final ? kind::prefix : a) == (b == kind::prefix_final ? kind::prefix : b);
  };
  if (fresh.is == kind::regex || fresh.is == kind::named) return;
  for (const auto& other : siblings)
    if (same(other->is, fresh.is) && other->name == fresh.name) {
      in.report().error(fresh.at, R"(duplicate location "{}"; the first is on line {})", fresh.name,
                        other->at.line);
      return;
    }
}

/// What nginx demands of a location inside a location.
void check_nesting(scope& in, const location_block& fresh) {
  const auto& outer = *in.location;
  const auto fail = [&](std::string_view why) {
    in.report().error(fresh.at, R"(location "{}" {} location "{}")", fresh.name, why, outer.name);
  };
  if (outer.is == kind::exact) return fail("cannot be inside the exact");
  if (outer.is == kind::named) return fail("cannot be inside the named");
  if (fresh.is == kind::named) return fail("is named and belongs into the server, not into");
  if (fresh.is != kind::regex && !fresh.name.starts_with(outer.name)) fail("is outside");
}

}  // namespace

void location(scope& in, const directive& d) {
  auto fresh = std::make_unique<location_block>();
  fresh->at = d.at();
  const bool named = read_location_name(in, d, *fresh);
  auto& siblings = in.location != nullptr ? in.location->locations : in.server->locations;
  if (named) report_duplicate(in, *fresh, siblings);
  if (named && in.location != nullptr) check_nesting(in, *fresh);
  scope inside{in.all, in_location};
  inside.set = &fresh->here.set;
  inside.here = &fresh->here;
  inside.server = in.server;
  inside.location = fresh.get();
  inside.rewrite = &fresh->rewrite;
  siblings.push_back(std::move(fresh));
  apply(inside, d.children);
}

void if_block(scope& in, const directive& d) {
  branch fresh;
  condition(in, d, fresh);
  scope inside = in;
  inside.where = in.where == in_server ? in_server_if : in_location_if;
  inside.rewrite = &fresh.then;
  if (in.where == in_location) {
    fresh.inside = std::make_unique<place>();
    inside.here = fresh.inside.get();
    inside.set = &fresh.inside->set;
  }
  apply(inside, d.children);
  in.rewrite->push_back({std::move(fresh)});  // without a condition too: `proxy_pass` in it knows its place
}

void types(scope& in, const directive& d) {
  auto& map = in.set->types;
  if (!map) map.emplace();
  for (const auto& line : d.children)
    for (std::size_t i = 1; i < line.words.size(); ++i)
      (*map)[to_lower(line.words[i].text)] = line.name().text;
}

}  // namespace wsproxy_gateway::act
