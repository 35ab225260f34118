#include "router.hpp"

#include <arpa/inet.h>

#include <algorithm>

#include <fmt/format.h>

#include <wsproxy/websocket/upgrade.hpp>

#include "answers.hpp"
#include "selection.hpp"

namespace wsproxy_gateway {
namespace {

/// What an exchange keeps until its response was sent.
struct forwarding {
  std::shared_ptr<const configuration> config;
  request_state state{};
  const place* where = nullptr;
  const location_block* location = nullptr;
  wsproxy::request_rewrite rewrite{};
};

/// Where this request is to go.
struct destination {
  std::optional<wsproxy::upstream> to{};
  const text_template* hash_key = nullptr;
  std::string target{};  ///< empty: as received
  std::string problem{};
};

/// A request target holds no space or control byte, whatever variables it was made of.
std::string safe_target(std::string_view text) {
  std::string result;
  for (const char c : safe_field_value(text)) {
    if (c == ' ') result += "%20";
    else if (c == '\t') result += "%09";
    else result += c;
  }
  return result;
}

std::string raw_target(const wsproxy::request_head& head, const request_uri& uri) {
  if (uri.changed) return safe_target(replace_prefix(uri, {}, {}));
  if (head.target == uri.raw) return {};
  return uri.raw.starts_with('?') ? "/" + uri.raw : uri.raw;
}

bool is_address(const std::string& host) {
  ::in6_addr unused;
  if (host.starts_with('[') && host.ends_with(']'))
    return ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &unused) == 1;
  return ::inet_pton(AF_INET, host.c_str(), &unused) == 1;
}

/// proxy_pass with variables: the URL is read now. Its host is an upstream's name or an address; names are
/// not looked up while serving.
destination variable_destination(const configuration& config, const proxy_target& proxy, evaluation& e) {
  auto url = proxy.variable_url->evaluate(e);
  if (!url.starts_with("http://")) return {.problem = fmt::format(R"(invalid URL prefix in "{}")", url)};
  const auto rest = std::string_view(url).substr(7);
  const auto host = rest.substr(0, rest.find_first_of("/?"));
  const auto uri = rest.substr(host.size());
  destination result;
  const auto colon = host.find(':', host.find(']') == host.npos ? 0 : host.find(']'));
  const std::string name(host.substr(0, colon));
  e.state.proxy_host = colon != host.npos && host.substr(colon) == ":80" ? name : std::string(host);
  e.state.proxy_port = colon == host.npos ? "80" : std::string(host.substr(colon + 1));
  if (const auto known = config.find_upstream(host)) {
    result.to = config.upstreams[*known].group;
    if (config.upstreams[*known].hash_key) result.hash_key = &*config.upstreams[*known].hash_key;
  } else if (is_address(name)) {
    try {
      result.to.emplace(std::vector{wsproxy::backend_options{.name = std::string(host)}});
    } catch (const std::invalid_argument& error) {
      return {.problem = error.what()};
    }
  } else {
    return {.problem = fmt::format(R"("{}" is neither an upstream nor an address)", host)};
  }
  if (uri.empty()) result.target = raw_target(e.head, e.state.uri);
  else result.target = safe_target(uri.starts_with('?') ? "/" + std::string(uri) : std::string(uri));
  return result;
}

destination find_destination(const configuration& config, const place& where, const location_block& location,
                             evaluation& e) {
  const auto& proxy = *where.proxy;
  if (proxy.variable_url) return variable_destination(config, proxy, e);
  e.state.proxy_host = proxy.host;
  e.state.proxy_port = proxy.port;
  const auto& group = config.upstreams[proxy.upstream];
  destination result{.to = group.group};
  if (group.hash_key) result.hash_key = &*group.hash_key;
  if (!proxy.uri) result.target = raw_target(e.head, e.state.uri);
  else result.target = safe_target(replace_prefix(e.state.uri, location.name, *proxy.uri));
  if (result.target.starts_with('?')) result.target.insert(0, 1, '/');
  return result;
}

/// The fields for the backend: as configured, then the defaults that are not overridden.
void set_fields(const place& where, evaluation& e, wsproxy::fields& out) {
  bool has_host = false;
  for (const auto& line : *where.set.proxy_set_header) {
    // The framing of a body is not the file's to decide.
    if (wsproxy::iequals(line.name, "Content-Length") || wsproxy::iequals(line.name, "Transfer-Encoding"))
      continue;
    auto value = safe_field_value(line.value.evaluate(e));
    if (wsproxy::iequals(line.name, "Host")) {
      has_host = true;
      if (value.empty()) value = e.state.proxy_host;
    }
    out.add(line.name, value);
  }
  if (!has_host) out.add("Host", e.state.proxy_host);
}

/// A WebSocket can only come to be where the file passes Upgrade and Connection on.
bool passes_upgrade(const wsproxy::request_rewrite& rewrite) {
  return rewrite.version == wsproxy::http_version::http_1_1 &&
         rewrite.set.has_token("Upgrade", "websocket") && rewrite.set.has_token("Connection", "upgrade");
}

void rewrite_request(const wsproxy::exchange& what, const wsproxy::backend&, wsproxy::request_rewrite& out) {
  out = static_cast<forwarding*>(what.user.get())->rewrite;
}

void note_attempt(const wsproxy::exchange& what, const wsproxy::backend& to) {
  auto& tried = static_cast<forwarding*>(what.user.get())->state.upstreams;
  if (!tried.empty()) tried += ", ";
  tried += to.address().to_string();
}

void rewrite_answer(const wsproxy::exchange& what, wsproxy::response_head& head) {
  if (head.status < 200 && head.status != 101) return;
  auto& work = *static_cast<forwarding*>(what.user.get());
  evaluation e{work.config->variables, what.head, work.state};
  rewrite_response(head, *work.where, *work.location, e);
  work.rewrite = {};  // no further attempt; a tunnel need not keep it
}

std::string describe(const wsproxy::forward_result& result, const request_state& state) {
  auto what = result.error.message();
  if (what.ends_with('.')) what.pop_back();
  return fmt::format(R"({}, client: {}, host: "{}", uri: "{}", upstream: {})", what, state.client, state.host,
                     state.uri.raw, state.upstreams.empty() ? "none" : state.upstreams);
}

/// No file is there; and to nginx's file handler there are only three methods.
int status_without_files(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "POST" ? 404 : 405;
}

bool worth_logging(const wsproxy::forward_result& result) {
  return result.error && result.cause == wsproxy::end_cause::failed;
}

}  // namespace

