// Addresses in directives, and the look-up of host names.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <memory>

#include "directives.hpp"
#include "values.hpp"

namespace wsproxy_gateway {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

std::string text_of(const ::sockaddr* at) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = at->sa_family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const ::sockaddr_in*>(at)->sin_addr)
                          : static_cast<const void*>(&reinterpret_cast<const ::sockaddr_in6*>(at)->sin6_addr);
  ::inet_ntop(at->sa_family, bytes, text.data(), text.size());
  return text.data();
}

}  // namespace

std::optional<endpoint> parse_endpoint(std::string_view text, bool port_alone, const word& source,
                                       diagnostics& report) {
  const auto fail = [&](std::string_view why, std::string_view right = {}) {
    report.error(source.at, R"({} in "{}"{})", why, source.text, right);
    return std::nullopt;
  };
  if (to_lower(text.substr(0, 5)) == "unix:") {
    const auto path = text.substr(5);
    if (path.empty()) return fail("no path");
    if (path.find('\0') != path.npos) return fail("a NUL byte");
    if (path.size() >= sizeof(::sockaddr_un::sun_path)) return fail("too long path");
    return endpoint{std::string(path), std::nullopt, true};
  }
  endpoint result;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == text.npos) return fail("no closing \"]\"");
    result.host = text.substr(1, close - 1);
    ::in6_addr parsed;
    if (::inet_pton(AF_INET6, result.host.c_str(), &parsed) != 1) return fail("invalid IPv6 address");
    if (close + 1 != text.size()) {
      if (text[close + 1] != ':') return fail("invalid host");
      port = text.substr(close + 2);
      has_port = true;
    }
  } else {
    const auto colon = text.rfind(':');
    if (colon != text.npos) {
      port = text.substr(colon + 1);
      has_port = true;
    }
    result.host = text.substr(0, colon);
    if (!has_port && port_alone && text.find_first_not_of("0123456789") == text.npos) {
      result.host = "*";
      port = text;
      has_port = true;
    }
    if (text.find("://") != text.npos)
      return fail("invalid host", ": an address is HOST:PORT, without http://");
    if (result.host.find_first_of(":[]/?") != std::string::npos) return fail("invalid host");
  }
  if (result.host.empty()) return fail("no host");
  if (has_port) {
    result.port = parse_port(port);
    if (!result.port) return fail("invalid port", ": a port is 1 to 65535");
  }
  return result;
}

std::vector<wsproxy::address> resolve(std::string_view host, std::uint16_t port, const word& source,
                                      std::string_view of_what, diagnostics& report) {
  ::addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  const std::string name(host);
  ::in6_addr literal;
  // AI_ADDRCONFIG would hide ::1 on a machine without other IPv6 addresses.
  if (::inet_pton(AF_INET6, name.c_str(), &literal) == 1 || ::inet_pton(AF_INET, name.c_str(), &literal) == 1)
    hints.ai_flags = AI_NUMERICHOST;
  ::addrinfo* list = nullptr;
  const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    report.error(source.at, R"(host not found in {} "{}": {})", of_what, source.text, ::gai_strerror(error));
    return {};
  }
  const std::unique_ptr<::addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
  std::vector<wsproxy::address> result;
  for (const int family : {AF_INET, AF_INET6})
    for (const auto* one = list; one != nullptr; one = one->ai_next) {
      if (one->ai_family != family) continue;
      wsproxy::address at{wsproxy::address::family::ip, text_of(one->ai_addr), port};
      if (std::ranges::find(result, at) == result.end()) result.push_back(std::move(at));
    }
  return result;
}

}  // namespace wsproxy_gateway
