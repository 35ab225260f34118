#include "dates.hpp"

#include <unistd.h>

#include <array>

#include <fmt/format.h>

#include "values.hpp"

namespace wsproxy_gateway {
namespace {

// Not strftime's %a and %b: those follow the locale.
constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct zone {
  char sign;
  int hours, minutes;
};
zone zone_of(const std::tm& when) {
  const long offset = when.tm_gmtoff / 60;
  const long size = offset < 0 ? -offset : offset;
  return {offset < 0 ? '-' : '+', static_cast<int>(size / 60), static_cast<int>(size % 60)};
}

}  // namespace

std::string http_date(std::time_t now) {
  std::tm t{};
  ::gmtime_r(&now, &t);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
                     t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

std::string iso8601_date(std::time_t now) {
  std::tm t{};
  ::localtime_r(&now, &t);
  const auto z = zone_of(t);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}{:02}:{:02}", t.tm_year + 1900, t.tm_mon + 1,
                     t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, z.sign, z.hours, z.minutes);
}

std::string log_date(std::time_t now) {
  std::tm t{};
  ::localtime_r(&now, &t);
  const auto z = zone_of(t);
  return fmt::format("{:02}/{}/{:04}:{:02}:{:02}:{:02} {}{:02}{:02}", t.tm_mday, months[t.tm_mon],
                     t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec, z.sign, z.hours, z.minutes);
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return to_lower(name.data());
}

}  // namespace wsproxy_gateway