void add_rewriting(wsproxy::route& route) {
  route.on_attempt = note_attempt;
  route.rewrite_request = rewrite_request;
  route.rewrite_response = rewrite_answer;
}

wsproxy::decision router::operator()(const wsproxy::inbound& in) const {
  auto work = std::make_shared<forwarding>();
  work->config = config_;
  const auto chosen = select(*config_, in, work->state);
  evaluation e{config_->variables, in.head, work->state};
  const auto& where = *chosen.in_force;
  if (chosen.bad_target) return make_page(400, {}, where, e);
  if (chosen.too_large) return make_page(413, {}, where, e);
  if (chosen.reply != nullptr) {
    if (chosen.reply->status == 444) return wsproxy::hang_up{};
    return make_reply(*chosen.reply, where, e);
  }
  if (chosen.add_slash) return make_redirect(chosen.location->name, where, e);
  if (chosen.location == nullptr || !where.proxy)
    return make_page(status_without_files(in.head.method), {}, where, e);

  auto to = find_destination(*config_, where, *chosen.location, e);
  if (!to.to) {
    if (log_)
      (*log_)(fmt::format(R"({}, host: "{}", uri: "{}")", to.problem, work->state.host, work->state.uri.raw));
    return make_page(502, {}, where, e);
  }
  work->where = &where;
  work->location = chosen.location;
  work->rewrite.target = std::move(to.target);
  work->rewrite.version = *where.set.proxy_http_version;
  set_fields(where, e, work->rewrite.set);
  wsproxy::pass result{.to = std::move(*to.to)};
  if (to.hash_key != nullptr) result.hash_key = to.hash_key->evaluate(e);
  result.how = passes_upgrade(work->rewrite) ? where.upgrading : where.plain;
  result.user = work;
  result.close = !may_keep_alive(where.set, work->state);
  // What failed has not become a tunnel: the gateway still holds `work`, and a router with this log.
  if (log_)
    result.on_end = [work = work.get(), log = log_.get()](const wsproxy::forward_result& ended) {
      if (worth_logging(ended)) (*log)(describe(ended, work->state));
    };
  return result;
}

namespace {

/// The place whose rules concern a request that is answered with an error, which may come of its own rules.
/// `state` becomes what is known of the request.
const place& place_of(const configuration& config, const wsproxy::inbound& request, request_state& state) {
  if (request.user != nullptr) {
    auto& work = *static_cast<forwarding*>(request.user);
    state = work.state;
    return *work.where;
  }
  const auto& fallback = config.hosts_at(request.listener, request.local).fallback()->here;
  if (request.head.method.empty()) return fallback;
  try {
    return *select(config, request, state).in_force;
  } catch (const std::exception&) {
    return fallback;
  }
}

}  // namespace

wsproxy::respond router::error_answer(int status, const std::error_code& why,
                                      const wsproxy::inbound& request) const {
  request_state state;
  const auto& where = place_of(*config_, request, state);
  evaluation e{config_->variables, request.head, state};
  auto page = make_page(status, why ? why.message() : std::string(), where, e);
  if (status == 426)
    for (const auto& line : wsproxy::refusal_fields(why)) page.extra.add(line.name, line.value);
  return page;
}

const std::vector<log_file>& router::access_logs(const wsproxy::inbound& in) const {
  if (in.user != nullptr) return *static_cast<forwarding*>(in.user)->where->set.access_log;
  request_state state;
  return *place_of(*config_, in, state).set.access_log;
}

}  // namespace wsproxy_gateway
