#include <wsproxy/upstream/upstream.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include <wsproxy/upstream/round_robin.hpp>

namespace wsproxy {
namespace detail {

using entries = std::vector<pick_request::entry>;

namespace {

[[noreturn]] void refuse(const backend_options& options, std::string_view why) {
  throw std::invalid_argument(fmt::format(R"(backend "{}": {})", options.name, why));
}

/// An entry with a backend of its own; throws std::invalid_argument.
pick_request::entry make_entry(backend_options options) {
  if (options.name.empty()) throw std::invalid_argument("a backend has no name");
  if (options.at.host.empty()) options.at = address::parse(options.name);
  if (options.at.kind != address::family::unix_socket && options.at.port == 0)
    refuse(options, "port 0 cannot be connected to");
  if (options.weight == 0) refuse(options, "weight is 0");
  if (options.fail_timeout < std::chrono::seconds::zero()) refuse(options, "fail_timeout is negative");
  if (options.fail_timeout > std::chrono::duration_cast<std::chrono::seconds>(longest_time))
    refuse(options, "fail_timeout is more than a century");
  if (options.slow_start < duration::zero()) refuse(options, "slow_start is negative");
  if (options.slow_start > longest_time) refuse(options, "slow_start is more than a century");
  health fresh(options);
  auto which = std::make_shared<backend>(options.name, options.at);
  return {std::move(which), std::move(options), fresh};
}

bool in_service(const pick_request::entry& entry) noexcept {
  return !entry.options.down && !entry.options.draining && entry.state.proven(entry.options);
}

}  // namespace

/// A backend list in its two tiers.
struct backend_list {
  entries primaries, backups;

  backend_list() = default;
  backend_list(std::vector<backend_options> all, const balancer& method) {
    for (auto& options : all) {
      if (options.backup && !method.allows_backups())
        refuse(options, "the balancing method does not support backups");
      if (options.slow_start != duration::zero() && !method.allows_slow_start())
        refuse(options, "the balancing method does not support slow_start");
      auto& tier = options.backup ? backups : primaries;
      tier.push_back(make_entry(std::move(options)));
    }
    if (primaries.empty()) throw std::invalid_argument("no backends");
  }

  /// nginx's special case: with nothing to turn to, failures take nothing out.
  bool single() const noexcept { return primaries.size() == 1 && backups.empty(); }

  template <class Visit> void for_each(Visit visit) {
    for (auto& entry : primaries) visit(entry);
    for (auto& entry : backups) visit(entry);
  }

  /// A lease's backend, if it is still on the list.
  pick_request::entry* find(const backend& which) noexcept {
    const auto slot = which.slot_;
    auto& tier = slot < primaries.size() ? primaries : backups;
    const auto index = slot < primaries.size() ? slot : slot - primaries.size();
    return index < tier.size() && tier[index].which.get() == &which ? &tier[index] : nullptr;
  }

  /// Takes over the objects and health of the backends that both lists have. Each is taken once, so that
  /// a backend listed twice stays two.
  backend_changes inherit_from(backend_list& old) {
    backend_changes changes;
    std::unordered_multimap<std::string_view, pick_request::entry*> left;
    old.for_each([&](auto& entry) { left.emplace(entry.options.name, &entry); });
    const bool is_first = left.empty();
    for_each([&](auto& entry) {
      const auto [first, last] = left.equal_range(entry.options.name);
      const auto same = std::find_if(first, last, [&](const auto& candidate) {
        return candidate.second->options.at == entry.options.at;
      });
      if (same == last) {
        if (!is_first) entry.state.climb(entry.options);
        changes.added.push_back(entry.which);
      } else {
        inherit(entry, *same->second);
        left.erase(same);
        changes.kept.push_back(entry.which);
      }
    });
    old.for_each([&](auto& entry) {
      if (std::ranges::find(changes.kept, entry.which) == changes.kept.end())
        changes.removed.push_back(entry.which);
    });
    if (single()) primaries.front().state.fails = 0;
    std::size_t slot = 0;
    for_each([&](auto& entry) { entry.which->slot_ = slot++; });
    return changes;
  }

 private:
  static void inherit(pick_request::entry& entry, const pick_request::entry& old) {
    const health fresh = entry.state;
    const auto idle = [](const auto& options) { return options.down || options.draining; };
    entry.which = old.which;
    entry.state = old.state;
    if (idle(old.options) && !idle(entry.options)) entry.state.climb(entry.options);
    if (entry.options.weight == old.options.weight) return;
    entry.state.current_weight = fresh.current_weight;
    entry.state.effective_weight = fresh.effective_weight;
  }
};

struct upstream_state {
  upstream_state(std::string called, std::shared_ptr<balancer> chosen, const upstream_options& chosen_options)
      : name(std::move(called)), method(std::move(chosen)) {
    configure(chosen_options);
  }

  const std::string name;
  const std::shared_ptr<balancer> method;
  std::atomic<std::uint32_t> active{0};  // leases; raised only under the mutex
  std::mutex editing;                    // held over the change of a list, before the other one
  std::mutex mutex;                      // guards all below, and the method while it picks
  backend_list list;
  upstream_options options;
  retry_budget budget;

