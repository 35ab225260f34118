// Dates as text, and this machine's name.
#pragma once

#include <ctime>
#include <string>

namespace wsproxy_gateway {

std::string http_date(std::time_t);     ///< "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7)
std::string iso8601_date(std::time_t);  ///< "2024-02-29T12:00:00+01:00", local time
std::string log_date(std::time_t);      ///< "29/Feb/2024:12:00:00 +0100", local time
std::string host_name();                ///< in lower case

}  // namespace wsproxy_gateway
