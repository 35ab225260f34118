#include <wsproxy/proxy/health_check.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <asio/dispatch.hpp>

#include <fmt/format.h>

#include <wsproxy/proxy/detail/health_plan.hpp>
#include <wsproxy/proxy/detail/wakeable.hpp>

namespace wsproxy {
namespace {

void validate(const health_check_options& options) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(fmt::format("health_check_options::{}", what));
  };
  validate(options.probe);
  require(options.interval > duration::zero(), "interval must be above zero");
  require(options.interval <= longest_time, "interval must not be more than a century");
  require(options.jitter >= 0 && options.jitter <= 1, "jitter must be between 0 and 1");
  require(options.rise > 0, "rise must be above zero");
  require(options.fall > 0, "fall must be above zero");
}

bool is_address(const std::string& name) {
  try {
    return address::parse(name).kind != address::family::unix_socket;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

}  // namespace

class health_checker::state final : public detail::wakeable {
 public:
  state(const asio::any_io_executor& executor, upstream of, prober probe, health_check_options with)
      : wakeable(executor, with.world),
        backends_(std::move(of)),
        probe_(std::move(probe)),
        options_(std::move(with)),
        plan_({options_.interval, options_.jitter, options_.rise, options_.fall}) {}

  void start() {
    asio::dispatch(strand(), [self = self()] {
      if (!self->stopped()) self->on_wake();
    });
  }

  static void stop(std::shared_ptr<state> which) {
    const auto on = which->strand();
    asio::dispatch(on, [which = std::move(which)] {
      if (!which->stop_waking()) return;
      for (const auto& each : which->running_) each->stop.emit(asio::cancellation_type::terminal);
      for (const auto& each : which->plan_.unhealthy()) which->backends_.set_healthy(*each, true);
    });
  }

 private:
  struct running {
    explicit running(std::shared_ptr<backend> of) : which(std::move(of)) {}
    std::shared_ptr<backend> which;
    asio::cancellation_signal stop{};
  };

  std::shared_ptr<state> self() { return std::static_pointer_cast<state>(shared_from_this()); }

  void on_wake() override {
    const auto time = now();
    plan_.set_backends(backends_.backends(), time);
    for (const auto& each : running_)
      if (!plan_.is_known(*each->which)) each->stop.emit(asio::cancellation_type::terminal);
    while (auto due = plan_.take_due(time)) begin(std::move(due));
    wake_at(std::min(plan_.next(),
                     time + options_.interval));  // at least once per interval the list is looked at
  }

  void begin(std::shared_ptr<backend> which) {
    auto how = options_.probe;
    if (how.host.empty() && is_address(which->name())) how.host = which->name();
    auto& fresh = running_.emplace_back(std::make_shared<running>(std::move(which)));
    probe_(strand(), fresh->which->address(), how, fresh->stop.slot(),
           [weak = std::weak_ptr<state>(self()), probe = fresh](const probe_result& result) {
             if (const auto alive = weak.lock()) alive->on_answer(probe, result);
           });
  }

  void on_answer(const std::shared_ptr<running>& probe, const probe_result& result) {
    std::erase(running_, probe);
    if (stopped()) return;
    const auto& which = probe->which;
    if (plan_.told(*which, !result.error, now(), chance())) {
      const bool healthy = plan_.is_healthy(*which);
      backends_.set_healthy(*which, healthy);
      if (options_.on_change) options_.on_change({which, healthy, result});
    }
    wake_at(plan_.next());
  }

  upstream backends_;
  const prober probe_;
  const health_check_options options_;
  detail::health_plan plan_;
  std::vector<std::shared_ptr<running>> running_;
};

health_checker::health_checker(asio::any_io_executor executor, upstream backends, prober probe,
                               health_check_options options) {
  validate(options);
  state_ = std::make_shared<state>(executor, std::move(backends), std::move(probe), std::move(options));
  state_->start();
}

health_checker& health_checker::operator=(health_checker&& other) noexcept {
  if (this == &other) return *this;
  stop();
  state_ = std::move(other.state_);
  return *this;
}

health_checker::~health_checker() { stop(); }

void health_checker::stop() noexcept {
  if (state_) state::stop(std::exchange(state_, nullptr));
}

}  // namespace wsproxy
