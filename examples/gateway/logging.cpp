#include "logging.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <iterator>
#include <system_error>

#include <fmt/format.h>

#include "dates.hpp"
#include "values.hpp"

namespace wsproxy_gateway {
namespace {

/// A client's text inside quotes cannot end them, nor the line.
std::string in_quotes(std::string_view text) {
  if (text.empty()) return "\"-\"";
  return fmt::format(R"("{}")",
                     escape_bytes(text, [](char c) { return is_printable(c) && c != '"' && c != '\\'; }));
}

std::string request_line(const wsproxy::request_head& head) {
  if (head.method.empty()) return {};
  return fmt::format("{} {} HTTP/{}", head.method, head.target,
                     head.version == wsproxy::http_version::http_1_0 ? "1.0" : "1.1");
}

std::string seconds(wsproxy::time_point from, wsproxy::time_point to) {
  const auto total = std::chrono::duration_cast<std::chrono::milliseconds>(to - from).count();
  return fmt::format("{}.{:03}", total / 1000, total % 1000);
}

}  // namespace

log_sink::log_sink(const std::string& path)
    : descriptor_(path.empty() ? STDERR_FILENO
                               : ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0)
    throw std::system_error(errno, std::generic_category(), fmt::format("cannot open the log {}", path));
}

log_sink::~log_sink() {
  if (descriptor_ != STDERR_FILENO) ::close(descriptor_);
}

void log_sink::line(std::string_view text) const {
  std::string whole(text);
  whole += '\n';
  std::string_view rest = whole;  // in one write, unless the system takes less
  while (!rest.empty()) {
    const auto written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // a log that cannot be written stops nobody
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

void log_sink::message(std::string_view level, std::string_view text) const {
  line(fmt::format("{} [{}] {}", iso8601_date(std::time(nullptr)), level, escape_bytes(text, is_printable)));
}

access_logs::access_logs(const configuration& config) {
  for (const auto* place : config.places())
    for (const auto& one : *place->set.access_log)
      if (auto& file = files_[one.path]; !file) file = std::make_unique<log_sink>(one.path);
}

void access_logs::write(const std::vector<log_file>& where, const wsproxy::inbound& request, int status,
                        std::uint64_t sent, const wsproxy::forward_result* result) const {
  if (where.empty()) return;
  const auto text = access_line(request, status, sent, result);
  for (const auto& one : where) files_.at(one.path)->line(text);
}

std::string access_line(const wsproxy::inbound& request, int status, std::uint64_t sent,
                        const wsproxy::forward_result* result) {
  const auto& fields = request.head.fields;
  auto out = fmt::format("{} - - [{}] {} {} {} {} {}", request.client, log_date(std::time(nullptr)),
                         in_quotes(request_line(request.head)), status, sent,
                         in_quotes(fields.value_or_empty("Referer")),
                         in_quotes(fields.value_or_empty("User-Agent")));
  if (result == nullptr) return out;
  const bool upgraded = result->established != wsproxy::time_point{};
  fmt::format_to(std::back_inserter(out), " {} from_client={} from_upstream={} time={} backend={} end={}/{}",
                 upgraded ? "websocket" : "http", result->from_client.bytes, result->from_upstream.bytes,
                 seconds(result->begun, result->ended),
                 result->backend ? result->backend->address().to_string() : "-", to_string(result->cause),
                 to_string(result->who));
  if (result->error) out += fmt::format(" error={}", in_quotes(result->error.message()));
  return out;
}

}  // namespace wsproxy_gateway
