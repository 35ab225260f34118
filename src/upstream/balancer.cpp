#include <wsproxy/upstream/balancer.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace wsproxy {
namespace {

class function_balancer final : public balancer {
 public:
  using function = std::function<std::optional<std::size_t>(pick_request&)>;
  explicit function_balancer(function pick) : pick_(std::move(pick)) {}
  std::optional<std::size_t> pick(pick_request& request) override { return pick_(request); }

 private:
  function pick_;
};

}  // namespace

bool pick_request::usable(std::size_t i) const noexcept {
  const auto& [which, options, health] = all_[i];
  if (options.down || !health.available(options, now)) return false;
  if (options.max_conns != 0 && which->active() >= options.max_conns) return false;
  return std::none_of(state.tried.begin(), state.tried.end(),
                      [&](const auto& tried) { return tried.get() == which.get(); });
}

std::shared_ptr<balancer> make_balancer(std::function<std::optional<std::size_t>(pick_request&)> pick) {
  if (!pick) throw std::invalid_argument("make_balancer: no function");
  return std::make_shared<function_balancer>(std::move(pick));
}

}  // namespace wsproxy
