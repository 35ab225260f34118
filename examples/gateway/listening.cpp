// listen and server_name.
#include <algorithm>

#include "dates.hpp"
#include "handlers.hpp"
#include "values.hpp"

namespace wsproxy_gateway::act {
namespace {

/// [so_keepalive=on|off|IDLE:INTERVAL:COUNT]
bool is_keepalive(std::string_view value) {
  if (value == "on" || value == "off") return true;
  const auto first = value.find(':');
  const auto second = first == value.npos ? value.npos : value.find(':', first + 1);
  if (second == value.npos) return false;
  const auto time = [](std::string_view t) { return t.empty() || parse_seconds(t); };
  const auto count = value.substr(second + 1);
  return value != "::" && time(value.substr(0, first)) && time(value.substr(first + 1, second - first - 1)) &&
         (count.empty() || parse_number(count));
}

/// An option that only tunes, and is right.
bool ignored_option(std::string_view name, std::string_view value) {
  if (name == "bind" || name == "deferred") return value.empty();
  if (name == "fastopen" || name == "setfib") return parse_number(value).has_value();
  if (name == "rcvbuf" || name == "sndbuf") return parse_size(value).has_value();
  if (name == "so_keepalive") return is_keepalive(value);
  return name == "accept_filter";
}

/// One parameter behind the address.
void read_option(scope& in, const word& source, listen_request& out) {
  const auto equals = source.text.find('=');
  const auto name = std::string_view(source.text).substr(0, equals);
  const auto value =
      equals == std::string::npos ? std::string_view() : std::string_view(source.text).substr(equals + 1);
  if (source == "default_server" || source == "default") {
    out.is_default = true;
    return;
  }
  if (name == "ssl" || name == "http2" || name == "quic" || name == "http3" || name == "proxy_protocol") {
    in.report().error(source.at, R"("{}" is not supported: this gateway speaks plain HTTP/1.1)", source.text);
    return;
  }
  out.has_options = true;
  const auto number = parse_number(value);
  if (source == "reuseport") out.options.reuse_port = true;
  else if (name == "backlog" && number && *number > 0) out.options.backlog = static_cast<int>(*number);
  else if (source == "ipv6only=on") out.options.ipv6_only = true;
  else if (source == "ipv6only=off") out.options.ipv6_only = false;
  else if (ignored_option(name, value))
    in.report().warning(source.at, R"("{}" is ignored: it has no effect here)", source.text);
  else {
    const auto meant = closest(name, {"default_server", "reuseport", "backlog", "ipv6only"});
    in.report().error(source.at, R"(invalid parameter "{}"{})", source.text,
                      did_you_mean(meant == name ? "" : meant));
  }
}

}  // namespace

bool is_plausible_host(std::string_view name) {
  return name.find("..") == name.npos && name.find('*') == name.npos && name.find('\0') == name.npos;
}

void listen(scope& in, const directive& d) {
  const auto& source = d.words[1];
  listen_request result{in.server, {}, false, false, false, {}, source.at};
  const auto at = parse_endpoint(source.text, true, source, in.report());
  for (std::size_t i = 2; i != d.words.size(); ++i) read_option(in, d.words[i], result);
  if (!at) return;
  const auto port = at->port.value_or(80);
  using family = wsproxy::address::family;
  if (at->unix_socket) result.at.push_back({family::unix_socket, at->host, 0});
  else if (at->host == "*") result.at.push_back({family::ip, "0.0.0.0", port});
  else result.at = resolve(at->host, port, source, "listen", in.report());
  if (result.at.empty()) return;
  result.any = result.at.front().host == "0.0.0.0" || result.at.front().host == "::";
  for (const auto& other : in.all.listens)
    for (const auto& address : result.at)
      if (other.server == in.server && std::ranges::find(other.at, address) != other.at.end()) {
        in.report().error(source.at, "a duplicate listen {}", address.to_string());
        return;
      }
  in.all.listens.push_back(std::move(result));
}

namespace {

void add_name(scope& in, const word& source) {
  using kind = wsproxy_gateway::server_name::kind;
  auto& names = in.server->names;
  std::string_view text = source.text;
  if (text == "~")
    return in.report().error(source.at, "the regular expression is missing in server name \"~\"");
  if (text.starts_with('~')) {
    auto one = compile_pattern(text.substr(1), false, source.at, in);
    if (one) names.push_back({kind::regex, source.text, std::move(one)});
    return;
  }
  auto name = text == "$hostname" ? host_name() : to_lower(text);
  text = name;
  auto is = kind::exact;
  if (text.starts_with("*.")) {
    is = kind::suffix;
    text.remove_prefix(1);
  } else if (text.starts_with('.')) {
    names.push_back({kind::exact, std::string(text.substr(1)), std::nullopt});
    is = kind::suffix;
  } else if (text.ends_with(".*")) {
    is = kind::prefix;
    text.remove_suffix(1);
  }
  const bool bad_star = name.starts_with('*') && (name.size() < 3 || name[1] != '.');
  if (bad_star || name == ".") {
    in.report().error(source.at, R"(invalid server name or wildcard "{}")", source.text);
    return;
  }
  if (!is_plausible_host(text)) in.all.doubtful_names.emplace_back(in.server, source);
  if (text.find_first_of("/,") != text.npos)
    in.report().warning(
        source.at, R"(server name "{}" has suspicious symbols: names have spaces between them, and no path)",
        source.text);
  names.push_back({is, std::string(text), std::nullopt});
}

}  // namespace

void server_name(scope& in, const directive& d) {
  if (in.server->first_name.empty()) {
    const auto& first = d.words[1];
    in.server->first_name = first == "$hostname"          ? host_name()
                            : first.text.starts_with('~') ? first.text
                                                          : to_lower(first.text);
    if (in.server->first_name.starts_with('.')) in.server->first_name.erase(0, 1);
  }
  for (std::size_t i = 1; i != d.words.size(); ++i) add_name(in, d.words[i]);
}

}  // namespace wsproxy_gateway::act
