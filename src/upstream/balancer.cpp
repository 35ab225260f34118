#include <wsproxy/upstream/balancer.hpp>

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

std::shared_ptr<balancer> make_balancer(std::function<std::optional<std::size_t>(pick_request&)> pick) {
  if (!pick) throw std::invalid_argument("make_balancer: no function");
  return std::make_shared<function_balancer>(std::move(pick));
}

}  // namespace wsproxy