  /// The entry of the next attempt, or null.
  pick_request::entry* pick(const pick_for& what, pick_state& state, time_point now);
  template <class Edit> backend_changes edit(Edit edit);
  void configure(const upstream_options& next);
  /// Tells a backend's health, if it is on the list.
  template <class Tell> bool tell(const backend& which, Tell tell_health);

 private:
  /// A tier's turn in a request. With try_failed there is a second turn for each.
  struct turn {
    entries& tier;
    std::uint64_t version;
    std::uint64_t weight_in_service;
    bool despite_failures;
  };
  turn turn_of(unsigned round) noexcept;
  void begin_round(pick_state& state, unsigned round) const noexcept;
  pick_request::entry* pick_from(const turn& now_is, const pick_for& what, pick_state& state, time_point now);
  void survey() noexcept;
  void start_climbing(time_point now) noexcept;

  std::uint64_t version_ = 0;                                // the primaries'; the backups' is one more
  std::uint64_t primaries_weight_ = 0, backups_weight_ = 0;  // of what is in service
  bool surveyed_ = false;
  bool some_will_climb_ = false;
};

void upstream_state::begin_round(pick_state& state, unsigned round) const noexcept {
  state.version = version_;
  state.round = round;
  state.hash = 0;
  state.tries = 0;
  state.steps = 0;
}

upstream_state::turn upstream_state::turn_of(unsigned round) noexcept {
  const bool despite_failures = round >= 2;
  if (round % 2 == 0) return {list.primaries, version_, primaries_weight_, despite_failures};
  return {list.backups, version_ + 1, backups_weight_, despite_failures};
}

pick_request::entry* upstream_state::pick(const pick_for& what, pick_state& state, time_point now) {
  if (!surveyed_) survey();
  if (some_will_climb_) start_climbing(now);
  if (state.version != version_) begin_round(state, 0);
  const unsigned rounds = options.try_failed ? 4 : 2;
  for (;;) {
    if (auto* chosen = pick_from(turn_of(state.round), what, state, now)) {
      budget.count_attempt(!state.tried.empty(), now);
      state.tried.push_back(chosen->which);
      chosen->state.picked(chosen->options, now);
      return chosen;
    }
    if (state.round + 1 >= rounds) return nullptr;
    begin_round(state, state.round + 1);
  }
}

pick_request::entry* upstream_state::pick_from(const turn& now_is, const pick_for& what, pick_state& state,
                                               time_point now) {
  auto& tier = now_is.tier;
  if (tier.empty()) return nullptr;
  pick_request request(tier, state, now, now_is.version, what.random);
  request.head = what.head;
  request.client = what.client;
  request.hash_key = what.hash_key;
  request.active = active.load(std::memory_order_relaxed);
  request.weight = now_is.weight_in_service;
  request.despite_failures = now_is.despite_failures;
  const auto chosen = method->pick(request);
  if (!chosen || *chosen >= tier.size() || !request.usable(*chosen)) return nullptr;
  return &tier[*chosen];
}

/// What stays as it is from one pick to the next, until a health is told or the list changes.
void upstream_state::survey() noexcept {
  primaries_weight_ = backups_weight_ = 0;
  some_will_climb_ = false;
  const auto add = [&](entries& tier, std::uint64_t& weight) {
    for (const auto& entry : tier) {
      if (in_service(entry)) weight += entry.options.weight;
      some_will_climb_ |= entry.state.climbs_since == time_point::max();
    }
  };
  add(list.primaries, primaries_weight_);
  add(list.backups, backups_weight_);
  surveyed_ = true;
}

void upstream_state::start_climbing(time_point now) noexcept {
  list.for_each([&](auto& entry) {
    if (entry.state.climbs_since == time_point::max()) entry.state.climbs_since = now;
  });
  some_will_climb_ = false;
}

template <class Tell> bool upstream_state::tell(const backend& which, Tell tell_health) {
  auto* entry = list.find(which);
  if (entry == nullptr) return false;
  tell_health(entry->state, entry->options);
  surveyed_ = false;
  return true;
}

template <class Edit> backend_changes upstream_state::edit(Edit edit) try {
  const std::lock_guard alone(editing);
  backend_list next(edit(), *method);
  const std::lock_guard lock(mutex);
  auto changes = next.inherit_from(list);
  std::swap(next, list);
  version_ += 2;
  surveyed_ = false;
  return changes;
} catch (const std::invalid_argument& error) {
  if (name.empty()) throw std::invalid_argument(fmt::format("upstream: {}", error.what()));
  throw std::invalid_argument(fmt::format(R"(upstream "{}": {})", name, error.what()));
}

void upstream_state::configure(const upstream_options& next) {
  if (next.early_death < duration::zero())
    throw std::invalid_argument("upstream_options: early_death is negative");
  if (next.early_death > longest_time)
    throw std::invalid_argument("upstream_options: early_death is more than a century");
  retry_budget fresh(next.retry_budget);
  const std::lock_guard lock(mutex);
  if (next.retry_budget != options.retry_budget) budget = fresh;
  options = next;
}

}  // namespace detail

lease::lease(std::shared_ptr<detail::upstream_state> from, std::shared_ptr<wsproxy::backend> which)
    : from_(std::move(from)), backend_(std::move(which)) {
  backend_->active_.fetch_add(1, std::memory_order_relaxed);
  backend_->picked_.fetch_add(1, std::memory_order_relaxed);
  from_->active.fetch_add(1, std::memory_order_relaxed);
}

lease& lease::operator=(lease&& other) noexcept {
  if (this == &other) return *this;
  release();
  from_ = std::move(other.from_);
  backend_ = std::move(other.backend_);
  refused_ = other.refused_;
  succeeded_ = other.succeeded_;
  outcome_ = other.outcome_;
  return *this;
}

lease::~lease() { release(); }

void lease::release() noexcept {
  if (!backend_) return;
  backend_->active_.fetch_sub(1, std::memory_order_relaxed);
  from_->active.fetch_sub(1, std::memory_order_relaxed);
}

void lease::succeeded(time_point now) {
  if (!backend_ || outcome_ != outcome::open) return;
  outcome_ = outcome::succeeded;
  succeeded_ = now;
  const std::lock_guard lock(from_->mutex);
  from_->tell(*backend_,
              [&](health& state, const backend_options& options) { state.succeeded(options, now); });
}

void lease::failed(time_point now) {
  if (!backend_ || outcome_ != outcome::open) return;
  const std::lock_guard lock(from_->mutex);
  count_failure(now);
}

void lease::died(time_point now) {
  if (!backend_ || outcome_ != outcome::succeeded) return;
  const std::lock_guard lock(from_->mutex);
  if (now - succeeded_ < from_->options.early_death) count_failure(now);
  outcome_ = outcome::told;
}

/// Under the upstream's lock.
void lease::count_failure(time_point now) {
  outcome_ = outcome::told;
  backend_->failed_.fetch_add(1, std::memory_order_relaxed);
  // The list may have been replaced since the pick: what counts is what it says now.
  if (from_->list.single()) return;
  from_->tell(*backend_, [&](health& state, const backend_options& options) { state.failed(options, now); });
}

upstream::upstream(std::vector<backend_options> backends, std::shared_ptr<balancer> method, std::string name,
                   const upstream_options& options)
    : state_(std::make_shared<detail::upstream_state>(std::move(name),
                                                      method ? std::move(method) : round_robin(), options)) {
  set_backends(std::move(backends));
}

const std::string& upstream::name() const noexcept { return state_->name; }

lease upstream::pick(const pick_for& what, pick_state& state, time_point now) const {
  const std::lock_guard lock(state_->mutex);
  const auto most = state_->options.max_tunnels;
  if (most != 0 && active() >= most) return lease(errc::tunnel_limit);
  const auto* chosen = state_->pick(what, state, now);
  return chosen != nullptr ? lease(state_, chosen->which) : lease(errc::no_backend);
}

backend_changes upstream::set_backends(std::vector<backend_options> backends) {
  return state_->edit([&] { return std::move(backends); });
}

backend_changes upstream::edit_backends(const std::function<void(std::vector<backend_options>&)>& edit) {
  return state_->edit([&] {
    std::vector<backend_options> all;
    {
      const std::lock_guard lock(state_->mutex);
      state_->list.for_each([&](const auto& entry) { all.push_back(entry.options); });
    }
    edit(all);
    return all;
  });
}

void upstream::set_options(const upstream_options& options) { state_->configure(options); }

bool upstream::set_healthy(const backend& which, bool healthy) {
  const std::lock_guard lock(state_->mutex);
  bool news = false;
  state_->tell(which, [&](health& state, const backend_options& options) {
    news = state.checks_pass != healthy;
    state.found(options, healthy);
  });
  return news;
}

std::vector<std::shared_ptr<backend>> upstream::backends() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<std::shared_ptr<backend>> all;
  state_->list.for_each([&](const auto& entry) { all.push_back(entry.which); });
  return all;
}

std::vector<backend_status> upstream::status(time_point now) const {
  const std::lock_guard lock(state_->mutex);
  std::vector<backend_status> all;
  state_->list.for_each([&](const auto& entry) {
    const auto climbed = static_cast<double>(entry.state.climbed(entry.options, now)) / health::whole;
    all.push_back({entry.which, entry.options, detail::in_service(entry), entry.state.checks_pass,
                   entry.state.fails, climbed});
  });
  return all;
}

std::uint32_t upstream::active() const noexcept { return state_->active.load(std::memory_order_relaxed); }

std::size_t upstream::tries() const {
  const std::lock_guard lock(state_->mutex);
  std::size_t usable = 0;
  state_->list.for_each(
      [&](const auto& entry) { usable += entry.options.down || entry.options.draining ? 0 : 1; });
  return usable;
}

bool upstream::allows_retry(time_point now) const {
  const std::lock_guard lock(state_->mutex);
  return state_->budget.allows_retry(now);
}

}  // namespace wsproxy
