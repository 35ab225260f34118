#include <wsproxy/upstream/upstream.hpp>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <wsproxy/upstream/round_robin.hpp>

namespace wsproxy {
namespace detail {
namespace {

using entries = std::vector<pick_request::entry>;

[[noreturn]] void refuse(const backend_options& options, std::string_view why) {
  throw std::invalid_argument("backend \"" + options.name + "\": " + std::string(why));
}

/// An entry with a backend of its own; throws std::invalid_argument.
pick_request::entry make_entry(backend_options options) {
  if (options.name.empty()) throw std::invalid_argument("a backend has no name");
  if (options.at.host.empty()) options.at = address::parse(options.name);
  if (options.at.kind != address::family::unix_socket && options.at.port == 0) refuse(options, "port 0 cannot be connected to");
  if (options.weight == 0) refuse(options, "weight is 0");
  if (options.fail_timeout < std::chrono::seconds::zero()) refuse(options, "fail_timeout is negative");
  health fresh(options);
  auto which = std::make_shared<backend>(options.name, options.at);
  return {std::move(which), std::move(options), fresh};
}

/// A backend list in its two tiers.
struct backend_list {
  entries primaries, backups;

  backend_list() = default;
  backend_list(std::vector<backend_options> all, const balancer& method) {
    for (auto& options : all) {
      if (options.backup && !method.allows_backups())
        refuse(options, "the balancing method does not support backups");
      auto& tier = options.backup ? backups : primaries;
      tier.push_back(make_entry(std::move(options)));
    }
    if (primaries.empty()) throw std::invalid_argument("no backends");
  }

  /// nginx's special case: with nothing to turn to, failures take nothing out.
  bool single() const noexcept { return primaries.size() == 1 && backups.empty(); }

  template <class Visit>
  void for_each(Visit visit) {
    for (auto& entry : primaries) visit(entry);
    for (auto& entry : backups) visit(entry);
  }

  pick_request::entry* find(const backend* which) noexcept {
    pick_request::entry* found = nullptr;
    for_each([&](auto& entry) {
      if (entry.which.get() == which) found = &entry;
    });
    return found;
  }

  /// Takes over the objects and health of the backends that both lists have. Each is taken once, so that
  /// a backend listed twice stays two.
  void inherit_from(backend_list& old) {
    std::unordered_multimap<std::string_view, pick_request::entry*> left;
    old.for_each([&](auto& entry) { left.emplace(entry.options.name, &entry); });
    for_each([&](auto& entry) {
      const auto [first, last] = left.equal_range(entry.options.name);
      const auto same = std::find_if(first, last, [&](const auto& candidate) {
        return candidate.second->options.at == entry.options.at;
      });
      if (same == last) return;
      inherit(entry, *same->second);
      left.erase(same);
    });
    if (single()) primaries.front().state.fails = 0;
  }

 private:
  static void inherit(pick_request::entry& entry, const pick_request::entry& old) {
    const health fresh = entry.state;
    entry.which = old.which;
    entry.state = old.state;
    if (entry.options.weight == old.options.weight) return;
    entry.state.current_weight = fresh.current_weight;
    entry.state.effective_weight = fresh.effective_weight;
  }
};

}  // namespace

struct upstream_state {
  upstream_state(std::string called, std::shared_ptr<balancer> chosen)
      : name(std::move(called)), method(std::move(chosen)) {}

  const std::string name;
  const std::shared_ptr<balancer> method;
  std::mutex mutex;  // guards all below, and the method while it picks
  backend_list list;
  std::uint64_t version = 0;  // the primaries'; the backups' is one more

  /// The entry of the next attempt, or null.
  pick_request::entry* pick(const pick_for& what, pick_state& state, time_point now);
  void replace(std::vector<backend_options> backends);

