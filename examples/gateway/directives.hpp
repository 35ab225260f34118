// The directives: what each is called, where it may stand, how many arguments it takes, what it does.
//
// There are three closed lists: understood, ignored (each with one warning: they only tune), and refused by
// name, because ignoring them would open what was closed, or change what is served. All else is unknown.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <wsproxy/upstream/round_robin.hpp>

#include "configuration.hpp"
#include "diagnostics.hpp"
#include "syntax.hpp"

namespace wsproxy_gateway {

/// Where a directive may stand; combined with |.
enum context : unsigned {
  in_main = 1u << 0,
  in_events = 1u << 1,
  in_http = 1u << 2,
  in_server = 1u << 3,
  in_location = 1u << 4,
  in_upstream = 1u << 5,
  in_server_if = 1u << 6,
  in_location_if = 1u << 7,
};

/// One `listen`.
struct listen_request {
  server_block* server;
  std::vector<wsproxy::address> at;  ///< several where a host name has several
  bool any = false;                  ///< the address is 0.0.0.0 or [::]
  bool is_default = false;
  bool has_options = false;
  wsproxy::gateway::listen_options options{};
  position where;
};

/// One `proxy_pass` without variables.
struct pass_request {
  place* from;
  std::string host;  ///< as written: a name or an address
  std::optional<std::uint16_t> port;
  word source;
};

struct upstream_draft {
  std::string name;
  std::vector<wsproxy::backend_options> backends{};
  std::shared_ptr<wsproxy::balancer> (*method)() = wsproxy::round_robin;
  std::string method_name{};  ///< its directive
  std::optional<text_template> hash_key{};
  std::optional<word> resolves{};  ///< the first `resolve`
  bool has_zone = false;
  std::optional<resolver_options> resolver{};
  position at{};
};

/// What has been read so far, and waits for the end of the file.
struct draft {
  configuration& config;
  diagnostics& report;
  settings http{};
  std::vector<listen_request> listens{};
  std::vector<pass_request> passes{};
  std::vector<upstream_draft> upstreams{};
  std::optional<resolver_options> resolver{};              ///< of `http`
  std::vector<std::pair<const place*, position>> files{};  ///< `root` or `alias` in a location
  std::set<std::string_view> warned{};                     ///< ignored directives that were named already
  std::set<std::string> log_formats{};                     ///< declared
  std::vector<std::pair<const server_block*, word>> doubtful_names{};  ///< that can match nothing
  bool has_events = false;
  bool has_http = false;
};

/// The block whose directives are being read.
struct scope {
  draft& all;
  context where;
  settings* set = nullptr;
  place* here = nullptr;
  server_block* server = nullptr;
  location_block* location = nullptr;
  program* rewrite = nullptr;
  upstream_draft* upstream = nullptr;

  diagnostics& report() const { return all.report; }
  variable_table& variables() const { return all.config.variables; }
};

using handler = void (*)(scope&, const directive&);

struct rule {
  enum class disposition { understood, ignored, refused } how;
  std::string_view name;  ///< with a star at its end: all that begin so and are not named themselves
  unsigned contexts;
  std::size_t least, most;  ///< arguments
  bool block;
  handler act;                  ///< null where it is not understood; of an ignored one a check, or null
  bool once;                    ///< a second one in the same block is an error
  std::string_view why;         ///< of a refusal
  std::string_view harmless{};  ///< the argument with which a refused one changes nothing, if there is one
};

constexpr std::size_t any_number = 1000000;

/// Every directive, in the order in which they are documented; families last.
std::span<const rule> rules();

/// Checks and performs the directives of one block.
void apply(scope&, const std::vector<directive>&);

/// The three lists as text.
std::string describe_directives();

/// The addresses of a host, IPv4 first; reports a host that is not found.
std::vector<wsproxy::address> resolve(std::string_view host, std::uint16_t port, const word& source,
                                      std::string_view of_what, diagnostics&);

/// "HOST", "HOST:PORT", "[V6]:PORT", "unix:PATH", "PORT" where `port_alone`; reports what is neither.
struct endpoint {
  std::string host;  ///< without brackets; "*" where only a port was given
  std::optional<std::uint16_t> port;
  bool unix_socket = false;
};
std::optional<endpoint> parse_endpoint(std::string_view text, bool port_alone, const word& source,
                                       diagnostics&);

}  // namespace wsproxy_gateway
