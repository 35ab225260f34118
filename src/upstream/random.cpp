#include <wsproxy/upstream/random.hpp>

#include <cstdint>

#include "drawing.hpp"

namespace wsproxy {
namespace {

/// As many numbers as a pick needs, from its one (SplitMix64).
class sequence {
 public:
  explicit sequence(std::uint32_t seed) : state_(seed) {}
  std::uint64_t next() noexcept {
    auto z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

class any_of final : public balancer {
 public:
  std::optional<std::size_t> pick(pick_request& request) override {
    if (request.size() < 2) return detail::round_robin_step(request);
    ranges_.follow(request);
    sequence numbers(request.random);
    return detail::draw_usable(request, [&] { return ranges_.owner(numbers.next()); });
  }
  bool allows_backups() const noexcept override { return false; }

 private:
  detail::weight_ranges ranges_;
};

class better_of_two final : public balancer {
 public:
  std::optional<std::size_t> pick(pick_request& request) override {
    if (request.size() < 2) return detail::round_robin_step(request);
    ranges_.follow(request);
    sequence numbers(request.random);
    std::optional<std::size_t> first;
    for (auto& tries = request.state.tries; tries <= detail::most_tries;) {
      const auto drawn = ranges_.owner(numbers.next());
      if (drawn == first || !request.usable(drawn)) ++tries;
      else if (!first) first = drawn;
      else return better(request, *first, drawn);
    }
    return detail::round_robin_step(request);
  }
  bool allows_backups() const noexcept override { return false; }

 private:
  /// The later one if they are equal.
  static std::size_t better(const pick_request& request, std::size_t first, std::size_t second) {
    const auto load = [&](std::size_t one, std::size_t other) {
      return std::uint64_t{request.at(one).active()} * request.options(other).weight;
    };
    return load(second, first) > load(first, second) ? first : second;
  }

  detail::weight_ranges ranges_;
};

}  // namespace

std::shared_ptr<balancer> random_choice() { return std::make_shared<any_of>(); }

std::shared_ptr<balancer> random_choice_of_two() { return std::make_shared<better_of_two>(); }

}  // namespace wsproxy
