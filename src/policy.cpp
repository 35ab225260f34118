#include <wsproxy/policy.hpp>

#include <stdexcept>
#include <string>

namespace wsproxy {
namespace {

void require(bool holds, const char* member, const char* rule) {
  if (!holds) throw std::invalid_argument(std::string(member) + ' ' + rule);
}

void require_not_negative(duration value, const char* member) {
  require(value >= duration::zero(), member, "must not be negative");
}

}  // namespace

void validate(const timeouts& times) {
  require_not_negative(times.client_head, "timeouts::client_head");
  require_not_negative(times.keep_alive, "timeouts::keep_alive");
  require_not_negative(times.client_body, "timeouts::client_body");
  require_not_negative(times.connect, "timeouts::connect");
  require_not_negative(times.response, "timeouts::response");
  require_not_negative(times.send_stall, "timeouts::send_stall");
  require_not_negative(times.upstream_send_stall, "timeouts::upstream_send_stall");
  require_not_negative(times.idle, "timeouts::idle");
  require_not_negative(times.half_close, "timeouts::half_close");
  require_not_negative(times.max_lifetime, "timeouts::max_lifetime");
  require_not_negative(times.boundary_wait, "timeouts::boundary_wait");
  require_not_negative(times.close_wait, "timeouts::close_wait");
  require_not_negative(times.linger, "timeouts::linger");
  // Written so that a NaN fails too.
  require(times.max_lifetime_jitter >= 0 && times.max_lifetime_jitter <= 1, "timeouts::max_lifetime_jitter",
          "must be between 0 and 1");
}

void validate(const heartbeat& beat) {
  require_not_negative(beat.interval, "heartbeat::interval");
  require_not_negative(beat.timeout, "heartbeat::timeout");
}

void validate(const slow_consumer& slow) { require_not_negative(slow.after, "slow_consumer::after"); }

}  // namespace wsproxy
