// What a configuration file says, once it has been read: immutable, shared by all threads.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include <wsproxy/gateway/gateway.hpp>

#include "diagnostics.hpp"
#include "regex.hpp"
#include "variables.hpp"

namespace wsproxy_gateway {

/// A configured field: proxy_set_header or add_header.
struct field_line {
  std::string name;
  text_template value;
  bool always = false;
};

/// A regular expression with the variables that its named groups set.
struct pattern {
  regex expression;
  capture_slots captures;
};

/// How a Location of a backend is rewritten. Without either of the first two: from what the backend calls
/// itself to what the client calls it. [proxy_redirect]
struct redirect_rule {
  std::optional<text_template> from{};  ///< a beginning, which is replaced
  std::optional<pattern> expression{};  ///< if it matches, all is replaced
  text_template to{};
};

using types_map = std::map<std::string, std::string, std::less<>>;  ///< by file name extension

/// Where an access log goes.
struct log_file {
  std::string path;
  bool operator==(const log_file&) const = default;
};

/// [websocket_max_lifetime]
struct lifetime_limit {
  wsproxy::duration length{};
  double jitter = 0;
};

/// Directives that a block takes over from the block around it unless it has its own.
struct settings {
  std::optional<wsproxy::duration> proxy_connect_timeout, proxy_read_timeout, proxy_send_timeout;
  std::optional<wsproxy::duration> send_timeout, client_body_timeout, client_header_timeout,
      keepalive_timeout;
  std::optional<unsigned> keepalive_requests;
  std::optional<std::uint64_t> client_max_body_size;
  std::optional<std::pair<std::size_t, std::size_t>> large_client_header_buffers;  ///< number and size
  std::optional<std::size_t> proxy_buffer_size;
  std::optional<bool> keep_underscores, keep_unusual_names;  ///< in field names
  std::optional<unsigned> next_upstream, next_upstream_tries;
  static constexpr unsigned never_retry = 1u << 31;  ///< in next_upstream: off
  std::optional<wsproxy::duration> next_upstream_timeout;
  std::optional<wsproxy::http_version> proxy_http_version;
  std::optional<std::vector<field_line>> proxy_set_header, add_header;
  std::optional<std::vector<std::string>> proxy_hide_header, proxy_pass_header;
  std::optional<std::vector<redirect_rule>> proxy_redirect;  ///< the first that fits; empty: off
  std::optional<bool> absolute_redirect, port_in_redirect, server_name_in_redirect;
  std::optional<std::string> default_type;
  std::optional<types_map> types;
  std::optional<std::vector<log_file>> access_log;  ///< empty: off
  std::optional<wsproxy::heartbeat> websocket_heartbeat;
  std::optional<lifetime_limit> websocket_max_lifetime;
  std::optional<std::uint64_t> websocket_max_message_size, websocket_max_frame_size;
  std::optional<wsproxy::frames> websocket_frames;
  std::optional<wsproxy::drain_options> websocket_drain;  ///< code 0: no Close
  std::optional<wsproxy::duration> websocket_slow_consumer;

  /// Takes what is not set here from the block around this one.
  void inherit(const settings& outer);
  /// What nginx assumes where no block says anything.
  static settings defaults();
};

/// Where proxy_pass leads.
struct proxy_target {
  std::size_t upstream = 0;        ///< in configuration::upstreams
  std::string host;                ///< [$proxy_host]
  std::string port;                ///< [$proxy_port]
  std::string url;                 ///< as written
  std::optional<std::string> uri;  ///< the part behind the host, if there is one
  /// With variables: all of the above is read from this text, per request.
  std::optional<text_template> variable_url;
};

/// A block in which requests are answered: a server, a location, or an `if` in a location.
struct place {
  settings set;
  std::optional<proxy_target> proxy;
  /// What all its exchanges have in common, by whether they may upgrade; made last.
  std::shared_ptr<const wsproxy::route> plain{}, upgrading{};
};

struct instruction;
using program = std::vector<instruction>;

/// [set]
struct assignment {
  std::optional<std::size_t> slot;  ///< nothing: $args, the only variable of nginx's own that is set here
  text_template value;
};
/// [return]
struct answer {
  int status;
  std::optional<text_template> text;  ///< the body, or where to
};
/// [break]
struct stop {};
/// [if]
struct branch {
  enum class kind { truthy, equal, not_equal, matches, matches_not } is = kind::truthy;
  std::size_t variable = 0;
  text_template value{};
  std::optional<pattern> expression{};
  program then;
  std::unique_ptr<place> inside;  ///< null in a server
};
struct instruction {
  std::variant<assignment, answer, stop, branch> what;
};

struct location_block;
using location_list = std::vector<std::unique_ptr<location_block>>;

struct location_block {
  enum class kind { prefix, exact, prefix_final, regex, named } is = kind::prefix;
  std::string name;
  std::optional<pattern> expression{};
  place here{};
  program rewrite{};
  location_list locations{};  ///< inside this one
  position at{};
};

/// One name of `server_name`.
struct server_name {
  enum class kind { exact, suffix, prefix, regex } is = kind::exact;
  std::string text;  ///< in lower case, without the star: "a.org", ".a.org" (suffix), "www." (prefix)
  std::optional<pattern> expression{};
};

struct server_block {
  std::vector<server_name> names;
  std::string first_name;  ///< [$server_name]
  place here{};
  program rewrite{};
  location_list locations{};
  position at{};
};

/// The servers that listen on one address, by name.
struct virtual_hosts {
  std::string host;                                           ///< the address they listen on, "" for any
  std::vector<std::pair<const server_block*, bool>> servers;  ///< in order; true: default_server
  wsproxy::reception reception{};                             ///< the default server's
  const server_block* fallback() const;

  /// The server for a host name; named groups of a regular expression are stored in the state.
  const server_block* find(std::string_view host_name, request_state&) const;
};

struct listener {
  std::string address;  ///< as gateway::listen takes it
  wsproxy::gateway::listen_options options{};
  std::vector<virtual_hosts> hosts;  ///< the last is for any local address
};

/// What is said of looking names up while running. [resolver]
struct resolver_options {
  std::optional<wsproxy::duration> valid{};
  bool ipv4 = true;
  bool ipv6 = true;
};

struct upstream_group {
  std::string name;
  wsproxy::upstream group;
  std::optional<text_template> hash_key;
  /// The servers, if names among them are looked up again and again; else none. [server … resolve]
  std::vector<wsproxy::backend_options> resolved{};
  resolver_options resolver{};
};

struct configuration {
  variable_table variables;
  std::vector<upstream_group> upstreams;
  std::vector<std::unique_ptr<server_block>> servers;
  std::vector<listener> listeners;
  unsigned worker_processes = 1;
  std::optional<wsproxy::duration> worker_shutdown_timeout;
  std::optional<std::string> error_log;  ///< a path; nothing: standard error

  /// The servers at the local address of a connection to a listener.
  const virtual_hosts& hosts_at(std::size_t listener, std::string_view local) const;
  /// Every place of every server, each before those inside it.
  std::vector<place*> places() const;
  /// The upstream of that name; case does not matter.
  std::optional<std::size_t> find_upstream(std::string_view name) const;
};

}  // namespace wsproxy_gateway
