#include <wsproxy/policy.hpp>

#include <stdexcept>

#include <fmt/format.h>

namespace wsproxy {
namespace {

void require(bool holds, const char* member, const char* rule) {
  if (!holds) throw std::invalid_argument(fmt::format("{} {}", member, rule));
}

void require_time(duration value, const char* member) {
  require(value >= duration::zero(), member, "must not be negative");
  require(value <= longest_time, member, "must not be more than a century; zero is off");
}

}  // namespace

void validate(const timeouts& times) {
  require_time(times.client_head, "timeouts::client_head");
  require_time(times.keep_alive, "timeouts::keep_alive");
  require_time(times.client_body, "timeouts::client_body");
  require_time(times.connect, "timeouts::connect");
  require_time(times.response, "timeouts::response");
  require_time(times.send_stall, "timeouts::send_stall");
  require_time(times.upstream_send_stall, "timeouts::upstream_send_stall");
  require_time(times.idle, "timeouts::idle");
  require_time(times.half_close, "timeouts::half_close");
  require_time(times.max_lifetime, "timeouts::max_lifetime");
  require_time(times.boundary_wait, "timeouts::boundary_wait");
  require_time(times.close_wait, "timeouts::close_wait");
  require_time(times.linger, "timeouts::linger");
  // Written so that a NaN fails too.
  require(times.max_lifetime_jitter >= 0 && times.max_lifetime_jitter <= 1, "timeouts::max_lifetime_jitter",
          "must be between 0 and 1");
}

void validate(const retry& rule) { require_time(rule.within, "retry::within"); }

void validate(const heartbeat& beat) {
  require_time(beat.interval, "heartbeat::interval");
  require_time(beat.timeout, "heartbeat::timeout");
}

void validate(const slow_consumer& slow) { require_time(slow.after, "slow_consumer::after"); }

}  // namespace wsproxy
