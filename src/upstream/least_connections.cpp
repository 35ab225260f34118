#include <wsproxy/upstream/least_connections.hpp>

#include <compare>
#include <cstdint>
#include <vector>

#include <wsproxy/upstream/round_robin.hpp>

namespace wsproxy {
namespace {

/// Leases per weight, compared without division.
struct load {
  std::uint64_t active, weight;
  std::strong_ordering operator<=>(const load& other) const noexcept {
    return active * other.weight <=> other.active * weight;
  }
};

class least_active final : public balancer {
 public:
  std::optional<std::size_t> pick(pick_request& request) override {
    least_.clear();
    load lowest{0, 1};
    for (const auto i : request.usable()) {
      // Read once: leases die on other threads meanwhile.
      const load own{request.at(i).active(), static_cast<std::uint64_t>(request.weight_now(i))};
      if (!least_.empty() && own > lowest) continue;
      if (least_.empty() || own < lowest) {
        least_.clear();
        lowest = own;
      }
      least_.push_back(i);
    }
    if (least_.size() == 1) return least_.front();
    return detail::smooth_step(request, least_);
  }

 private:
  std::vector<std::size_t> least_;  // kept for its memory only
};

}  // namespace

std::shared_ptr<balancer> least_connections() { return std::make_shared<least_active>(); }

}  // namespace wsproxy
