// What becomes of a request: server, rewriting, location, and then a backend or an answer.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include <wsproxy/gateway/gateway.hpp>

#include "configuration.hpp"

namespace wsproxy_gateway {

/// Decides by a configuration. Copies share it; every member may be called from any thread.
class router {
 public:
  using log_function = std::function<void(std::string_view)>;

  /// `log` is told of exchanges that failed; it must not block. Empty: nobody is.
  explicit router(std::shared_ptr<const configuration> config, log_function log = {})
      : config_(std::move(config)),
        log_(log ? std::make_shared<const log_function>(std::move(log)) : nullptr) {}

  wsproxy::decision operator()(const wsproxy::inbound&) const;
  /// The page for an error, with the fields that the request's location adds.
  wsproxy::respond error_answer(int status, const std::error_code& why,
                                const wsproxy::inbound& request) const;
  /// The access logs of the request's location.
  const std::vector<log_file>& access_logs(const wsproxy::inbound&) const;

 private:
  std::shared_ptr<const configuration> config_;
  std::shared_ptr<const log_function> log_;
};

/// Gives a route the functions that a router's exchanges need; what they work with is the exchange's `user`.
void add_rewriting(wsproxy::route&);

}  // namespace wsproxy_gateway
