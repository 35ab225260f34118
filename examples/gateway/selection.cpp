#include "selection.hpp"

#include <wsproxy/http/body.hpp>
#include <wsproxy/http/rewrite.hpp>

namespace wsproxy_gateway {
namespace {

bool holds(const branch& test, evaluation& e) {
  std::string left;
  e.variables.append(test.variable, e, left);
  using kind = branch::kind;
  switch (test.is) {
  case kind::truthy: return !left.empty() && left != "0";
  case kind::equal: return left == test.value.evaluate(e);
  case kind::not_equal: return left != test.value.evaluate(e);
  case kind::matches:
    return match_and_capture(test.expression->expression, test.expression->captures, left, e.state);
  case kind::matches_not: {
    std::vector<std::string> unused;
    return !test.expression->expression.match(left, unused);
  }
  }
  return false;
}

void assign(request_state& state, std::optional<std::size_t> slot, std::string value) {
  if (!slot) {
    state.uri.args = std::move(value);
    state.uri.changed = true;
    return;
  }
  if (state.assigned.size() <= *slot) state.assigned.resize(*slot + 1);
  state.assigned[*slot] = std::move(value);
}

enum class flow { go_on, stopped };

/// Performs a block's rules in order.
flow perform(const program& rules, evaluation& e, selection& out) {
  for (const auto& one : rules) {
    if (const auto* set = std::get_if<assignment>(&one.what)) {
      assign(e.state, set->slot, set->value.evaluate(e));
    } else if (const auto* test = std::get_if<branch>(&one.what)) {
      if (!holds(*test, e)) continue;
      if (test->inside) out.in_force = test->inside.get();
      if (perform(test->then, e, out) == flow::stopped) return flow::stopped;
    } else {
      out.reply = std::get_if<answer>(&one.what);  // null at a break
      return flow::stopped;
    }
  }
  return flow::go_on;
}

}  // namespace

namespace {

using kind = location_block::kind;

struct search {
  const std::string& path;
  request_state& state;
  const location_block* found = nullptr;
  bool add_slash = false;

  /// True if nothing that stands further out may be chosen instead.
  bool look_in(const location_list&);
  bool try_names(const location_list&);
};

/// Exact and prefix locations: the longest that fits becomes `found`. True if it is the last word.
bool search::try_names(const location_list& list) {
  const location_block* best = nullptr;
  const location_block* slash = nullptr;
  for (const auto& one : list) {
    if (one->is == kind::regex || one->is == kind::named) continue;
    const bool exact = one->is == kind::exact;
    if (exact && one->name == path) {
      found = one.get();
      return true;
    }
    if (!exact && path.starts_with(one->name) && (best == nullptr || one->name.size() > best->name.size()))
      best = one.get();
    const bool lacks_slash =
        one->name.size() == path.size() + 1 && one->name.ends_with('/') && one->name.starts_with(path);
    if (one->here.proxy && lacks_slash && (exact || slash == nullptr)) slash = one.get();
  }
  add_slash = slash != nullptr && (best == nullptr || best->name != path);
  if (add_slash) found = slash;
  else if (best != nullptr) found = best;
  return add_slash;
}

bool search::look_in(const location_list& list) {
  const auto* outer = found;
  if (try_names(list)) return true;
  if (found != outer) {
    const bool final = found->is == kind::prefix_final;
    if (look_in(found->locations)) return true;
    if (final) return false;
  }
  for (const auto& one : list)
    if (one->is == kind::regex &&
        match_and_capture(one->expression->expression, one->expression->captures, path, state)) {
      found = one.get();
      look_in(found->locations);
      return true;
    }
  return false;
}

}  // namespace

const location_block* find_location(const server_block& server, const std::string& path, request_state& state,
                                    bool& add_slash) {
  search looking{path, state};
  looking.look_in(server.locations);
  add_slash = looking.add_slash;
  return looking.found;
}

namespace {

/// Whether the announced body is longer than that; 0 is no limit.
bool exceeds(const wsproxy::request_head& head, std::uint64_t limit) {
  std::error_code error;
  const auto body = wsproxy::request_framing(head, error);
  return limit != 0 && body.how == wsproxy::body_framing::kind::length && body.length > limit;
}

}  // namespace

selection select(const configuration& config, const wsproxy::inbound& in, request_state& state) {
  state.client = in.client;
  state.local = in.local;
  state.client_port = in.client_port;
  state.local_port = in.local_port;
  state.connection = in.connection;
  state.request = in.request;
  state.host = wsproxy::request_host(in.head);
  if (state.host.ends_with('.')) state.host.pop_back();
  selection out;
  out.server = config.hosts_at(in.listener, in.local).find(state.host, state);
  out.in_force = &out.server->here;
  state.server_name = out.server->first_name;
  if (state.host.empty()) state.host = out.server->first_name;

  auto uri = parse_target(in.head.target);
  if (!uri) {
    out.bad_target = true;
    return out;
  }
  state.uri = std::move(*uri);
  evaluation e{config.variables, in.head, state};
  perform(out.server->rewrite, e, out);
  if (out.reply != nullptr) return out;
  out.location = find_location(*out.server, state.uri.path, state, out.add_slash);
  if (out.location == nullptr) return out;
  out.in_force = &out.location->here;
  out.too_large = exceeds(in.head, *out.in_force->set.client_max_body_size);
  if (out.too_large) return out;
  if (!out.add_slash) perform(out.location->rewrite, e, out);
  return out;
}

}  // namespace wsproxy_gateway
