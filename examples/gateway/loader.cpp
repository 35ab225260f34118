#include "loader.hpp"

#include <glob.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "directives.hpp"
#include "router.hpp"

namespace wsproxy_gateway {
namespace {

// ---- Files

std::optional<std::string> read_whole(const std::string& path, std::string& why) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    why = "it is a directory";
    return std::nullopt;
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || (file.peek() != std::ifstream::traits_type::eof() && !(text << file.rdbuf()))) {
    why = std::strerror(errno);
    return std::nullopt;
  }
  return text.str();
}

/// Puts the directives of included files in the place of `include`.
class includer {
 public:
  includer(std::string folder, diagnostics& report) : folder_(std::move(folder)), report_(report) {}

  std::vector<directive> expand(std::vector<directive> list) {
    std::vector<directive> result;
    if (list.empty()) return result;
    if (depth_ == deepest) {
      report_.error(list.front().at(), "blocks and included files are nested too deeply");
      return result;
    }
    ++depth_;
    for (auto& one : list) {
      if (one.name() == "include" && !one.name().quoted && !one.block) {
        if (one.arguments() == 1) include(one.words[1], result);
        else report_.error(one.at(), "invalid number of arguments in \"include\" directive: it takes 1");
        continue;
      }
      one.children = expand(std::move(one.children));
      result.push_back(std::move(one));
    }
    --depth_;
    return result;
  }

 private:
  static constexpr std::size_t deepest = 100;  // blocks and files inside each other; real ones have ten or so
  static constexpr std::size_t most = 100'000;  // files that are included, each as often as it is

