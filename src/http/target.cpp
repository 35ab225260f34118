#include "target.hpp"

#include <algorithm>

#include "characters.hpp"

namespace wsproxy {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

bool is_letter(char c) noexcept {
  const char small = characters::lower(c);
  return small >= 'a' && small <= 'z';
}

// reg-name of RFC 3986 section 3.2.2, percent-encoding as single characters.
bool is_reg_name_character(char c) noexcept {
  return is_letter(c) || is_digit(c) ||
         std::string_view("-._~%!$&'()*+,;=").find(c) != std::string_view::npos;
}

// The characters of an IP-literal; their order is left to whoever resolves it.
bool is_literal_character(char c) noexcept { return is_letter(c) || is_digit(c) || c == ':' || c == '.'; }

std::size_t host_size(std::string_view authority) noexcept {
  if (!authority.empty() && authority.front() == '[') {
    const auto bracket = authority.find(']');
    return bracket == std::string_view::npos ? authority.size() : bracket + 1;
  }
  return std::min(authority.find(':'), authority.size());
}

bool is_host(std::string_view host) noexcept {
  if (host.empty() || host == "." || host.find("..") != std::string_view::npos) return false;
  if (host.front() != '[') return std::all_of(host.begin(), host.end(), is_reg_name_character);
  if (host.size() < 4 || host.back() != ']') return false;
  return std::all_of(host.begin() + 1, host.end() - 1, is_literal_character);
}

bool is_port(std::string_view port) noexcept {  // with its colon; RFC 3986 allows it to be empty
  return port.empty() || (port.front() == ':' && std::all_of(port.begin() + 1, port.end(), is_digit));
}

}  // namespace

std::optional<absolute_target> split_absolute(std::string_view target) noexcept {
  const auto mark = target.find("://");
  if (mark == 0 || mark == std::string_view::npos) return std::nullopt;
  if (!std::all_of(target.begin(), target.begin() + static_cast<std::ptrdiff_t>(mark), is_letter))
    return std::nullopt;
  const auto scheme = target.substr(0, mark);
  target.remove_prefix(mark + 3);
  const auto end = std::min(target.find_first_of("/?#"), target.size());
  return absolute_target{scheme, target.substr(0, end), target.substr(end)};
}

std::string_view host_of(std::string_view authority) noexcept {
  auto host = authority.substr(0, host_size(authority));
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  return host;
}

bool is_authority(std::string_view authority) noexcept {
  const auto size = host_size(authority);
  return is_host(authority.substr(0, size)) && is_port(authority.substr(size));
}

}  // namespace wsproxy
