// What the balancing methods do with long tunnels, and what a pick costs. Run by tests/upstream/measure.
//
//   balancing spread   10,000 tunnels alive on 10 backends, simulated: how uneven each method leaves them
//   balancing moved    10,000 keys on 10 backends, one of which goes: how many keys change their backend
//   balancing cost     processor time of a pick and its release, with 10, 100 and 1,000 backends
//
// Prints a line per method, its words separated by tabs, the first line being the titles. The simulations
// have a fixed seed and a clock of their own: they print the same everywhere.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <wsproxy/upstream/consistent_hash.hpp>
#include <wsproxy/upstream/ip_hash.hpp>
#include <wsproxy/upstream/key_hash.hpp>
#include <wsproxy/upstream/least_connections.hpp>
#include <wsproxy/upstream/random.hpp>
#include <wsproxy/upstream/round_robin.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace {

using namespace wsproxy;
using namespace std::chrono_literals;
using seconds = std::chrono::duration<double>;

struct named {
  const char* name;
  std::function<std::shared_ptr<balancer>()> make;
};
const std::vector<named> methods = {
    {"round_robin", round_robin},
    {"least_connections", least_connections},
    {"random_choice", random_choice},
    {"random_choice_of_two", random_choice_of_two},
    {"ip_hash", ip_hash},
    {"key_hash", key_hash},
    {"consistent_hash", consistent_hash},
    {"bounded_consistent_hash", [] { return bounded_consistent_hash(1.25); }},
};

std::vector<backend_options> servers(int count) {
  std::vector<backend_options> all;
  for (int i = 0; i != count; ++i) {
    const auto host = "10.0." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250);
    all.push_back({.name = host + ":8080"});
  }
  return all;
}

/// A client's address, spread over all networks.
std::string address_of(std::uint64_t number) {
  const auto bits = number * 0x9e3779b97f4a7c15;
  return std::to_string(1 + (bits >> 56) % 223) + "." + std::to_string((bits >> 48) & 255) + "." +
         std::to_string((bits >> 40) & 255) + "." + std::to_string((bits >> 32) & 255);
}

// ---- Spread.

/// Clients that come, stay, and leave; whose backend fails, they come again at once.
class simulation {
 public:
  explicit simulation(const named& method) : group_(servers(10), method.make()) {}

  /// Clients come for so long, evenly by chance, so many a second.
  void run(seconds length, double per_second) {
    const auto end = now_ + length;
    std::exponential_distribution<double> gap(per_second);
    for (;;) {
      now_ += seconds(gap(random_));
      if (now_ >= end) break;
      end_before(now_);
      begin(lifetime());
    }
    now_ = end;
    end_before(now_);
  }

  /// A backend fails, and its clients come again; after the time it recovers.
  void restart(std::size_t which, seconds length, double per_second) {
    const auto failed = group_.backends()[which];
    group_.set_healthy(*failed, false);
    std::vector<tunnel> left;
    for (; !alive_.empty(); alive_.pop()) left.push_back(std::move(const_cast<tunnel&>(alive_.top())));
    for (auto& one : left) {
      if (one.held.backend() == failed) begin(one.until - now_);
      else alive_.push(std::move(one));
    }
    left.clear();
    run(length, per_second);
    group_.set_healthy(*failed, true);
  }

  double most_over_mean() const {
    double most = 0, sum = 0;
    const auto all = group_.backends();
    for (const auto& one : all) {
      most = std::max<double>(most, one->active());
      sum += one->active();
    }
    return most * static_cast<double>(all.size()) / sum;
  }
  std::uint32_t active() const { return group_.active(); }
  /// Its tunnels, as a part of its fair share.
  double part_of_share(std::size_t which) const {
    return group_.backends()[which]->active() * 10.0 / group_.active();
  }

 private:
  struct tunnel {
    seconds until{};
    lease held;
    bool operator<(const tunnel& other) const { return until > other.until; }  // who ends first is on top
  };

  /// Half of them a minute, four in ten an hour, one in ten eight hours, each by an exponential distribution.
  seconds lifetime() {
    const auto kind = random_() % 10;
    const double mean = kind < 5 ? 60 : kind < 9 ? 3600 : 8 * 3600;
    return seconds(std::exponential_distribution<double>(1 / mean)(random_));
  }
  /// A third of them share 50 addresses, the rest have a million.
  std::string client() {
    const bool shared = random_() % 3 == 0;
    return address_of(shared ? random_() % 50 : 50 + random_() % 1'000'000);
  }
  void begin(seconds life) {
    const auto client = this->client();
    pick_state state;
    const auto at = time_point(std::chrono::duration_cast<time_point::duration>(now_));
    auto got = group_.pick(
        {.client = client, .hash_key = client, .random = static_cast<std::uint32_t>(random_())}, state, at);
    got.succeeded(at);
    alive_.push({now_ + life, std::move(got)});
  }
  void end_before(seconds time) {
    while (!alive_.empty() && alive_.top().until <= time) alive_.pop();
  }

