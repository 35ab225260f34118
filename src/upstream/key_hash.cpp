#include <wsproxy/upstream/key_hash.hpp>

#include <cstdint>
#include <string>

#include <wsproxy/upstream/consistent_hash.hpp>

#include "drawing.hpp"

namespace wsproxy {
namespace {

class remainder final : public balancer {
 public:
  std::optional<std::size_t> pick(pick_request& request) override {
    if (request.size() < 2 || request.hash_key.empty()) return detail::round_robin_step(request);
    ranges_.follow(request);
    return detail::draw_usable(request, [&] { return ranges_.owner(next_hash(request)); });
  }
  bool allows_backups() const noexcept override { return false; }

 private:
  /// Each step adds the key's hash behind the number of steps before, as Cache::Memcached does.
  static std::uint32_t next_hash(pick_request& request) {
    auto& state = request.state;
    std::string text = state.steps != 0 ? std::to_string(state.steps) : std::string();
    text += request.hash_key;
    ++state.steps;
    return state.hash += (crc32(text) >> 16) & 0x7fff;
  }

  detail::weight_ranges ranges_;
};

}  // namespace

std::shared_ptr<balancer> key_hash() { return std::make_shared<remainder>(); }

}  // namespace wsproxy
