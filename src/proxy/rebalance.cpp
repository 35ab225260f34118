#include <wsproxy/proxy/rebalance.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <asio/dispatch.hpp>

#include <wsproxy/proxy/detail/wakeable.hpp>

namespace wsproxy {

class rebalancing::state final : public detail::wakeable {
 public:
  state(const asio::any_io_executor& executor, upstream of, std::vector<session_registry> sessions,
        rebalancing_options with)
      : wakeable(executor, with.world),
        of_(std::move(of)),
        sessions_(std::move(sessions)),
        options_(std::move(with)),
        machine_(options_.how) {}

  void start() {
    asio::dispatch(strand(), [self = std::static_pointer_cast<state>(shared_from_this())] {
      if (!self->stopped()) self->on_wake();
    });
  }
  static void stop(std::shared_ptr<state> which) {
    const auto on = which->strand();
    asio::dispatch(on, [which = std::move(which)] { which->stop_waking(); });
  }

 private:
  void on_wake() override {
    const auto time = now();
    std::erase_if(leaving_, [](const session_handle& each) { return !each.alive(); });
    std::vector<rebalancer::load> loads;
    for (const auto& each : of_.status(time))
      loads.push_back({each.which, staying(each.which), static_cast<double>(each.options.weight),
                       each.climbed, each.in_service});
    wake_at(time + options_.every);
    for (const auto& each : machine_.tick(loads, time)) {
      move(each);
      if (stopped()) return;
    }
  }

  /// Its tunnels, less those that were told to go. Plain requests under way are counted too: they are few and
  /// short.
  std::uint32_t staying(const std::shared_ptr<const backend>& which) const {
    const auto left =
        std::ranges::count(leaving_, which, [](const session_handle& each) { return each.backend(); });
    const auto all = which->active();
    return all - std::min(all, static_cast<std::uint32_t>(left));
  }

  void move(const rebalancer::move& wanted) {
    auto left = wanted.tunnels;
    for (const auto& registry : sessions_)
      for (const auto& each : registry.sessions()) {
        if (left == 0) break;
        if (each.backend() != wanted.from || is_leaving(each)) continue;
        each.drain(options_.close);
        leaving_.push_back(each);
        --left;
      }
    if (options_.on_move && left != wanted.tunnels) options_.on_move({wanted.from, wanted.tunnels - left});
  }

  bool is_leaving(const session_handle& which) const {
    return std::ranges::any_of(leaving_, [&](const session_handle& each) { return each.id() == which.id(); });
  }

  upstream of_;
  const std::vector<session_registry> sessions_;
  const rebalancing_options options_;
  rebalancer machine_;
  std::vector<session_handle> leaving_;
};

rebalancing::rebalancing(asio::any_io_executor executor, upstream of, std::vector<session_registry> sessions,
                         rebalancing_options options) {
  if (options.every <= duration::zero())
    throw std::invalid_argument("rebalancing_options::every must be above zero");
  if (options.every > longest_time)
    throw std::invalid_argument("rebalancing_options::every must not be more than a century");
  state_ = std::make_shared<state>(executor, std::move(of), std::move(sessions), std::move(options));
  state_->start();
}

rebalancing& rebalancing::operator=(rebalancing&& other) noexcept {
  if (this == &other) return *this;
  end();
  state_ = std::move(other.state_);
  return *this;
}

rebalancing::~rebalancing() { end(); }

void rebalancing::end() noexcept {
  if (state_) state::stop(std::exchange(state_, nullptr));
}

}  // namespace wsproxy
