#include <wsproxy/proxy/detail/tunnel_report.hpp>

namespace wsproxy::detail {

namespace {

session_flow numbers_from(const tunnel_machine& tunnel, side s) noexcept {
  const auto& from = tunnel.from(s);
  const side to = opposite(s);
  return {from.bytes(),      from.frames_seen(),      from.messages(),     tunnel.heard(s),
          tunnel.parked(to), tunnel.parked_since(to), tunnel.round_trip(s)};
}

flow flow_of(const pump& from) noexcept {
  return {from.bytes(), from.frames_seen(), from.messages(), from.close_code()};
}

}  // namespace

session_stats numbers_of(const tunnel_machine& tunnel) noexcept {
  return {numbers_from(tunnel, side::downstream), numbers_from(tunnel, side::upstream)};
}

void report_end(const tunnel_machine& tunnel, forward_result& result) {
  const auto& end = tunnel.end();
  result.error = end.error;
  result.at = stage::tunnel;
  result.who = end.who;
  result.cause = end.cause;
  result.status = 101;
  result.committed = true;
  result.from_client = flow_of(tunnel.from(side::downstream));
  result.from_upstream = flow_of(tunnel.from(side::upstream));
  result.round_trip = tunnel.round_trip(side::downstream);
}

// It may have had its reasons for a Close of another code, and where frames are not tracked for any end.
bool upstream_broke_off(const tunnel_machine& tunnel) noexcept {
  const auto& end = tunnel.end();
  if (end.who != side::upstream) return false;
  const auto& from = tunnel.from(side::upstream);
  const auto code = from.close_code();
  const bool broken = (code == 0 && from.tracked()) || (code >= 1011 && code <= 1014);
  return end.cause == end_cause::reset || end.cause == end_cause::timeout ||
         (end.cause == end_cause::closed && broken);
}

}  // namespace wsproxy::detail
