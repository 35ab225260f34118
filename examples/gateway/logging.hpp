// Lines to standard error or to files.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include <wsproxy/gateway/gateway.hpp>

#include "configuration.hpp"

namespace wsproxy_gateway {

/// A file that is appended to, one whole line at a time, by any thread.
class log_sink {
 public:
  /// Empty: standard error. Throws std::system_error that names the path.
  explicit log_sink(const std::string& path = {});
  ~log_sink();
  log_sink(const log_sink&) = delete;
  log_sink& operator=(const log_sink&) = delete;

  /// As it is.
  void line(std::string_view text) const;
  /// With the time and the level in front, as in nginx's error log. There may be a client's text in it: what
  /// is not printable ASCII becomes \xNN.
  void message(std::string_view level, std::string_view text) const;

 private:
  int descriptor_;
};

/// The access logs of a configuration.
class access_logs {
 public:
  /// Opens all files. Throws std::system_error that names the path.
  explicit access_logs(const configuration&);
  bool empty() const noexcept { return files_.empty(); }

  void write(const std::vector<log_file>& where, const wsproxy::inbound&, int status, std::uint64_t sent,
             const wsproxy::forward_result*) const;

 private:
  std::map<std::string, std::unique_ptr<log_sink>> files_;
};

/// nginx's "combined" line, and behind it what became of the exchange.
std::string access_line(const wsproxy::inbound&, int status, std::uint64_t sent,
                        const wsproxy::forward_result*);

}  // namespace wsproxy_gateway
