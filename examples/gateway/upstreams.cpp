// upstream { server … }, hash, and proxy_pass.
#include <arpa/inet.h>

#include <algorithm>

#include <wsproxy/upstream/consistent_hash.hpp>
#include <wsproxy/upstream/ip_hash.hpp>
#include <wsproxy/upstream/key_hash.hpp>
#include <wsproxy/upstream/least_connections.hpp>
#include <wsproxy/upstream/random.hpp>

#include "handlers.hpp"
#include "values.hpp"

namespace wsproxy_gateway::act {
namespace {

/// NAME=VALUE of a directive's argument.
struct parameter {
  std::string_view name, value;
  bool has_value = false;
};
parameter split(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == text.npos) return {text, {}, false};
  return {text.substr(0, equals), text.substr(equals + 1), true};
}

bool is_literal(const std::string& host) {
  ::in6_addr parsed;  // room for either family
  return ::inet_pton(AF_INET6, host.c_str(), &parsed) == 1 ||
         ::inet_pton(AF_INET, host.c_str(), &parsed) == 1;
}

bool read_parameter(const word& source, wsproxy::backend_options& out, bool& resolve) {
  const auto p = split(source.text);
  const auto read = p.has_value ? parse_number(p.value) : std::nullopt;
  const bool number = read.has_value();
  const auto value = read.value_or(0);
  if (p.name == "weight" && number && value > 0) out.weight = value;
  else if (p.name == "max_conns" && number) out.max_conns = value;
  else if (p.name == "max_fails" && number) out.max_fails = value;
  else if (p.name == "fail_timeout" && p.has_value && parse_seconds(p.value))
    out.fail_timeout = *parse_seconds(p.value);
  else if (p.name == "slow_start" && p.has_value && parse_time(p.value))
    out.slow_start = *parse_time(p.value);
  else if (source == "resolve") resolve = true;
  else if (source == "backup") out.backup = true;
  else if (source == "down") out.down = true;
  else return false;
  return true;
}

void report_parameter(scope& in, const word& source) {
  static constexpr std::string_view later[] = {"service", "route", "drain"};
  const auto name = split(source.text).name;
  if (std::ranges::find(later, name) != std::end(later)) {
    in.report().error(source.at, R"(parameter "{}" is not supported)", source.text);
    return;
  }
  const std::string_view number = ": it takes a number", time = ": it takes a time, 30s or 1m30s";
  const std::pair<std::string_view, std::string_view> known[] = {{"weight", ": it takes a number above 0"},
                                                                 {"max_conns", number},
                                                                 {"max_fails", number},
                                                                 {"fail_timeout", time},
                                                                 {"slow_start", time}};
  for (const auto& [parameter, right] : known)
    if (name == parameter)
      return in.report().error(source.at, R"(invalid parameter "{}"{})", source.text, right);
  const auto meant = closest(
      name, {"weight", "max_conns", "max_fails", "fail_timeout", "slow_start", "resolve", "backup", "down"});
  in.report().error(source.at, R"(invalid parameter "{}"{})", source.text,
                    did_you_mean(meant == name ? "" : meant));
}

}  // namespace

void upstream(scope& in, const directive& d) {
  const auto& name = d.words[1];
  for (const auto& other : in.all.upstreams)
    if (wsproxy::iequals(other.name, name.text))
      in.report().error(name.at, R"(duplicate upstream "{}"; the first is on line {})", name.text,
                        other.at.line);
  upstream_draft fresh{.name = name.text, .at = d.at()};
  scope inside{in.all, in_upstream};
  inside.upstream = &fresh;
  const auto before = in.report().errors();
  apply(inside, d.children);
  if (fresh.backends.empty() && in.report().errors() == before)
    in.report().error(d.at(), R"(no servers are inside upstream "{}")", name.text);
  in.all.upstreams.push_back(std::move(fresh));
}

void upstream_server(scope& in, const directive& d) {
  const auto& source = d.words[1];
  wsproxy::backend_options options;
  options.name = source.text;
  bool resolve = false;
  for (std::size_t i = 2; i != d.words.size(); ++i)
    if (!read_parameter(d.words[i], options, resolve)) report_parameter(in, d.words[i]);
  const auto at = parse_endpoint(source.text, false, source, in.report());
  if (!at) return;
  if (at->unix_socket) {
    options.at = {wsproxy::address::family::unix_socket, at->host, 0};
    in.upstream->backends.push_back(std::move(options));
    return;
  }
  const auto port = at->port.value_or(80);
  if (resolve && !is_literal(at->host)) {  // it need not be found yet
    options.at = {wsproxy::address::family::name, at->host, port};
    if (!in.upstream->resolves) in.upstream->resolves = source;
    in.upstream->backends.push_back(std::move(options));
    return;
  }
  // All addresses of a name share the name, and with it their points on a hash ring.
  for (auto& address : wsproxy_gateway::resolve(at->host, port, source, "upstream", in.report())) {
    options.at = std::move(address);
    in.upstream->backends.push_back(options);
  }
}

namespace {

void choose(scope& in, const directive& d, std::shared_ptr<wsproxy::balancer> (*method)()) {
  auto& group = *in.upstream;
  if (!group.method_name.empty())
    in.report().warning(d.at(), R"(load balancing method redefined: "{}" stands in this upstream already)",
                        group.method_name);
  group.method = method;
  group.method_name = d.name().text;
}

}  // namespace

