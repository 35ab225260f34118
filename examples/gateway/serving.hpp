// Runs a configuration: threads, ports, signals.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "configuration.hpp"

namespace wsproxy_gateway {

struct serving_options {
  /// The Close code that tunnels get at the end; 0: none, as nginx.
  std::uint16_t close_code = 0;
  /// Called once all ports are open, with the addresses.
  std::function<void(const std::vector<std::string>&)> on_ready{};
};

/// Serves until SIGTERM, SIGINT or SIGQUIT; a second one stops at once. Returns the exit status: 1 if a port
/// or a log could not be opened (each is named on standard error).
int serve(std::shared_ptr<const configuration>, const serving_options& = {});

}  // namespace wsproxy_gateway
