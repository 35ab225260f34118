// Request targets as nginx sees them: a decoded, normalised path to choose a location by, and the raw text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wsproxy_gateway {

struct request_uri {
  std::string raw;  ///< path and query as received, without an absolute form's scheme and host [$request_uri]
  std::string path;      ///< decoded and normalised [$uri]
  std::string args;      ///< behind the first "?", as received, or as set [$args]
  bool quoted = false;   ///< the raw path had a percent escape
  bool changed = false;  ///< by `set $args`: the raw text is no longer what is passed on
};

/// Nothing if nginx answers 400: a path that climbs above the root, a bad escape, an escaped NUL.
/// (nginx: ngx_http_parse_complex_uri, with merge_slashes on)
std::optional<request_uri> parse_target(std::string_view target);

/// Escapes what may not stand in a path. [ngx_escape_uri, NGX_ESCAPE_URI]
std::string escape_path(std::string_view path);

/// The target that `proxy_pass http://…URI` makes: the location's prefix of the path replaced by `uri`.
std::string replace_prefix(const request_uri& request, std::string_view location, std::string_view uri);

}  // namespace wsproxy_gateway
