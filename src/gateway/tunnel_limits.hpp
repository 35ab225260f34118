// How many tunnels a gateway has, and how many it may have. Private to the gateway.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>

namespace wsproxy::detail {

/// Counts the tunnels, and the handshakes that may become one. On the gateway's executor.
class tunnel_limits {
 public:
  /// Zero: unlimited.
  tunnel_limits(std::size_t most, std::size_t most_per_client)
      : most_(most), most_per_client_(most_per_client) {}

  bool set() const noexcept { return most_ != 0 || most_per_client_ != 0; }
  /// False if one limit is reached; else it counts until leave().
  bool enter(const std::string& client) {
    if (most_ != 0 && all_ >= most_) return false;
    if (counts(client) && !enter_one(client)) return false;
    ++all_;
    return true;
  }
  void leave(const std::string& client) noexcept {
    --all_;
    if (!counts(client)) return;
    const auto one = by_client_.find(client);
    if (--one->second == 0) by_client_.erase(one);
  }

 private:
  bool counts(const std::string& client) const noexcept { return most_per_client_ != 0 && client != "unix:"; }
  bool enter_one(const std::string& client) {
    auto& count = by_client_[client];
    return count < most_per_client_ && ++count != 0;
  }

  const std::size_t most_, most_per_client_;
  std::size_t all_ = 0;
  std::unordered_map<std::string, std::size_t> by_client_;
};

}  // namespace wsproxy::detail