void hash(scope& in, const directive& d) {
  const bool consistent = d.arguments() == 2;
  if (consistent && d.words[2] != "consistent") {
    in.report().error(d.words[2].at, R"(invalid parameter "{}": only "consistent" may stand here)",
                      d.words[2].text);
    return;
  }
  choose(in, d, consistent ? wsproxy::consistent_hash : wsproxy::key_hash);
  in.upstream->hash_key = text_template::compile(d.words[1], in.variables(), in.report());
}

void ip_hash(scope& in, const directive& d) { choose(in, d, wsproxy::ip_hash); }
void least_conn(scope& in, const directive& d) { choose(in, d, wsproxy::least_connections); }

void random(scope& in, const directive& d) {
  if (d.arguments() > 0 && d.words[1] != "two") {
    in.report().error(d.words[1].at, R"(invalid parameter "{}": only "two" may stand here)", d.words[1].text);
    return;
  }
  if (d.arguments() > 1 && d.words[2] != "least_conn") {
    in.report().error(d.words[2].at, R"("{}" is not supported: it is random two least_conn)",
                      d.words[2].text);
    return;
  }
  choose(in, d, d.arguments() > 0 ? wsproxy::random_choice_of_two : wsproxy::random_choice);
}

/// The memory is nobody's here: all threads share an upstream anyway. Names can be resolved only where it
/// stands.
void zone(scope& in, const directive& d) {
  if (d.arguments() == 2 && !parse_size(d.words[2].text))
    in.report().error(d.words[2].at, R"(invalid size "{}" of "zone": a size is 64k or 1m)", d.words[2].text);
  in.upstream->has_zone = true;
}

void resolver(scope& in, const directive& d) {
  resolver_options fresh;
  bool has_server = false;
  for (std::size_t i = 1; i != d.words.size(); ++i) {
    const auto& one = d.words[i];
    const auto p = split(one.text);
    if (!p.has_value) {
      has_server = parse_endpoint(one.text, false, one, in.report()).has_value() || has_server;
    } else if (p.name == "valid" && parse_time(p.value).value_or(std::chrono::milliseconds(0)).count() > 0) {
      fresh.valid = *parse_time(p.value);
    } else if ((p.name == "ipv4" || p.name == "ipv6") && (p.value == "on" || p.value == "off")) {
      (p.name == "ipv4" ? fresh.ipv4 : fresh.ipv6) = p.value == "on";
    } else {
      in.report().error(
          one.at, R"(invalid parameter "{}" of "resolver": it is valid=30s, ipv4=off or ipv6=off)", one.text);
    }
  }
  if (!has_server) in.report().error(d.at(), "no name servers defined in \"resolver\" directive");
  if (!fresh.ipv4 && !fresh.ipv6)
    in.report().error(d.at(), "\"ipv4\" and \"ipv6\" of \"resolver\" cannot both be off");
  if (in.all.warned.insert("resolver").second)
    in.report().warning(d.at(),
                        R"(the addresses in "resolver" are not asked: names are looked up by the system{})",
                        fresh.valid ? "" : ", every 30s as it tells no time to live; valid= changes that");
  (in.where == in_upstream ? in.upstream->resolver : in.all.resolver) = fresh;
}

void proxy_pass(scope& in, const directive& d) {
  const auto& source = d.words[1];
  std::string_view text = source.text;
  auto& target = in.here->proxy.emplace();
  target.url = text;
  if (has_variable(text)) {
    target.variable_url = text_template::compile(source, in.variables(), in.report());
    return;
  }
  if (to_lower(text.substr(0, 8)) == "https://") {
    in.report().error(source.at, "https:// is not supported: connections to backends are not encrypted");
    return;
  }
  if (to_lower(text.substr(0, 7)) != "http://") {
    in.report().error(source.at, R"(invalid URL prefix in "{}": it begins with http://)", source.text);
    return;
  }
  text.remove_prefix(7);
  const bool unix_socket = to_lower(text.substr(0, 5)) == "unix:";
  const auto host_size = std::min(unix_socket ? text.find(':', 5) : text.find_first_of("/?"), text.size());
  const auto host = text.substr(0, host_size);
  auto uri = text.substr(host_size);
  if (unix_socket && !uri.empty()) uri.remove_prefix(1);
  if (!uri.empty()) target.uri = uri;
  const bool in_if = in.where == in_location_if;
  if (target.uri && (in_if || in.location->is == location_block::kind::regex ||
                     in.location->is == location_block::kind::named)) {
    in.report().error(source.at,
                      R"("proxy_pass" cannot have a path ("{}") in a location given by )"
                      R"(a regular expression or a name, or in "if")",
                      *target.uri);
    return;
  }
  const auto at = parse_endpoint(host, false, source, in.report());
  if (!at) return;
  const bool other_port = at->port && *at->port != 80;
  target.host = unix_socket ? "localhost" : std::string(host.substr(0, host.size()));
  if (!unix_socket && at->port && !other_port) target.host = host.substr(0, host.rfind(':'));
  target.port = unix_socket ? std::string() : std::to_string(at->port.value_or(80));
  in.all.passes.push_back({in.here, unix_socket ? std::string(host) : at->host, at->port, source});
}

}  // namespace wsproxy_gateway::act
