#include <wsproxy/websocket/handshake.hpp>

#include <optional>
#include <stdexcept>

#include <wsproxy/http/rewrite.hpp>

#include "../http/hop_by_hop.hpp"
#include "../http/target.hpp"
#include "base64.hpp"
#include "sha1.hpp"

namespace wsproxy {
namespace {

bool is_upgrade_field(std::string_view name) noexcept {
  return iequals(name, "Upgrade") || iequals(name, "Connection");
}

bool is_framing_field(std::string_view name) noexcept {
  return iequals(name, "Content-Length") || iequals(name, "Transfer-Encoding");
}

void add_framing(fields& out, const body_framing& body) {
  if (body.how == body_framing::kind::length) out.add("Content-Length", std::to_string(body.length));
  if (body.how == body_framing::kind::chunked) out.add("Transfer-Encoding", "chunked");
}

// The origin-form of an absolute-form target, as nginx sends it; OPTIONS without a path asks about the server
// itself (RFC 9112 section 3.2.4).
std::string target_for_upstream(const request_head& in) {
  const auto absolute = split_absolute(in.target);
  if (!absolute) return in.target;
  if (in.method == "OPTIONS" && absolute->rest.empty()) return "*";
  std::string path(absolute->rest.starts_with('/') ? "" : "/");
  return path.append(absolute->rest);
}

// Room for the lines of both and a few short ones of ours.
void make_room(fields& out, const fields& a, const fields& b = {}) {
  out.reserve(a.size() + b.size() + 4, a.bytes() + b.bytes() + 80);
}

// What Upgrade or Connection says upstream; empty: the field is left out. A configured value that means
// the same keeps its spelling.
std::string_view decided(std::string_view name, std::optional<std::string_view> configured,
                         request_kind kind) {
  const bool websocket = kind == request_kind::websocket;
  std::string_view value;
  if (iequals(name, "Upgrade")) value = websocket ? "websocket" : "";
  else if (websocket) value = "upgrade";
  else value = configured == "" ? "" : "close";
  return configured && iequals(*configured, value) ? *configured : value;
}

// The order is nginx's: configured fields, then those that frame the body, then the client's.
fields fields_for_upstream(const request_head& in, request_kind kind, const body_framing& body,
                           const fields& set) {
  const fields& client = in.fields;
  const hop_by_hop_fields dropped(client);
  fields out;
  make_room(out, client, set);
  const auto add_decided = [&](std::string_view name, std::optional<std::string_view> configured) {
    const auto value = decided(name, configured, kind);
    if (!value.empty() && !out.find(name)) out.add(name, value);
  };
  const bool has_host = set.find("Host").value_or(client.value_or_empty("Host")) != "";
  if (!has_host) out.add("Host", "");
  for (const auto& line : set) {
    if (is_upgrade_field(line.name)) add_decided(line.name, line.value);
    else if (!line.value.empty() && !is_framing_field(line.name)) out.add(line.name, line.value);
  }
  for (const std::string_view name : {"Upgrade", "Connection"})
    if (!set.find(name)) add_decided(name, std::nullopt);
  add_framing(out, body);
  out.add_if(client, [&](const field& line) {
    return !dropped.has(line.name) && !is_framing_field(line.name) && !iequals(line.name, "Expect") &&
           !set.find(line.name);
  });
  return out;
}

std::error_code broken_rule(const request_head& sent, request_kind kind, const fields& answer) {
  if (kind != request_kind::websocket) return errc::unasked_switch;
  std::size_t protocols = 0;
  for (const auto& line : answer)
    if (iequals(line.name, "Upgrade"))
      for_each_element(line.value, [&](std::string_view) { return ++protocols; });
  if (protocols != 1 || !answer.has_token("Upgrade", "websocket")) return errc::bad_switch_upgrade;
  if (!answer.has_token("Connection", "upgrade")) return errc::bad_switch_connection;
  const auto key = sent.fields.value_or_empty("Sec-WebSocket-Key");
  if (answer.count("Sec-WebSocket-Accept") != 1 || answer.find("Sec-WebSocket-Accept") != accept_key(key))
    return errc::bad_accept;
  return {};
}

}  // namespace

std::string make_key(const std::array<std::uint8_t, 16>& random) { return base64(random); }

std::string accept_key(std::string_view sec_websocket_key) {
  return base64(sha1({sec_websocket_key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"}));
}

request_head make_upstream_request(const request_head& in, request_kind kind, const body_framing& body,
                                   const request_rewrite& rewrite) {
  // HTTP/1.0 has neither Upgrade nor chunked.
  const bool needs_1_1 = kind == request_kind::websocket || body.how == body_framing::kind::chunked;
  return {in.method, rewrite.target.empty() ? target_for_upstream(in) : rewrite.target,
          needs_1_1 ? http_version::http_1_1 : rewrite.version,
          fields_for_upstream(in, kind, body, rewrite.set)};
}

request_head make_upstream_request(const request_head& in, request_kind kind) {
  std::error_code error;
  const auto body = request_framing(in, error);
  if (error) throw std::invalid_argument(error.message());
  return make_upstream_request(in, kind, kind == request_kind::websocket ? body_framing{} : body);
}

response_verdict check_response(const request_head& sent, request_kind kind, const response_head& response) {
  if (response.status < 100 || response.status > 999)
    return {response_verdict::kind::broken, errc::bad_response};
  if (response.status >= 200) return {response_verdict::kind::final};
  if (response.status != 101) return {response_verdict::kind::interim};
  if (const auto error = broken_rule(sent, kind, response.fields))
    return {response_verdict::kind::broken, error};
  return {response_verdict::kind::switched};
}

response_head make_downstream_response(const response_head& in, const body_framing& body, bool keep_alive,
                                       http_version client) {
  response_head out{in.status, in.reason, http_version::http_1_1, {}};
  const hop_by_hop_fields dropped(in.fields);
  make_room(out.fields, in.fields);
  if (in.status == 101) {
    out.fields.add("Connection", "upgrade");
    out.fields.add("Upgrade", "websocket");
  }
  // A body of known length, or the length that a HEAD or a 304 tells about.
  const bool keeps_length = body.how == body_framing::kind::length ||
                            (body.how == body_framing::kind::none && in.status >= 200 && in.status != 204);
  out.fields.add_if(in.fields, [&](const field& line) {
    return !dropped.has(line.name) && (keeps_length || !iequals(line.name, "Content-Length"));
  });
  if (in.status < 200) return out;
  if (body.how == body_framing::kind::length) out.fields.set("Content-Length", std::to_string(body.length));
  const bool chunked = body.how == body_framing::kind::chunked && client == http_version::http_1_1;
  if (chunked) out.fields.add("Transfer-Encoding", "chunked");
  const bool framed =
      chunked || body.how == body_framing::kind::length || body.how == body_framing::kind::none;
  if (!keep_alive || !framed) out.fields.add("Connection", "close");
  else if (client == http_version::http_1_0) out.fields.add("Connection", "keep-alive");
  return out;
}

}  // namespace wsproxy
