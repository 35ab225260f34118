// What the directives do; named as they are in the table of rules.cpp.
#pragma once

#include "directives.hpp"

namespace wsproxy_gateway::act {

// blocks.cpp
void events(scope&, const directive&);
void http(scope&, const directive&);
void server(scope&, const directive&);
void location(scope&, const directive&);
void if_block(scope&, const directive&);
void types(scope&, const directive&);
// map.cpp
void map(scope&, const directive&);
// upstreams.cpp
void upstream(scope&, const directive&);
void upstream_server(scope&, const directive&);
void hash(scope&, const directive&);
void ip_hash(scope&, const directive&);
void least_conn(scope&, const directive&);
void random(scope&, const directive&);
void zone(scope&, const directive&);
void resolver(scope&, const directive&);
void proxy_pass(scope&, const directive&);
// listening.cpp
void listen(scope&, const directive&);
void server_name(scope&, const directive&);
// websockets.cpp
void websocket_heartbeat(scope&, const directive&);
void websocket_max_lifetime(scope&, const directive&);
void websocket_max_message_size(scope&, const directive&);
void websocket_max_frame_size(scope&, const directive&);
void websocket_frames(scope&, const directive&);
void websocket_drain(scope&, const directive&);
void websocket_slow_consumer(scope&, const directive&);
// rewriting.cpp
void set(scope&, const directive&);
void return_answer(scope&, const directive&);
void break_rewrite(scope&, const directive&);
void condition(scope&, const directive&, branch&);  ///< of an `if`

/// False for a name (without the star of a wildcard) that can match no host. [ngx_hash_add_key]
bool is_plausible_host(std::string_view);

/// Compiles a pattern; reports what is wrong with it.
std::optional<pattern> compile_pattern(std::string_view text, bool ignore_case, const position&, scope&);

}  // namespace wsproxy_gateway::act
