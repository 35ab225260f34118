#include <wsproxy/upstream/round_robin.hpp>

namespace wsproxy {
namespace {

class smooth_round_robin final : public balancer {
 public:
  std::optional<std::size_t> pick(pick_request& request) override {
    return detail::round_robin_step(request);
  }
};

}  // namespace

std::shared_ptr<balancer> round_robin() { return std::make_shared<smooth_round_robin>(); }

}  // namespace wsproxy