 private:
  pick_request::entry* pick_from(entries& tier, const pick_for& what, pick_state& state, time_point now);
  void begin_tier(pick_state& state, bool backups) const noexcept;
};

void upstream_state::begin_tier(pick_state& state, bool backups) const noexcept {
  state.version = version;
  state.on_backups = backups;
  state.hash = 0;
  state.tries = 0;
  state.steps = 0;
}

pick_request::entry* upstream_state::pick(const pick_for& what, pick_state& state, time_point now) {
  if (state.version != version) begin_tier(state, false);
  if (!state.on_backups) {
    if (auto* chosen = pick_from(list.primaries, what, state, now)) return chosen;
    if (list.backups.empty()) return nullptr;
    begin_tier(state, true);
  }
  return pick_from(list.backups, what, state, now);
}

pick_request::entry* upstream_state::pick_from(entries& tier, const pick_for& what, pick_state& state,
                                               time_point now) {
  pick_request request(tier, state, now, version + (state.on_backups ? 1 : 0), what.random);
  request.head = what.head;
  request.client = what.client;
  request.hash_key = what.hash_key;
  const auto chosen = method->pick(request);
  if (!chosen || *chosen >= tier.size() || !request.usable(*chosen)) return nullptr;
  auto& entry = tier[*chosen];
  state.tried.push_back(entry.which);
  entry.state.picked(entry.options, now);
  return &entry;
}

void upstream_state::replace(std::vector<backend_options> backends) try {
  backend_list next(std::move(backends), *method);
  const std::lock_guard lock(mutex);
  next.inherit_from(list);
  std::swap(next, list);
  version += 2;
} catch (const std::invalid_argument& error) {
  throw std::invalid_argument((name.empty() ? "upstream" : "upstream \"" + name + "\"") + (": " + std::string(error.what())));
}

}  // namespace detail

lease::lease(std::shared_ptr<detail::upstream_state> from, std::shared_ptr<wsproxy::backend> which)
    : from_(std::move(from)), backend_(std::move(which)) {
  backend_->active_.fetch_add(1, std::memory_order_relaxed);
  backend_->picked_.fetch_add(1, std::memory_order_relaxed);
}

lease& lease::operator=(lease&& other) noexcept {
  if (this == &other) return *this;
  release();
  from_ = std::move(other.from_);
  backend_ = std::move(other.backend_);
  told_ = other.told_;
  return *this;
}

lease::~lease() {
  release();
}

void lease::release() noexcept {
  if (backend_) backend_->active_.fetch_sub(1, std::memory_order_relaxed);
}

void lease::succeeded(time_point) {
  if (!backend_ || std::exchange(told_, true)) return;
  const std::lock_guard lock(from_->mutex);
  if (auto* entry = from_->list.find(backend_.get())) entry->state.succeeded();
}

void lease::failed(time_point now) {
  if (!backend_ || std::exchange(told_, true)) return;
  backend_->failed_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(from_->mutex);
  // The list may have been replaced since the pick: what counts is what it says now.
  if (from_->list.single()) return;
  if (auto* entry = from_->list.find(backend_.get())) entry->state.failed(entry->options, now);
}

upstream::upstream(std::vector<backend_options> backends, std::shared_ptr<balancer> method, std::string name)
    : state_(std::make_shared<detail::upstream_state>(std::move(name),
                                                      method ? std::move(method) : round_robin())) {
  state_->replace(std::move(backends));
}

const std::string& upstream::name() const noexcept {
  return state_->name;
}

lease upstream::pick(const pick_for& what, pick_state& state, time_point now) const {
  const std::lock_guard lock(state_->mutex);
  const auto* chosen = state_->pick(what, state, now);
  return chosen != nullptr ? lease(state_, chosen->which) : lease();
}

void upstream::set_backends(std::vector<backend_options> backends) {
  state_->replace(std::move(backends));
}

std::vector<std::shared_ptr<backend>> upstream::backends() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<std::shared_ptr<backend>> all;
  state_->list.for_each([&](const auto& entry) { all.push_back(entry.which); });
  return all;
}

std::size_t upstream::tries() const {
  const std::lock_guard lock(state_->mutex);
  std::size_t usable = 0;
  state_->list.for_each([&](const auto& entry) { usable += entry.options.down ? 0 : 1; });
  return usable;
}

}  // namespace wsproxy
