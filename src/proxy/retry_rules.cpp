#include "retry_rules.hpp"

#include <algorithm>

#include <asio/error.hpp>

namespace wsproxy::detail {

namespace {

bool is_idempotent(std::string_view method) noexcept {
  return method != "POST" && method != "LOCK" && method != "PATCH";
}

}  // namespace

unsigned retry_condition(int status) noexcept {
  switch (status) {
  case 500: return retry::http_500;
  case 502: return retry::http_502;
  case 503: return retry::http_503;
  case 504: return retry::http_504;
  case 403: return retry::http_403;
  case 404: return retry::http_404;
  case 429: return retry::http_429;
  default: return 0;
  }
}

bool lacks_resources(const std::error_code& error) noexcept {
  // Asio's system category has no conditions.
  const bool is_asios = error.category() == asio::error::get_system_category();
  const auto what = is_asios ? std::error_condition(error.value(), std::generic_category())
                             : error.default_error_condition();
  return what == std::errc::too_many_files_open || what == std::errc::too_many_files_open_in_system ||
         what == std::errc::no_buffer_space || what == std::errc::not_enough_memory;
}

bool permits(const retry& rule, unsigned condition, const request_progress& of, std::size_t backends,
             time_point now) noexcept {
  if ((rule.on & condition) == 0) return false;
  if (of.begun && !is_idempotent(of.method) && (rule.on & retry::non_idempotent) == 0) return false;
  const auto tries = rule.tries == 0 ? backends : std::min<std::size_t>(rule.tries, backends);
  if (of.attempts >= tries) return false;
  return rule.within <= duration::zero() || now < of.since + rule.within;
}

}  // namespace wsproxy::detail
