#include <wsproxy/http/rewrite.hpp>

#include <algorithm>

#include "characters.hpp"
#include "hop_by_hop.hpp"
#include "target.hpp"

namespace wsproxy {
namespace {

bool is_hop_by_hop(std::string_view name) noexcept {
  static constexpr std::string_view names[] = {"Connection", "Proxy-Connection",  "Keep-Alive",
                                               "TE",         "Transfer-Encoding", "Upgrade"};
  return std::any_of(std::begin(names), std::end(names),
                     [name](std::string_view each) { return iequals(each, name); });
}

// What routing and the handshake rest on: no client may have it deleted.
bool is_protected(std::string_view name) noexcept {
  static constexpr std::string_view names[] = {"Host",          "Content-Length", "Content-Type",
                                               "Authorization", "Cookie",         "Origin"};
  static constexpr std::string_view handshake = "Sec-WebSocket-";
  return iequals(name.substr(0, handshake.size()), handshake) ||
         std::any_of(std::begin(names), std::end(names),
                     [name](std::string_view each) { return iequals(each, name); });
}

bool less_without_case(std::string_view a, std::string_view b) noexcept {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return characters::lower(x) < characters::lower(y);
  });
}

}  // namespace

// Sorted, because a head may nominate as many names as it has fields. `close`, `keep-alive` and `upgrade`,
// which name no other field, are left out: a usual head allocates nothing here.
hop_by_hop_fields::hop_by_hop_fields(const fields& of) {
  for (const auto& line : of) {
    if (!iequals(line.name, "Connection")) continue;
    for_each_element(line.value, [&](std::string_view name) {
      if (!iequals(name, "close") && !is_hop_by_hop(name) && !is_protected(name)) nominated_.push_back(name);
      return true;
    });
  }
  std::sort(nominated_.begin(), nominated_.end(), less_without_case);
}

bool hop_by_hop_fields::has(std::string_view name) const noexcept {
  return is_hop_by_hop(name) ||
         std::binary_search(nominated_.begin(), nominated_.end(), name, less_without_case);
}

void strip_hop_by_hop(fields& lines) {
  const hop_by_hop_fields dropped(lines);
  lines.erase_if([&](const field& line) { return dropped.has(line.name); });
}

std::string append_forwarded_for(const fields& lines, std::string_view client) {
  auto all = lines.joined("X-Forwarded-For");
  if (lines.find("X-Forwarded-For")) all += ", ";
  return all.append(client);
}

std::string request_host(const request_head& head) {
  const auto absolute = split_absolute(head.target);
  std::string host(host_of(absolute ? absolute->authority : head.fields.value_or_empty("Host")));
  std::transform(host.begin(), host.end(), host.begin(), characters::lower);
  return host;
}

}  // namespace wsproxy
