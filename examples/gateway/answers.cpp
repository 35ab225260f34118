#include "answers.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include <fmt/format.h>

#include "dates.hpp"
#include "values.hpp"

namespace wsproxy_gateway {
namespace {

constexpr std::string_view software = "wsproxy";

template <class List> bool contains_name(const List& names, std::string_view name) {
  return std::ranges::any_of(names, [&](const auto& one) { return wsproxy::iequals(one, name); });
}

/// Of this second; made once for all answers of a thread in it.
const std::string& date_now() {
  thread_local std::time_t second = -1;
  thread_local std::string text;
  if (const auto now = std::time(nullptr); now != second) text = http_date(second = now);
  return text;
}

/// nginx has a page for these.
bool has_page(int status) {
  return (status >= 400 && status <= 416 && status != 407) || status == 421 || status == 429 ||
         (status >= 494 && status <= 497) || (status >= 500 && status <= 507 && status != 506);
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/// nginx closes the connection after these.
bool ends_connection(int status) {
  static constexpr std::array closing{400, 413, 414, 495, 496, 497, 500, 501};
  return std::ranges::find(closing, status) != closing.end();
}

void append_added_fields(wsproxy::fields& out, int status, const place& where, evaluation& e) {
  for (const auto& line : *where.set.add_header) {
    if (!line.always && !gets_added_fields(status)) continue;
    const auto value = safe_field_value(line.value.evaluate(e));
    if (value.empty()) continue;
    const bool single = wsproxy::iequals(line.name, "ETag") || wsproxy::iequals(line.name, "Last-Modified");
    if (single) out.set(line.name, value);
    else out.add(line.name, value);
  }
}

/// A path becomes an address with this server's scheme, name and port, unless the file says otherwise.
std::string absolute(std::string_view location, const place& where, const evaluation& e) {
  std::string text(location);
  if (!*where.set.absolute_redirect || !text.starts_with('/')) return text;
  const auto& state = e.state;
  const bool own_name = *where.set.server_name_in_redirect && !state.server_name.empty();
  auto host = own_name ? state.server_name : state.host;
  if (host.empty()) host = state.local;
  const bool with_port = *where.set.port_in_redirect && state.local_port != 80;
  return with_port ? fmt::format("http://{}:{}{}", host, state.local_port, text)
                   : fmt::format("http://{}{}", host, text);
}

wsproxy::respond make_answer(int status, std::string_view type, std::string body,
                             std::optional<std::string_view> location, const place& where, evaluation& e) {
  wsproxy::respond result{
      .status = status, .extra = {}, .body = std::move(body), .close = ends_connection(status)};
  result.close = result.close || !may_keep_alive(where.set, e.state);
  result.how = where.plain;
  result.extra.add("Server", software);
  result.extra.add("Date", date_now());
  if (status == 204 || status == 304) result.body.clear();
  else if (!type.empty()) result.extra.add("Content-Type", type);
  if (location) result.extra.add("Location", safe_field_value(absolute(*location, where, e)));
  wsproxy::response_head head;
  head.status = status;
  head.fields = result.extra;
  if (status != 204 && status != 304) head.fields.add("Content-Length", std::to_string(result.body.size()));
  e.response = &head;
  append_added_fields(result.extra, status, where, e);
  e.response = nullptr;
  return result;
}

std::string page_text(int status, std::string_view why) {
  return fmt::format(R"(<!doctype html>
<html lang="en">
<title>{0} {1}</title>
<style>body{{font-family:sans-serif;text-align:center;margin-top:15vh}}</style>
<h1>{0} {1}</h1>
{2}<hr><p>{3}</p>
</html>
)",
                     status, wsproxy::reason_phrase(status),
                     why.empty() ? std::string() : fmt::format("<p>{}</p>\n", why), software);
}

/// The type that `types` gives the path's extension, else default_type.
const std::string& type_of(const std::string& path, const settings& set) {
  const auto dot = path.rfind('.');
  if (dot != path.npos && path.find('/', dot) == path.npos) {
    const auto found = set.types->find(to_lower(std::string_view(path).substr(dot + 1)));
    if (found != set.types->end()) return found->second;
  }
  return *set.default_type;
}

/// What the rule makes of a Location; nothing if it does not fit.
std::optional<std::string> redirected(std::string_view value, const redirect_rule& rule, const place& where,
                                      const location_block& location, evaluation& e) {
  if (rule.expression) {
    if (!match_and_capture(rule.expression->expression, rule.expression->captures, value, e.state))
      return std::nullopt;
    return rule.to.evaluate(e);
  }
  const auto& proxy = *where.proxy;
  if (!rule.from && proxy.variable_url) return std::nullopt;
  const auto from = rule.from ? rule.from->evaluate(e) : proxy.uri ? proxy.url : proxy.url + "/";
  if (!value.starts_with(from)) return std::nullopt;
  const auto to = rule.from ? rule.to.evaluate(e) : proxy.uri ? location.name : "/";
  return to + std::string(value.substr(from.size()));
}

std::optional<std::string> redirected(std::string_view value, const place& where,
                                      const location_block& location, evaluation& e) {
  for (const auto& rule : *where.set.proxy_redirect)
    if (auto result = redirected(value, rule, where, location, e)) return result;
  return std::nullopt;
}

bool is_hidden(std::string_view name, const settings& set) {
  static constexpr std::string_view always[] = {"Date",
                                                "Server",
                                                "X-Pad",
                                                "X-Accel-Expires",
                                                "X-Accel-Redirect",
                                                "X-Accel-Limit-Rate",
                                                "X-Accel-Buffering",
                                                "X-Accel-Charset"};
  if (contains_name(*set.proxy_pass_header, name)) return false;
  return contains_name(*set.proxy_hide_header, name) || contains_name(always, name);
}

}  // namespace

std::string safe_field_value(std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte >= 0x20 && byte != 0x7F) || c == '\t') {
      result += c;
    } else {
      result += '%';
      result += digits[byte >> 4];
      result += digits[byte & 15u];
    }
  }
  return result;
}

