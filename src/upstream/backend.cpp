#include <wsproxy/upstream/backend.hpp>

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <wsproxy/http/fields.hpp>

namespace wsproxy {
namespace {

constexpr std::uint16_t default_port = 80;

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw std::invalid_argument(fmt::format(R"(address "{}": {})", text, why));
}

bool is_literal(int family, const std::string& host) {
  in6_addr parsed;  // room for either family
  return ::inet_pton(family, host.c_str(), &parsed) == 1;
}

/// A host name goes to the resolver as it is; only what can be no name in any is refused here.
bool is_host(std::string_view host) {
  constexpr std::string_view never = "/?[]";
  return std::none_of(host.begin(), host.end(),
                      [&](char c) { return c <= ' ' || c >= '\x7f' || never.find(c) != never.npos; });
}

address parse_unix(std::string_view text) {
  const auto path = text.substr(5);
  if (path.empty()) refuse(text, "no path after unix:");
  if (path.size() >= sizeof(sockaddr_un::sun_path)) refuse(text, "too long for a socket's path");
  if (path.find('\0') != path.npos) refuse(text, "NUL in a socket's path");
  return {address::family::unix_socket, std::string(path), 0};
}

std::uint16_t parse_port(std::string_view text, std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) refuse(text, "invalid port");
  return port;
}

address parse_bracketed(std::string_view text) {
  const auto close = text.find(']');
  if (close == text.npos) refuse(text, "no ] after [");
  std::string host(text.substr(1, close - 1));
  if (host.find('\0') != host.npos || !is_literal(AF_INET6, host)) refuse(text, "invalid IPv6 address");
  const auto rest = text.substr(close + 1);
  if (rest.empty()) return {address::family::ip, std::move(host), default_port};
  if (rest.front() != ':') refuse(text, "invalid host");
  return {address::family::ip, std::move(host), parse_port(text, rest.substr(1))};
}

}  // namespace

address address::parse(std::string_view text) {
  if (iequals(text.substr(0, 5), "unix:")) return parse_unix(text);
  if (text.starts_with('[')) return parse_bracketed(text);
  const auto colon = text.find(':');
  std::string host(text.substr(0, colon));
  if (host.empty()) refuse(text, "no host");
  if (!is_host(host)) refuse(text, "invalid host");
  const auto port = colon == text.npos ? default_port : parse_port(text, text.substr(colon + 1));
  const auto kind = is_literal(AF_INET, host) ? family::ip : family::name;
  return {kind, std::move(host), port};
}

std::string address::to_string() const {
  if (kind == family::unix_socket) return "unix:" + host;
  const bool is_v6 = host.find(':') != host.npos;
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

backend::backend(std::string name, wsproxy::address at) : name_(std::move(name)), address_(std::move(at)) {}

}  // namespace wsproxy