  upstream group_;
  std::mt19937_64 random_{1};
  std::priority_queue<tunnel> alive_;
  seconds now_{1000};
};

/// So many a second keep 10,000 alive: the mean lifetime is 30 + 1440 + 2880 seconds.
constexpr double arrivals = 10'000.0 / 4350;

void spread() {
  std::puts(
      "method\tmax/mean, mean of 12 hours\tmax/mean, worst\tworst in the 2 hours after a backend failed "
      "for 10 minutes\tthat backend's part of its share 10 minutes after");
  for (const auto& method : methods) {
    simulation world(method);
    world.run(24h, arrivals);
    double sum = 0, worst = 0, after = 0;
    constexpr int samples = 12 * 60;
    for (int i = 0; i != samples; ++i) {
      world.run(1min, arrivals);
      sum += world.most_over_mean();
      worst = std::max(worst, world.most_over_mean());
    }
    world.restart(3, 10min, arrivals);
    double part = 0;
    for (int i = 0; i != 120; ++i) {
      world.run(1min, arrivals);
      after = std::max(after, world.most_over_mean());
      if (i == 9) part = world.part_of_share(3);
    }
    std::printf("%s\t%.2f\t%.2f\t%.2f\t%.2f\n", method.name, sum / samples, worst, after, part);
  }
}

// ---- Keys moved.

std::vector<std::string> places(const upstream& group, std::vector<lease>* keep) {
  std::vector<std::string> all;
  for (std::uint64_t i = 0; i != 10'000; ++i) {
    const auto key = address_of(i);
    pick_state state;
    auto got = group.pick({.client = key, .hash_key = key}, state, time_point(1h));
    all.push_back(got.backend()->name());
    if (keep) keep->push_back(std::move(got));
  }
  return all;
}

double moved(const named& method, const std::vector<backend_options>& list) {
  // The bounded method looks at what is alive: all keys' tunnels are.
  std::vector<lease> before_held, after_held;
  const upstream before(servers(10), method.make()), after(list, method.make());
  const auto from = places(before, &before_held), to = places(after, &after_held);
  int changed = 0;
  for (std::size_t i = 0; i != from.size(); ++i) changed += from[i] != to[i] ? 1 : 0;
  return 100.0 * changed / static_cast<double>(from.size());
}

void moved() {
  std::puts("method\tone is down or failed, % of keys\tone is taken off the list, % of keys");
  for (const auto& method : methods) {
    const std::string_view name = method.name;
    if (name.find("hash") == name.npos) continue;
    auto down = servers(10), gone = servers(10);
    down[4].down = true;
    gone.erase(gone.begin() + 4);
    std::printf("%s\t%.1f\t%.1f\n", method.name, moved(method, down), moved(method, gone));
  }
}

// ---- Cost.

double nanoseconds(const named& method, int count) {
  const upstream group(servers(count), method.make());
  std::vector<std::string> keys;
  for (std::uint64_t i = 0; i != 4096; ++i) keys.push_back(address_of(i));
  std::uint32_t number = 0;
  const auto pick = [&] {
    const auto& key = keys[++number % keys.size()];
    pick_state state;
    return group.pick({.client = key, .hash_key = key, .random = number * 0x9e3779b9u}, state,
                      time_point(1h));
  };
  std::vector<lease> alive;
  for (int i = 0; i != 20 * count; ++i) alive.push_back(pick());
  double best = 1e9;
  for (int round = 0; round != 5; ++round) {
    const int picks = 2'000'000 / count;
    const auto begin = std::clock();  // of this process alone: others may be busy
    for (int i = 0; i != picks; ++i) pick();
    best = std::min(best, 1e9 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC / picks);
  }
  return best;
}

void cost() {
  std::puts("method\t10 backends, ns\t100\t1000");
  for (const auto& method : methods) {
    std::printf("%s", method.name);
    for (const int count : {10, 100, 1000}) std::printf("\t%.0f", nanoseconds(method, count));
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string_view, void (*)()> modes = {{"spread", spread}, {"moved", moved}, {"cost", cost}};
  const auto mode = argc == 2 ? modes.find(argv[1]) : modes.end();
  if (mode == modes.end()) {
    std::fputs("usage: balancing spread|moved|cost\n", stderr);
    return 2;
  }
  mode->second();
}
