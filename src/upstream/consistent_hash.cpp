#include <wsproxy/upstream/consistent_hash.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <unordered_map>

#include <wsproxy/http/fields.hpp>
#include <wsproxy/upstream/round_robin.hpp>

#include "drawing.hpp"

namespace wsproxy {
namespace {

constexpr unsigned points_per_weight = 160;

constexpr auto crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i != 256; ++i) {
    auto value = i;
    for (int bit = 0; bit != 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    table[i] = value;
  }
  return table;
}();

/// A CRC-32 under way.
class crc {
 public:
  void add(std::uint8_t byte) noexcept { value_ = crc_table[(value_ ^ byte) & 0xff] ^ (value_ >> 8); }
  void add(std::string_view text) noexcept {
    for (const char c : text) add(static_cast<std::uint8_t>(c));
  }
  void add_little_endian(std::uint32_t number) noexcept {
    for (unsigned shift = 0; shift != 32; shift += 8) add(static_cast<std::uint8_t>(number >> shift));
  }
  std::uint32_t result() const noexcept { return ~value_; }

 private:
  std::uint32_t value_ = 0xffffffff;
};

struct host_and_port {
  std::string_view host, port;
};

/// nginx splits at a colon with only digits behind it, so that "[::1]" has no port and "host:" an empty one.
host_and_port split(std::string_view name) {
  if (iequals(name.substr(0, 5), "unix:")) return {name.substr(5), {}};
  const auto last_other = name.find_last_not_of("0123456789");
  if (last_other == name.npos || name[last_other] != ':') return {name, {}};
  return {name.substr(0, last_other), name.substr(last_other + 1)};
}

/// Calls visit(point) for each of a backend's points in the order they are derived.
template <class Visit> void for_each_point(std::string_view name, std::uint64_t weight, Visit visit) {
  const auto [host, port] = split(name);
  crc base;
  base.add(host);
  base.add(std::uint8_t{0});
  base.add(port);
  std::uint32_t point = 0;
  for (std::uint64_t left = weight * points_per_weight; left != 0; --left) {
    auto next = base;
    next.add_little_endian(point);
    point = next.result();
    visit(point);
  }
}

/// The points of a list of backends.
class ring {
 public:
  /// To be called before the others; works only when the list has changed.
  void follow(const pick_request& request) {
    if (version_ != request.version) rebuild(request);
  }
  std::size_t size() const noexcept { return points_.size(); }
  /// The first point at or behind a key's; may be size(), which is the first point again.
  std::uint32_t first_of(std::string_view key) const {
    return static_cast<std::uint32_t>(std::ranges::lower_bound(points_, crc32(key), {}, &point::hash) -
                                      points_.begin());
  }
  /// The backends at a point, counted from any number of rounds: those that share a name, a host's several
  /// addresses, share its points.
  const std::vector<std::size_t>& at(std::size_t index) const {
    return groups_[points_[index % points_.size()].group];
  }

 private:
  struct point {
    std::uint32_t hash;
    std::uint32_t group;
  };
  void rebuild(const pick_request& request);

  std::optional<std::uint64_t> version_;  // of the list that what follows was made from
  std::vector<point> points_;             // by hash, each hash once
  std::vector<std::vector<std::size_t>> groups_;
};

class ketama final : public balancer {
 public:
  std::optional<std::size_t> pick(pick_request& request) override;
  bool allows_backups() const noexcept override { return false; }

