#include "configuration.hpp"

#include <wsproxy/http/fields.hpp>

namespace wsproxy_gateway {

namespace {

/// What is inherited member by member.
constexpr auto inherited() {
  using s = settings;
  return std::tuple(
      &s::proxy_connect_timeout, &s::proxy_read_timeout, &s::proxy_send_timeout, &s::send_timeout,
      &s::client_body_timeout, &s::client_header_timeout, &s::keepalive_timeout, &s::keepalive_requests,
      &s::client_max_body_size, &s::large_client_header_buffers, &s::proxy_buffer_size, &s::keep_underscores,
      &s::keep_unusual_names, &s::next_upstream, &s::next_upstream_tries, &s::next_upstream_timeout,
      &s::proxy_http_version, &s::proxy_set_header, &s::add_header, &s::proxy_hide_header,
      &s::proxy_pass_header, &s::proxy_redirect, &s::absolute_redirect, &s::port_in_redirect,
      &s::server_name_in_redirect, &s::default_type, &s::types, &s::access_log, &s::websocket_heartbeat,
      &s::websocket_max_lifetime, &s::websocket_max_message_size, &s::websocket_max_frame_size,
      &s::websocket_frames, &s::websocket_drain, &s::websocket_slow_consumer);
}

}  // namespace

void settings::inherit(const settings& outer) {
  const auto take = [&](auto member) {
    if (!(this->*member)) this->*member = outer.*member;
  };
  std::apply([&](auto... member) { (take(member), ...); }, inherited());
}

settings settings::defaults() {
  using namespace std::chrono_literals;
  settings s;
  s.proxy_connect_timeout = s.proxy_read_timeout = s.proxy_send_timeout = 60s;
  s.client_body_timeout = s.client_header_timeout = s.send_timeout = 60s;
  s.keepalive_timeout = 75s;
  s.keepalive_requests = 1000;
  s.client_max_body_size = 1u << 20;
  s.large_client_header_buffers = {4, 8 * 1024};
  s.keep_underscores = s.keep_unusual_names = false;
  s.next_upstream = wsproxy::retry::error | wsproxy::retry::timeout;
  s.next_upstream_tries = 0;
  s.next_upstream_timeout = 0s;
  s.proxy_http_version = wsproxy::http_version::http_1_1;
  s.proxy_set_header.emplace();
  s.add_header.emplace();
  s.proxy_hide_header.emplace();
  s.proxy_pass_header.emplace();
  s.proxy_redirect.emplace(1);
  s.absolute_redirect = s.port_in_redirect = true;
  s.server_name_in_redirect = false;
  s.default_type = "text/plain";
  s.types = types_map{{"html", "text/html"}, {"gif", "image/gif"}, {"jpg", "image/jpeg"}};
  s.access_log.emplace();
  // Of the websocket_ directives none is set: tunnels are as nginx's then.
  return s;
}

const server_block* virtual_hosts::fallback() const {
  for (const auto& [server, is_default] : servers)
    if (is_default) return server;
  return servers.front().first;
}

const server_block* virtual_hosts::find(std::string_view host_name, request_state& state) const {
  const server_block* found = nullptr;
  std::size_t length = 0;
  // An exact name, else the longest that begins with a star, else the longest that ends with one, else the
  // first regular expression; of equal names the first server's. (nginx: ngx_http_find_virtual_server)
  using kind = server_name::kind;
  const auto scan = [&](auto fits) {
    length = 0;
    for (const auto& entry : servers)
      for (const auto& name : entry.first->names)
        if (fits(name) && (found == nullptr || name.text.size() > length)) {
          found = entry.first;
          length = name.text.size();
        }
    return found != nullptr;
  };
  if (host_name.empty()) {
    scan([](const server_name& n) { return n.is == kind::exact && n.text.empty(); });
    return found != nullptr ? found : fallback();
  }
  if (scan([&](const server_name& n) { return n.is == kind::exact && n.text == host_name; })) return found;
  if (scan([&](const server_name& n) {
        return n.is == kind::suffix && host_name.size() > n.text.size() && host_name.ends_with(n.text);
      }))
    return found;
  if (scan([&](const server_name& n) {
        return n.is == kind::prefix && host_name.size() > n.text.size() && host_name.starts_with(n.text);
      }))
    return found;
  for (const auto& entry : servers)
    for (const auto& name : entry.first->names)
      if (name.is == kind::regex &&
          match_and_capture(name.expression->expression, name.expression->captures, host_name, state))
        return entry.first;
  return fallback();
}

const virtual_hosts& configuration::hosts_at(std::size_t listener, std::string_view local) const {
  const auto& all = listeners.at(listener).hosts;
  for (const auto& one : all)
    if (!one.host.empty() && one.host == local) return one;
  return all.back();
}

namespace {

void collect(const program& list, std::vector<place*>& out) {
  for (const auto& one : list)
    if (const auto* test = std::get_if<branch>(&one.what)) {
      if (test->inside) out.push_back(test->inside.get());
      collect(test->then, out);
    }
}

void collect(const location_list& list, std::vector<place*>& out) {
  for (const auto& one : list) {
    out.push_back(&one->here);
    collect(one->rewrite, out);
    collect(one->locations, out);
  }
}

}  // namespace

std::vector<place*> configuration::places() const {
  std::vector<place*> result;
  for (const auto& server : servers) {
    result.push_back(&server->here);
    collect(server->locations, result);
  }
  return result;
}

std::optional<std::size_t> configuration::find_upstream(std::string_view name) const {
  for (std::size_t i = 0; i != upstreams.size(); ++i)
    if (wsproxy::iequals(upstreams[i].name, name)) return i;
  return std::nullopt;
}

}  // namespace wsproxy_gateway
