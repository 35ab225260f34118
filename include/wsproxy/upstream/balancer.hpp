// Which backend? The interface a balancing method implements.
//
// A balancer of your own in ten lines:
//
//   class first_usable : public wsproxy::balancer {
//     std::optional<std::size_t> pick(wsproxy::pick_request& request) override {
//       for (auto i : request.usable()) return i;
//       return std::nullopt;
//     }
//   };
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <wsproxy/export.hpp>
#include <wsproxy/http/message.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/upstream/backend.hpp>
#include <wsproxy/upstream/health.hpp>

namespace wsproxy {

/// What one request remembers over its attempts: which backends it has tried, and whatever a
/// method needs to go on where it stopped (nginx's ring walk). Lives as long as the request.
struct pick_state {
  /// Every backend this request was given, in order. Kept by the upstream.
  std::vector<std::shared_ptr<const backend>> tried;
  std::uint64_t version = 0;  ///< kept by the upstream: the list that all below belongs to
  unsigned round = 0;         ///< kept by the upstream: which tier's turn it is
  // The method's own. They start anew when the list changes and when another tier's turn comes.
  std::uint32_t hash = 0;  ///< where a method that hashes has come to
  unsigned tries = 0;      ///< how often it has tried
  unsigned steps = 0;      ///< 0 at a request's first pick
};

/// What a balancer sees. All backends of one tier (the primaries, or the backups), in configured order.
class pick_request {
 public:
  /// One backend of the tier.
  struct entry {
    std::shared_ptr<backend> which;  ///< the live object
    backend_options options;         ///< what is configured of it
    health state;                    ///< failures, and weights as they are now
  };

  /// For an upstream, and for whoever tests a method of his own. All that is referred to outlives it.
  pick_request(std::span<entry> tier, pick_state& memory, time_point at, std::uint64_t list_version,
               std::uint32_t fresh_random)
      : state(memory), now(at), version(list_version), random(fresh_random), all_(tier) {}

  const request_head* head = nullptr;  ///< may be null: a pick without a request
  std::string_view client;             ///< the client's address as text, without port
  std::string_view hash_key;           ///< what hash methods use
  pick_state& state;                   ///< what this request remembers
  const time_point now;                ///< the time of this pick: read no clock
  const std::uint64_t version;         ///< changes whenever the list does: rebuild what was derived from it
  const std::uint32_t random;          ///< a fresh random number
  std::uint32_t active = 0;  ///< leases alive of the whole upstream, those on backends that were removed too
  std::uint64_t weight =
      0;  ///< of all backends of this tier that are in service: not down, draining or failed
  bool despite_failures = false;  ///< failed backends are usable too: upstream_options::try_failed

  std::size_t size() const noexcept { return all_.size(); }  ///< backends of this tier
  const backend& at(std::size_t i) const noexcept {
    return *all_[i].which;
  }  ///< backend i, with its counters
  /// What is configured of backend i.
  const backend_options& options(std::size_t i) const noexcept { return all_[i].options; }
  /// The method's and health's numbers of backend i: current and effective weight.
  health& weights(std::size_t i) noexcept { return all_[i].state; }
  /// The weight of backend i now, in parts of health::whole: less than what is configured while slow_start
  /// lasts.
  std::int64_t weight_now(std::size_t i) const noexcept {
    return all_[i].options.weight * all_[i].state.climbed(all_[i].options, now);
  }
  /// Not tried by this request, not down, draining or failed, not at max_conns. All methods share this test.
  bool usable(std::size_t i) const noexcept {
    const auto& [which, options, health] = all_[i];
    if (options.down || options.draining) return false;
    if (!despite_failures && !health.available(options, now)) return false;
    if (options.max_conns != 0 && which->active() >= options.max_conns) return false;
    for (const auto& tried : state.tried)
      if (tried.get() == which.get()) return false;
    return true;
  }

  /// The indices of the usable ones, in order. A view: it asks usable(i) as it goes.
  class usable_range {
   public:
    /// A forward iterator.
    class iterator {
     public:
      using value_type = std::size_t;
      using difference_type = std::ptrdiff_t;
      iterator() = default;
      iterator(const pick_request* of, std::size_t at) : of_(of), at_(at) { skip(); }
      std::size_t operator*() const { return at_; }
      iterator& operator++() {
        ++at_;
        skip();
        return *this;
      }
      iterator operator++(int) {
        auto old = *this;
        ++*this;
        return old;
      }
      bool operator==(const iterator&) const = default;

     private:
      void skip() {
        while (at_ != of_->size() && !of_->usable(at_)) ++at_;
      }
      const pick_request* of_ = nullptr;
      std::size_t at_ = 0;
    };
    explicit usable_range(const pick_request* of) : of_(of) {}  ///< of this request
    iterator begin() const { return {of_, 0}; }                 ///< the first usable one
    iterator end() const { return {of_, of_->size()}; }         ///< behind the last
   private:
    const pick_request* of_;
  };
  /// The usable ones: `for (auto i : request.usable())`.
  usable_range usable() const noexcept { return usable_range(this); }

 private:
  std::span<entry> all_;
};

/// A balancing method. Called by its upstream under that upstream's lock: `pick` needs no lock of its
/// own, must not block, and must not call back into the upstream. If it throws, the exchange ends with
/// errc::bad_rewrite, a 500. One object serves one upstream.
class WSPROXY_EXPORT balancer {
 public:
  virtual ~balancer() = default;
  /// The index of the backend to use; it must be usable. Nothing (or an index that is not usable):
  /// no backend of this tier can be used.
  virtual std::optional<std::size_t> pick(pick_request&) = 0;
  /// False if the method cannot have backups (nginx refuses `backup` with hash, ip_hash and random).
  virtual bool allows_backups() const noexcept { return true; }
  /// False if it takes no notice of `pick_request::weight_now`; nginx refuses `slow_start` with the same
  /// methods.
  virtual bool allows_slow_start() const noexcept { return allows_backups(); }
};

/// A balancer from a function `optional<size_t>(pick_request&)`. Throws std::invalid_argument if it is empty.
WSPROXY_EXPORT std::shared_ptr<balancer> make_balancer(
    std::function<std::optional<std::size_t>(pick_request&)> pick);

}  // namespace wsproxy
