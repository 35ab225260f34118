#include <wsproxy/upstream/rebalancer.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

namespace wsproxy {
namespace {

using load = rebalancer::load;

bool contains(const std::vector<std::shared_ptr<const backend>>& all, const load& one) {
  return std::ranges::find(all, one.which) != all.end();
}

/// Tunnels per weight, were they spread evenly over the accepting backends.
template <class Weight> double even_level(std::span<const load> backends, Weight weight_of) {
  double tunnels = 0, weight = 0;
  for (const auto& each : backends) {
    if (!each.accepting) continue;
    tunnels += each.tunnels;
    weight += weight_of(each);
  }
  return weight > 0 ? tunnels / weight : 0;
}
double level_now(std::span<const load> backends) {
  return even_level(backends, [](const load& each) { return each.weight * each.climbed; });
}
double level_at_last(std::span<const load> backends) {
  return even_level(backends, [](const load& each) { return each.weight; });
}

/// What the division above is off by must not make a whole share one more, or one less.
constexpr double noise = 1e-6;

/// No longer a newcomer.
bool is_settled(const load& of, double level) {
  return of.climbed >= 1 && of.tunnels >= std::floor(of.weight * level + noise);
}

}  // namespace

rebalancer::rebalancer(const rebalance_options& options) : options_(options) {
  const auto check = [](double value, const char* member) {
    if (!(value >= 0) || !std::isfinite(value))
      throw std::invalid_argument(fmt::format("rebalance_options: {} is negative or no number", member));
  };
  check(options_.rate, "rate");
  check(options_.threshold, "threshold");
}

std::vector<rebalancer::move> rebalancer::tick(std::span<const load> backends, time_point now) {
  watch(backends);
  if (!moving_ && !newcomers_.empty() && options_.rate > 0) begin(backends, now);
  if (!moving_) return {};
  if (!left_) left_ = most_needed(backends);
  return choose(backends, earn(now));
}

/// Learns who came, and forgets the newcomers that went or have their share.
void rebalancer::watch(std::span<const load> backends) {
  const double level = level_at_last(backends);
  backend_list accepting, newcomers;
  for (const auto& each : backends) {
    if (!each.accepting) continue;
    accepting.push_back(each.which);
    const bool came = !first_ && !contains(accepting_, each);
    if (came) left_.reset();
    if ((came || contains(newcomers_, each)) && !is_settled(each, level)) newcomers.push_back(each.which);
  }
  accepting_ = std::move(accepting);
  newcomers_ = std::move(newcomers);
  first_ = false;
  if (newcomers_.empty()) moving_ = false;
}

std::vector<std::uint32_t> rebalancer::surpluses(std::span<const load> backends, double level) const {
  std::vector<std::uint32_t> all;
  for (const auto& each : backends) {
    const double above = each.tunnels - std::ceil(each.weight * level - noise);
    const bool lets_go = above > 0 && each.accepting && each.climbed >= 1 && !contains(newcomers_, each);
    all.push_back(lets_go ? static_cast<std::uint32_t>(above) : 0);
  }
  return all;
}

void rebalancer::begin(std::span<const load> backends, time_point now) {
  const double level = level_now(backends);
  const auto above = surpluses(backends, level);
  for (std::size_t i = 0; i != backends.size(); ++i) {
    const double bound = backends[i].weight * level * (1 + options_.threshold);
    if (above[i] != 0 && backends[i].tunnels > bound + noise) moving_ = true;
  }
  if (!moving_) return;
  earned_ = 0;
  last_ = now;
}

std::uint64_t rebalancer::most_needed(std::span<const load> backends) const {
  std::uint64_t all = 0;
  for (const auto each : surpluses(backends, level_at_last(backends))) all += each;
  return all * backends.size();
}

std::uint32_t rebalancer::earn(time_point now) {
  const std::chrono::duration<double> passed = now - last_;
  last_ = now;
  earned_ = std::min(earned_ + options_.rate * passed.count(), std::max(options_.rate, 1.0));
  return static_cast<std::uint32_t>(std::min(earned_ + noise, static_cast<double>(*left_)));
}

/// Who is full-grown when all is even is served.
void rebalancer::forget_climbed(std::span<const load> backends) {
  for (const auto& each : backends)
    if (each.climbed >= 1) std::erase(newcomers_, each.which);
}

/// The fullest for its weight, one after the other.
std::vector<rebalancer::move> rebalancer::choose(std::span<const load> backends, std::uint32_t most) {
  const auto above = surpluses(backends, level_now(backends));
  std::vector<std::uint32_t> gone(backends.size(), 0);
  const auto height = [&](std::size_t i) { return (backends[i].tunnels - gone[i]) / backends[i].weight; };
  const auto fullest = [&] {
    std::optional<std::size_t> found;
    for (std::size_t i = 0; i != backends.size(); ++i)
      if (gone[i] != above[i] && (!found || height(i) > height(*found))) found = i;
    return found;
  };
  for (; most != 0; --most) {
    const auto i = fullest();
    if (!i) break;
    ++gone[*i];
    earned_ -= 1;
    --*left_;
  }
  if (*left_ == 0) newcomers_.clear();
  moving_ = *left_ != 0 && fullest();
  if (!moving_) forget_climbed(backends);
  std::vector<move> moves;
  for (std::size_t i = 0; i != backends.size(); ++i)
    if (gone[i] != 0) moves.push_back({backends[i].which, gone[i]});
  return moves;
}

}  // namespace wsproxy