  void include(const word& what, std::vector<directive>& into) {
    auto path = what.text;
    if (!path.starts_with('/')) path = fmt::format("{}/{}", folder_, path);
    if (path.find_first_of("*?[") == path.npos) {
      read(path, what, into);
      return;
    }
    ::glob_t found{};
    if (::glob(path.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
      std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
      std::ranges::sort(paths);
      for (const auto& one : paths) read(one, what, into);
    }
    ::globfree(&found);
  }

  void read(const std::string& path, const word& from, std::vector<directive>& into) {
    std::error_code error;
    const auto real = std::filesystem::weakly_canonical(path, error).string();
    if (std::ranges::find(open_, real) != open_.end()) {
      report_.error(from.at, R"("{}" includes itself)", path);
      return;
    }
    if (read_ == most) {
      if (!std::exchange(too_many_, true)) report_.error(from.at, "more than {} files are included", most);
      return;
    }
    ++read_;
    std::string why;
    const auto text = read_whole(path, why);
    if (!text) {
      report_.error(from.at, R"(cannot read "{}": {})", path, why);
      return;
    }
    open_.push_back(real);
    for (auto& one : expand(parse_syntax(*text, std::make_shared<const std::string>(path), report_)))
      into.push_back(std::move(one));
    open_.pop_back();
  }

  std::string folder_;
  std::vector<std::string> open_;  // as the system knows them
  std::size_t depth_ = 0, read_ = 0;
  bool too_many_ = false;
  diagnostics& report_;
};

// ---- What can be decided only when all has been read

void inherit_in_branches(program& list, const place& outer) {
  for (auto& one : list)
    if (auto* b = std::get_if<branch>(&one.what)) {
      if (b->inside) {
        b->inside->set.inherit(outer.set);
        if (!b->inside->proxy) b->inside->proxy = outer.proxy;
      }
      inherit_in_branches(b->then, outer);
    }
}

void inherit_in_locations(location_list& list, const settings& outer) {
  for (auto& location : list) {
    location->here.set.inherit(outer);
    inherit_in_branches(location->rewrite, location->here);
    inherit_in_locations(location->locations, location->here.set);
  }
}

void inherit_settings(draft& all) {
  all.http.inherit(settings::defaults());
  for (auto& server : all.config.servers) {
    server->here.set.inherit(all.http);
    inherit_in_locations(server->locations, server->here.set);
  }
}

/// Its number; nothing if it was reported.
std::optional<std::size_t> add_upstream(draft& all, upstream_draft& from) try {
  auto resolved = from.resolves ? from.backends : std::vector<wsproxy::backend_options>();
  wsproxy::upstream group(std::move(from.backends), from.method(), from.name);
  all.config.upstreams.push_back({from.name, std::move(group), std::move(from.hash_key), std::move(resolved),
                                  from.resolver.value_or(all.resolver.value_or(resolver_options{}))});
  return all.config.upstreams.size() - 1;
} catch (const std::invalid_argument& wrong) {
  all.report.error(from.at, wrong.what());
  return std::nullopt;
}

/// What nginx asks of an upstream whose names are resolved while it runs.
void check_resolving(draft& all, const upstream_draft& one) {
  if (!one.resolves) return;
  if (!one.has_zone)
    all.report.error(one.resolves->at,
                     R"(resolving names at run time requires upstream "{0}" to be in shared memory: )"
                     R"(add "zone {0} 64k")",
                     one.name);
  else if (!one.resolver && !all.resolver)
    all.report.error(one.resolves->at, R"(no resolver defined to resolve names at run time in upstream "{}")",
                     one.name);
}

void make_upstreams(draft& all) {
  for (auto& one : all.upstreams) {
    check_resolving(all, one);
    if (!one.backends.empty()) add_upstream(all, one);
  }
}

/// An upstream for a host that is none, one for each host and port.
std::optional<std::size_t> implicit_upstream(draft& all, const pass_request& pass) {
  const bool unix_socket = pass.host.starts_with("unix:");
  const auto port = pass.port.value_or(80);
  const auto key =
      unix_socket ? pass.host : wsproxy::address{wsproxy::address::family::name, pass.host, port}.to_string();
  // With a slash, as no upstream of the file can be called so.
  const auto name = key + "/";
  if (const auto known = all.config.find_upstream(name)) return known;
  upstream_draft fresh{.name = name, .at = pass.source.at};
  wsproxy::backend_options backend;
  backend.name = key;
  if (unix_socket) {
    fresh.backends.push_back(backend);
  } else {
    for (auto& at : resolve(pass.host, port, pass.source, "upstream", all.report)) {
      backend.at = std::move(at);
      fresh.backends.push_back(backend);
    }
  }
  if (fresh.backends.empty()) return std::nullopt;
  return add_upstream(all, fresh);
}

void resolve_passes(draft& all) {
  for (const auto& pass : all.passes) {
    auto found = all.config.find_upstream(pass.host);
    const bool declared = std::ranges::any_of(
        all.upstreams, [&](const auto& u) { return wsproxy::iequals(u.name, pass.host); });
    if (declared && pass.port) {
      all.report.error(pass.source.at, R"(upstream "{}" may not have port {})", pass.host, *pass.port);
      continue;
    }
    if (declared && !found) continue;  // its own mistake was reported
    if (!found) found = implicit_upstream(all, pass);
    if (found) pass.from->proxy->upstream = *found;
  }
}

/// `root` in a location without proxy_pass would serve files; one that also returns always does not.
void check_files(draft& all, const location_list& list) {
  for (const auto& location : list) {
    check_files(all, location->locations);
    const bool answers = std::ranges::any_of(
        location->rewrite, [](const instruction& i) { return std::holds_alternative<answer>(i.what); });
    if (location->here.proxy || answers || location->is == location_block::kind::named) continue;
    const auto files = std::ranges::find(all.files, &location->here, [](const auto& f) { return f.first; });
    if (files != all.files.end())
      all.report.error(
          files->second,
          "this location would serve files, which is not supported: it needs proxy_pass or return");
    else if (location->locations.empty() && !all.report.failed())  // else it may be what could not be read
      all.report.warning(location->at,
                         R"(location "{}" has neither proxy_pass nor return: requests are answered 404)",
                         location->name);
  }
}

// ---- Routes

void set_tunnel(const settings& s, wsproxy::route& r) {
  auto& tunnel = r.tunnel;
  if (s.websocket_heartbeat) tunnel.heartbeat = *s.websocket_heartbeat;
  if (s.websocket_max_lifetime) {
    tunnel.timeouts.max_lifetime = s.websocket_max_lifetime->length;
    tunnel.timeouts.max_lifetime_jitter = s.websocket_max_lifetime->jitter;
  }
  tunnel.limits.message = s.websocket_max_message_size.value_or(0);
  tunnel.limits.frame = s.websocket_max_frame_size.value_or(0);
  tunnel.slow_consumer.after = s.websocket_slow_consumer.value_or(wsproxy::duration::zero());
  r.drain = s.websocket_drain;
  if (!s.websocket_frames) return;
  tunnel.frames = *s.websocket_frames;
  // A Close of ours has its place between two frames, so these must be found.
  const bool closes = (r.drain && r.drain->code != 0) ||
                      tunnel.timeouts.max_lifetime > wsproxy::duration::zero() ||
                      tunnel.slow_consumer.after > wsproxy::duration::zero();
  if (closes && tunnel.frames == wsproxy::frames::off) tunnel.frames = wsproxy::frames::observe;
}

wsproxy::route make_route(const settings& s) {
  wsproxy::route r;
  auto& t = r.tunnel.timeouts;
  t.client_head = *s.client_header_timeout;
  t.keep_alive = *s.keepalive_timeout;
  t.client_body = *s.client_body_timeout;
  t.connect = *s.proxy_connect_timeout;
  t.response = t.idle = *s.proxy_read_timeout;
  t.send_stall = *s.send_timeout;
  t.upstream_send_stall = *s.proxy_send_timeout;
  r.tunnel.limits.request_body = *s.client_max_body_size;
  r.failover.on = (*s.next_upstream & settings::never_retry) != 0 ? 0 : *s.next_upstream;
  r.failover.tries = *s.next_upstream_tries;
  r.failover.within = *s.next_upstream_timeout;
  if (s.proxy_buffer_size) {
    r.response_limits.head_bytes = *s.proxy_buffer_size;
    r.response_limits.line_bytes = *s.proxy_buffer_size;
  }
  set_tunnel(s, r);
  return r;
}

void make_routes(draft& all) {
  for (auto* place : all.config.places()) {
    auto route = make_route(place->set);
    add_rewriting(route);
    route.upgrade.allowed = false;
    place->plain = wsproxy::route::make(route);
    route.upgrade.allowed = true;
    place->upgrading = wsproxy::route::make(std::move(route));
  }
}

wsproxy::reception make_reception(const settings& s) {
  wsproxy::reception result;
  auto& head = result.request_head;
  head.line_bytes = s.large_client_header_buffers->second;
  head.head_bytes = s.large_client_header_buffers->first * s.large_client_header_buffers->second;
  head.drop_unusual_names = !*s.keep_unusual_names;
  head.keep_underscores = *s.keep_underscores;
  auto& t = result.timeouts;
  t.client_head = *s.client_header_timeout;
  t.keep_alive = *s.keepalive_timeout;
  t.client_body = *s.client_body_timeout;
  t.send_stall = *s.send_timeout;
  return result;
}

// ---- Listeners

virtual_hosts& hosts_at(listener& where, const std::string& host) {
  for (auto& one : where.hosts)
    if (one.host == host) return one;
  // The one for any address stays last.
  const auto before = host.empty() ? where.hosts.end() : where.hosts.begin();
  return *where.hosts.insert(before, {host, {}});
}

bool is_wildcard(const wsproxy::address& at) { return at.host == "0.0.0.0" || at.host == "::"; }

std::string any_address(const wsproxy::address& at) {
  return fmt::format("{}:{}", at.host.find(':') == std::string::npos ? "0.0.0.0" : "[::]", at.port);
}

/// The listeners: one per address; a wildcard address takes in those of the same port, as nginx does.
void make_listeners(draft& all) {
  std::set<std::string> wildcards;
  for (const auto& one : all.listens)
    for (const auto& at : one.at)
      if (at.kind == wsproxy::address::family::ip && is_wildcard(at)) wildcards.insert(at.to_string());
  std::map<std::string, position> with_options;
  for (const auto& one : all.listens)
    for (const auto& at : one.at) {
      const bool ip = at.kind == wsproxy::address::family::ip;
      const auto text = ip && wildcards.contains(any_address(at)) ? any_address(at) : at.to_string();
      auto& listeners = all.config.listeners;
      auto found = std::ranges::find(listeners, text, &listener::address);
      if (found == listeners.end()) found = listeners.insert(listeners.end(), {text, {}, {}});
      if (one.has_options) {
        const auto [earlier, fresh] = with_options.try_emplace(at.to_string(), one.where);
        if (!fresh) all.report.error(one.where, "duplicate listen options for {}", at.to_string());
        found->options = one.options;
      }
      auto& hosts = hosts_at(*found, text == at.to_string() ? std::string() : at.host);
      if (one.is_default)
        for (const auto& other : hosts.servers)
          if (other.second) all.report.error(one.where, "a duplicate default server for {}", at.to_string());
      hosts.servers.emplace_back(one.server, one.is_default);
    }
  for (auto& listener : all.config.listeners)
    for (auto& hosts : listener.hosts) hosts.reception = make_reception(hosts.fallback()->here.set);
  // Unix sockets last: not every thread listens there, and the others' numbers must be the same in all
  // threads.
  std::stable_partition(all.config.listeners.begin(), all.config.listeners.end(),
                        [](const listener& l) { return !l.address.starts_with("unix:"); });
}

/// nginx looks at names only where there is a choice.
void check_doubtful_names(draft& all, const listener& where, const virtual_hosts& hosts) {
  for (const auto& [server, name] : all.doubtful_names) {
    if (std::ranges::none_of(hosts.servers,
                             [server = server](const auto& one) { return one.first == server; }))
      continue;
    if (hosts.servers.size() > 1)
      all.report.error(name.at, R"(invalid server name or wildcard "{}" on {})", name.text, where.address);
    else all.report.warning(name.at, R"(server name "{}" matches no host)", name.text);
  }
}

void check_names(draft& all) {
  for (const auto& listener : all.config.listeners)
    for (const auto& hosts : listener.hosts) {
      check_doubtful_names(all, listener, hosts);
      std::set<std::pair<int, std::string>> seen;
      for (const auto& [server, is_default] : hosts.servers) {
        std::set<std::pair<int, std::string>> own;
        for (const auto& name : server->names) own.emplace(static_cast<int>(name.is), name.text);
        if (server->names.empty()) own.emplace(static_cast<int>(server_name::kind::exact), "");
        for (const auto& name : own)
          if (!seen.insert(name).second)
            all.report.warning(server->at,
                               R"(conflicting server name "{}" on {}, ignored: an earlier server has it)",
                               name.second, listener.address);
      }
    }
}

void default_listens(draft& all) {
  for (const auto& server : all.config.servers)
    if (std::ranges::none_of(all.listens, [&](const auto& l) { return l.server == server.get(); })) {
      listen_request fresh{server.get(), {}, true, false, false, {}, server->at};
      fresh.at.push_back({wsproxy::address::family::ip, "0.0.0.0", 80});
      all.listens.push_back(std::move(fresh));
    }
}

void finish(draft& all) {
  default_listens(all);
  make_upstreams(all);
  resolve_passes(all);
  inherit_settings(all);  // after proxy_pass is complete: an `if` takes it over
  for (const auto& server : all.config.servers) check_files(all, server->locations);
  make_routes(all);
  make_listeners(all);
  check_names(all);
}

}  // namespace

load_result load_text(std::string_view text, const std::string& name) {
  load_result result;
  auto config = std::make_shared<configuration>();
  draft all{*config, result.report};
  const auto file = std::make_shared<const std::string>(name);
  auto folder = std::filesystem::path(name).parent_path().string();
  if (folder.empty()) folder = ".";
  const auto tree = includer(folder, result.report).expand(parse_syntax(text, file, result.report));
  scope main{all, in_main};
  apply(main, tree);
  if (!all.has_events)
    result.report.error({file, 1, 1}, "no \"events\" section in configuration: add events { }");
  config->variables.resolve(result.report);
  finish(all);
  if (!result.report.failed()) result.config = std::move(config);
  return result;
}

load_result load_file(const std::string& path) {
  std::string why;
  if (const auto text = read_whole(path, why)) return load_text(*text, path);
  load_result result;
  result.report.error({std::make_shared<const std::string>(path), 1, 1}, "cannot read this file: {}", why);
  return result;
}

}  // namespace wsproxy_gateway
