// nginx's phases before the content: which server, which location, which rules.
#pragma once

#include <memory>
#include <optional>

#include <wsproxy/gateway/gateway.hpp>

#include "configuration.hpp"

namespace wsproxy_gateway {

/// Where a request ended up.
struct selection {
  const server_block* server = nullptr;
  const location_block* location = nullptr;  ///< null: a server's rule answered, or no location fits
  const place* in_force = nullptr;           ///< whose settings hold
  const answer* reply = nullptr;             ///< a `return` that was reached
  bool bad_target = false;                   ///< answer 400
  bool too_large = false;                    ///< answer 413: more than the location's client_max_body_size
  bool add_slash = false;                    ///< redirect to the location's name, which ends in a slash
};

/// Chooses for a request, and fills in its state.
selection select(const configuration&, const wsproxy::inbound&, request_state&);

/// The location for a path: an exact one, else the longest prefix, unless a regular expression fits and the
/// prefix is not ^~; and in it likewise one of those inside. Null: none. `add_slash` is set where the path
/// lacks only the slash that ends a location with proxy_pass. (nginx: ngx_http_core_find_location)
const location_block* find_location(const server_block&, const std::string& path, request_state&,
                                    bool& add_slash);

}  // namespace wsproxy_gateway