 private:
  ring ring_;
};

/// A step of round robin among those of a group that `fits`.
template <class Fits>
std::optional<std::size_t> step_among(pick_request& request, const std::vector<std::size_t>& group,
                                      Fits fits) {
  return detail::smooth_step(request, group, fits);
}

std::optional<std::size_t> ketama::pick(pick_request& request) {
  auto& state = request.state;
  if (state.tries > detail::most_tries || request.size() < 2 || request.hash_key.empty())
    return detail::round_robin_step(request);
  ring_.follow(request);
  if (state.steps++ == 0) state.hash = ring_.first_of(request.hash_key);
  while (state.tries <= detail::most_tries) {
    const auto usable = [&](std::size_t i) { return request.usable(i); };
    if (const auto chosen = step_among(request, ring_.at(state.hash), usable)) return chosen;
    ++state.hash;  // the next point, which may well be of the same backend
    ++state.tries;
  }
  return detail::round_robin_step(request);
}

class bounded_ketama final : public balancer {
 public:
  explicit bounded_ketama(double most) : most_(most) {}
  std::optional<std::size_t> pick(pick_request& request) override;
  bool allows_backups() const noexcept override { return false; }

 private:
  template <class Fits> std::optional<std::size_t> walk(pick_request& request, Fits fits) const;

  ring ring_;
  const double most_;
};

std::optional<std::size_t> bounded_ketama::pick(pick_request& request) {
  if (request.size() < 2 || request.hash_key.empty()) return detail::round_robin_step(request);
  ring_.follow(request);
  const auto in_service = static_cast<double>(std::max<std::uint64_t>(request.weight, 1));
  const double level = most_ * (request.active + 1.0) / in_service;
  const auto usable = [&](std::size_t i) { return request.usable(i); };
  const auto has_room = [&](std::size_t i) {
    return usable(i) && request.at(i).active() < std::ceil(level * request.options(i).weight);
  };
  if (const auto chosen = walk(request, has_room)) return chosen;
  return walk(request, usable);
}

template <class Fits> bool none_fits(const pick_request& request, Fits fits) {
  for (std::size_t i = 0; i != request.size(); ++i)
    if (fits(i)) return false;
  return true;
}

/// Along the ring from the key's point, in every attempt: backends that were tried do not fit. The walk ends
/// soon where many fit. So that it does not go round for nothing where none does, that is asked on the way.
template <class Fits>
std::optional<std::size_t> bounded_ketama::walk(pick_request& request, Fits fits) const {
  constexpr std::size_t patience = 64;
  const auto first = ring_.first_of(request.hash_key);
  for (std::size_t i = 0; i != ring_.size(); ++i) {
    if (i == patience && none_fits(request, fits)) break;
    if (const auto chosen = step_among(request, ring_.at(first + i), fits)) return chosen;
  }
  return std::nullopt;
}

void ring::rebuild(const pick_request& request) {
  points_.clear();
  groups_.clear();
  std::unordered_map<std::string_view, std::uint32_t> groups;
  for (std::size_t i = 0; i != request.size(); ++i) {
    const std::string_view name = request.options(i).name;
    const auto group = groups.try_emplace(name, static_cast<std::uint32_t>(groups_.size())).first->second;
    if (group == groups_.size()) groups_.emplace_back();
    groups_[group].push_back(i);
    for_each_point(name, request.options(i).weight, [&](std::uint32_t hash) {
      points_.push_back({hash, group});
    });
  }
  // Where two names collide the one configured first keeps the point, as with nginx on glibc.
  std::ranges::stable_sort(points_, {}, &point::hash);
  const auto same = [](const point& a, const point& b) { return a.hash == b.hash; };
  points_.erase(std::unique(points_.begin(), points_.end(), same), points_.end());
  version_ = request.version;
}

}  // namespace

std::shared_ptr<balancer> consistent_hash() { return std::make_shared<ketama>(); }

std::shared_ptr<balancer> bounded_consistent_hash(double most) {
  if (!(most > 1 && most <= 1000))
    throw std::invalid_argument("bounded_consistent_hash: most is not over 1 and up to 1000");
  return std::make_shared<bounded_ketama>(most);
}

std::vector<std::uint32_t> ring_points(std::string_view name, unsigned weight) {
  std::vector<std::uint32_t> points;
  for_each_point(name, weight, [&](std::uint32_t point) { points.push_back(point); });
  return points;
}

std::uint32_t crc32(std::string_view text) noexcept {
  crc sum;
  sum.add(text);
  return sum.result();
}

}  // namespace wsproxy
