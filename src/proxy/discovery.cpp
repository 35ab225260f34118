#include <wsproxy/proxy/discovery.hpp>

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <utility>

#include <asio/dispatch.hpp>
#include <asio/ip/tcp.hpp>

#include <fmt/format.h>

#include <wsproxy/proxy/detail/wakeable.hpp>

namespace wsproxy {

// ---- Lists and tunnels

backend_changes replace_backends(upstream to, std::vector<backend_options> list, const removal& then) {
  auto changes = to.set_backends(std::move(list));
  if (then.tunnels == removal::kind::keep || changes.removed.empty()) return changes;
  const auto is_gone = [&](const session_handle& session) {
    return std::ranges::find(changes.removed, session.backend()) != changes.removed.end();
  };
  for (const auto& each : then.sessions) {
    if (then.tunnels == removal::kind::drain) each.drain_if(is_gone, then.how);
    else each.close_if(is_gone, then.how.code, then.how.reason);
  }
  return changes;
}

class follower::state {
 public:
  state(upstream to, follow_options with) : to_(std::move(to)), options_(std::move(with)) {}

  void found(std::vector<backend_options> list) {
    const std::lock_guard lock(mutex_);
    if (ended_ || list == last_) return;  // sources repeat themselves
    try {
      const auto changes = replace_backends(to_, list, options_.removed);
      last_ = std::move(list);
      if (options_.on_change) options_.on_change(changes);
    } catch (const std::invalid_argument& refused) {
      if (options_.on_failure) options_.on_failure(refused.what());
    }
  }
  void failed(std::string_view why) {
    const std::lock_guard lock(mutex_);
    if (!ended_ && options_.on_failure) options_.on_failure(why);
  }
  void end() noexcept {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }

 private:
  std::recursive_mutex mutex_;  // a callback may end the follower
  const upstream to_;
  const follow_options options_;
  std::vector<backend_options> last_;
  bool ended_ = false;
};

follower::follower(upstream to, std::unique_ptr<discovery> from, follow_options options)
    : state_(std::make_shared<state>(std::move(to), std::move(options))), source_(std::move(from)) {
  if (!source_) throw std::invalid_argument("follower: there is no source");
  source_->start({.found =
                      [weak = std::weak_ptr(state_)](std::vector<backend_options> list) {
                        if (const auto alive = weak.lock()) alive->found(std::move(list));
                      },
                  .failed =
                      [weak = std::weak_ptr(state_)](std::string_view why) {
                        if (const auto alive = weak.lock()) alive->failed(why);
                      }});
}

follower& follower::operator=(follower&& other) noexcept {
  if (this == &other) return *this;
  end();
  state_ = std::move(other.state_);
  source_ = std::move(other.source_);
  return *this;
}

follower::~follower() { end(); }

void follower::end() noexcept {
  source_.reset();
  if (state_) std::exchange(state_, nullptr)->end();
}

// ---- Names

namespace {

using addresses = std::vector<asio::ip::address>;

/// Asio's resolver asks on a thread of its own.
lookup system_lookup(const asio::any_io_executor& executor) {
  using resolver = asio::ip::tcp::resolver;
  return [asking = std::make_shared<resolver>(executor)](const std::string& host, auto done) {
    asking->async_resolve(
        host, std::string(), resolver::address_configured,
        [done = std::move(done)](std::error_code error, const resolver::results_type& found) {
          addresses all;
          for (const auto& each : found) all.push_back(each.endpoint().address());
          done(error, std::move(all));
        });
  };
}

}  // namespace

class resolving::state final : public detail::wakeable {
 public:
  state(const asio::any_io_executor& executor, std::vector<backend_options> names, resolving_options with)
      : wakeable(executor, with.world), options_(std::move(with)) {
    for (auto& options : names) {
      if (options.at.host.empty()) options.at = address::parse(options.name);
      entries_.push_back({std::move(options)});
    }
    lookup_ = options_.lookup ? options_.lookup : system_lookup(strand());
  }

  void start(sink to) {
    asio::dispatch(strand(), [self = self(), to = std::move(to)]() mutable {
      if (self->stopped()) return;
      self->to_ = std::move(to);
      self->on_wake();
      self->publish();
    });
  }

  static void stop(std::shared_ptr<state> which) {
    const auto on = which->strand();
    asio::dispatch(on, [which = std::move(which)] { which->stop_waking(); });
  }

 private:
  struct entry {
    backend_options options;
    addresses known{};  // the last good answer, sorted
    time_point due{};
    bool asking = false;
    bool is_name() const noexcept { return options.at.kind == address::family::name; }
  };

  std::shared_ptr<state> self() { return std::static_pointer_cast<state>(shared_from_this()); }

  void on_wake() override {
    const auto time = now();
    for (std::size_t i = 0; i != entries_.size(); ++i) {
      auto& each = entries_[i];
      if (!each.is_name() || each.asking) continue;
      if (each.due <= time) ask(i);
      else wake_at(each.due);
    }
  }

  void ask(std::size_t index) {
    entries_[index].asking = true;
    lookup_(entries_[index].options.at.host, [weak = std::weak_ptr<state>(self()), on = strand(), index](
                                                 std::error_code error, addresses found) {
      if (weak.expired()) return;
      asio::dispatch(on, [weak, index, error, found = std::move(found)]() mutable {
        if (const auto alive = weak.lock()) alive->on_answer(index, error, std::move(found));
      });
    });
  }

  void on_answer(std::size_t index, std::error_code error, addresses found) {
    auto& which = entries_[index];
    if (stopped() || !std::exchange(which.asking, false)) return;
    const auto pause = options_.interval * (1 + options_.jitter * (2 * chance() - 1));
    which.due = now() + std::chrono::duration_cast<duration>(pause);
    wake_at(which.due);
    std::erase_if(found, [this](const auto& each) { return each.is_v6() ? !options_.ipv6 : !options_.ipv4; });
    if (error || found.empty()) {
      if (to_.failed)
        to_.failed(
            fmt::format("{}: {}", which.options.at.host, error ? error.message() : "it has no address"));
      return;
    }
    // Name servers change the order from answer to answer, which is no change.
    std::ranges::sort(found);
    found.erase(std::unique(found.begin(), found.end()), found.end());
    if (found == which.known) return;
    which.known = std::move(found);
    publish();
  }

  void publish() const {
    std::vector<backend_options> list;
    for (const auto& each : entries_) {
      if (each.known.empty()) list.push_back(each.options);
      for (const auto& address : each.known) {
        auto& fresh = list.emplace_back(each.options);
        fresh.at = {address::family::ip, address.to_string(), each.options.at.port};
      }
    }
    to_.found(std::move(list));
  }

  const resolving_options options_;
  lookup lookup_;
  std::vector<entry> entries_;
  sink to_;
};

resolving::resolving(asio::any_io_executor executor, std::vector<backend_options> names,
                     resolving_options options) {
  if (options.interval <= duration::zero())
    throw std::invalid_argument("resolving_options::interval must be above zero");
  if (options.interval > longest_time)
    throw std::invalid_argument("resolving_options::interval must not be more than a century");
  if (!(options.jitter >= 0 && options.jitter <= 1))
    throw std::invalid_argument("resolving_options::jitter must be between 0 and 1");
  state_ = std::make_shared<state>(executor, std::move(names), std::move(options));
}

resolving::~resolving() { state::stop(std::move(state_)); }

void resolving::start(sink to) { state_->start(std::move(to)); }

}  // namespace wsproxy
