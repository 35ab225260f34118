// The gateway's own answers, and what is added to those of backends.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <wsproxy/gateway/gateway.hpp>

#include "configuration.hpp"
#include "selection.hpp"

namespace wsproxy_gateway {

/// Bytes that would end or break a header line, percent-encoded: decoded paths may hold them.
std::string safe_field_value(std::string_view);

/// True for the statuses that add_header without `always` is for.
bool gets_added_fields(int status) noexcept;

/// Whether the connection may be kept after the request. [keepalive_timeout 0, keepalive_requests]
bool may_keep_alive(const settings&, const request_state&) noexcept;

/// A page for a status; `why` is a sentence for people, or empty.
wsproxy::respond make_page(int status, std::string_view why, const place&, evaluation&);
/// What `return` says.
wsproxy::respond make_reply(const answer&, const place&, evaluation&);
/// A redirect of status 301 to a path of this server.
wsproxy::respond make_redirect(std::string_view path, const place&, evaluation&);

/// An upstream's response head as it goes to the client: fields hidden, added, `Location` rewritten.
void rewrite_response(wsproxy::response_head&, const place&, const location_block&, evaluation&);

}  // namespace wsproxy_gateway
