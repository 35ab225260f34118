#include <wsproxy/websocket/upgrade.hpp>

#include <algorithm>

#include <wsproxy/http/body.hpp>

#include "base64.hpp"

namespace wsproxy {
namespace {

bool wants_websocket(const request_head& head, const upgrade_policy& policy) noexcept {
  return policy.allowed && head.version == http_version::http_1_1 && head.method == "GET" &&
         head.fields.has_token("Upgrade", "websocket") &&
         (policy.lenient_connection || head.fields.has_token("Connection", "upgrade"));
}

bool has_body(const request_head& head) noexcept {
  std::error_code error;
  const auto framing = request_framing(head, error);
  return error || framing.how == body_framing::kind::chunked || framing.length != 0;
}

bool is_allowed_origin(const fields& lines, const std::vector<std::string>& origins) noexcept {
  if (origins.empty()) return true;
  const auto origin = lines.find("Origin");
  return origin && lines.count("Origin") == 1 &&
         std::any_of(origins.begin(), origins.end(),
                     [&](const std::string& allowed) { return iequals(allowed, *origin); });
}

std::error_code broken_rule(const request_head& head, const upgrade_policy& policy) noexcept {
  const auto key = head.fields.find("Sec-WebSocket-Key");
  if (!key) return errc::missing_key;
  if (head.fields.count("Sec-WebSocket-Key") != 1) return errc::duplicate_key;
  if (!is_base64_of_16_bytes(*key)) return errc::bad_key;
  if (head.fields.count("Sec-WebSocket-Version") != 1 ||
      head.fields.value_or_empty("Sec-WebSocket-Version") != "13")
    return errc::bad_websocket_version;
  if (has_body(head)) return errc::upgrade_with_body;
  if (!is_allowed_origin(head.fields, policy.origins)) return errc::origin_not_allowed;
  return {};
}

}  // namespace

upgrade_verdict detect_upgrade(const request_head& head, const upgrade_policy& policy) {
  if (!wants_websocket(head, policy)) return {};
  if (const auto error = broken_rule(head, policy)) return {request_kind::refused, error};
  return {request_kind::websocket};
}

fields refusal_fields(const std::error_code& error) {
  fields extra;
  if (error == errc::bad_websocket_version) extra.add("Sec-WebSocket-Version", "13");
  if (status_for(error) == 426) {
    extra.add("Upgrade", "websocket");
    extra.add("Connection", "upgrade");
  }
  return extra;
}

std::string make_refusal(const std::error_code& error) {
  const int status = status_for(error);
  if (status == 0) return {};
  auto extra = refusal_fields(error);
  extra.add("Content-Type", "text/plain");
  return make_response(status, error.message() + '\n', extra, true);
}

}  // namespace wsproxy