bool may_keep_alive(const settings& set, const request_state& state) noexcept {
  return set.keepalive_timeout->count() != 0 && state.request < *set.keepalive_requests;
}

bool gets_added_fields(int status) noexcept {
  static constexpr std::array statuses{200, 201, 204, 206, 301, 302, 303, 304, 307, 308};
  return std::ranges::find(statuses, status) != statuses.end();
}

wsproxy::respond make_page(int status, std::string_view why, const place& where, evaluation& e) {
  return make_answer(status, "text/html", page_text(status, why), std::nullopt, where, e);
}

wsproxy::respond make_reply(const answer& reply, const place& where, evaluation& e) {
  const auto text = reply.text ? reply.text->evaluate(e) : std::string();
  const auto to = reply.text ? std::optional<std::string_view>(text) : std::nullopt;
  if (is_redirect(reply.status))
    return make_answer(reply.status, "text/html", page_text(reply.status, {}), to, where, e);
  if (reply.status >= 400 && text.empty()) {
    if (has_page(reply.status)) return make_page(reply.status, {}, where, e);
    return make_answer(reply.status, {}, {}, std::nullopt, where, e);
  }
  return make_answer(reply.status, type_of(e.state.uri.path, where.set), text, std::nullopt, where, e);
}

wsproxy::respond make_redirect(std::string_view path, const place& where, evaluation& e) {
  auto location = escape_path(path);
  if (!e.state.uri.args.empty()) location += "?" + e.state.uri.args;
  return make_answer(301, "text/html", page_text(301, {}), location, where, e);
}

void rewrite_response(wsproxy::response_head& head, const place& where, const location_block& location,
                      evaluation& e) {
  static constexpr std::string_view first[] = {"Content-Type", "Content-Length"};
  const auto& set = where.set;
  wsproxy::fields out;
  // Those that are passed are the backend's, even if it has none.
  const auto passes = [&](std::string_view name) { return contains_name(*set.proxy_pass_header, name); };
  if (!passes("Server")) out.add("Server", software);
  if (!passes("Date")) out.add("Date", date_now());
  // nginx's order: what it writes itself comes first.
  for (const auto name : first)
    if (const auto value = head.fields.find(name); value && !is_hidden(name, set)) out.add(name, *value);
  for (const auto field : head.fields) {
    if (contains_name(first, field.name) || is_hidden(field.name, set)) continue;
    if (wsproxy::iequals(field.name, "Location")) {
      const auto to = redirected(field.value, where, location, e);
      out.add(field.name, to ? absolute(safe_field_value(*to), where, e) : field.value);
    } else if (const auto url = wsproxy::iequals(field.name, "Refresh") ? to_lower(field.value).find("url=")
                                                                        : field.value.npos;
               url != field.value.npos) {
      const auto to = redirected(field.value.substr(url + 4), where, location, e);
      out.add(field.name,
              to ? std::string(field.value.substr(0, url + 4)) + safe_field_value(*to) : field.value);
    } else {
      out.add(field.name, field.value);
    }
  }
  e.response = &head;  // with the upstream's fields, for $upstream_http_NAME
  append_added_fields(out, head.status, where, e);
  e.response = nullptr;
  head.fields = std::move(out);
}

}  // namespace wsproxy_gateway
