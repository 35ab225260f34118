#include <wsproxy/upstream/ip_hash.hpp>

#include <arpa/inet.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "drawing.hpp"

namespace wsproxy {
namespace {

/// The bytes of a client's address that count.
class address_bytes {
 public:
  explicit address_bytes(std::string_view client) {
    const std::string text(client.substr(0, client.find('%')));  // without an IPv6 zone
    if (::inet_pton(AF_INET6, text.c_str(), bytes_.data()) == 1) count_ = 16;
    else if (::inet_pton(AF_INET, text.c_str(), bytes_.data()) != 1) bytes_ = {};
  }
  std::span<const std::uint8_t> get() const noexcept { return std::span(bytes_).first(count_); }

 private:
  std::array<std::uint8_t, 16> bytes_{};
  std::size_t count_ = 3;
};

class by_address final : public balancer {
 public:
  std::optional<std::size_t> pick(pick_request& request) override {
    if (request.size() < 2) return detail::round_robin_step(request);
    ranges_.follow(request);
    const address_bytes address(request.client);
    return detail::draw_usable(request,
                               [&] { return ranges_.owner(next_hash(request.state, address.get())); });
  }
  bool allows_backups() const noexcept override { return false; }

 private:
  /// Each step hashes the address again, on top of the last step's hash.
  static std::uint32_t next_hash(pick_state& state, std::span<const std::uint8_t> address) {
    if (state.steps++ == 0) state.hash = 89;
    for (const auto byte : address) state.hash = (state.hash * 113 + byte) % 6271;
    return state.hash;
  }

  detail::weight_ranges ranges_;
};

}  // namespace

std::shared_ptr<balancer> ip_hash() { return std::make_shared<by_address>(); }

}  // namespace wsproxy
