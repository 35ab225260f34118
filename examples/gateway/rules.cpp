// The table of directives, and those that set one value.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "handlers.hpp"
#include "values.hpp"

namespace wsproxy_gateway {
namespace {

using how = rule::disposition;

// ---- Directives with one value

void bad_value(scope& in, const directive& d, std::string_view expected) {
  in.report().error(d.words[1].at, "invalid value \"" + d.words[1].text + "\" in \"" + d.name().text +
                                       "\" directive: " + std::string(expected));
}

/// nginx fires a timer of zero at once, where ours would be off.
wsproxy::duration at_once_if_zero(std::chrono::milliseconds t) { return std::max(t, std::chrono::milliseconds(1)); }

template <auto Member> void time_value(scope& in, const directive& d) {
  const auto t = parse_time(d.words[1].text);
  if (!t) return bad_value(in, d, "a time is 60s, 1m30s or 500ms");
  in.set->*Member = at_once_if_zero(*t);
}

template <auto Member> void flag_value(scope& in, const directive& d) {
  const auto text = to_lower(d.words[1].text);
  if (text != "on" && text != "off") return bad_value(in, d, "it is on or off");
  in.set->*Member = text == "on";
}

template <auto Member> void name_list(scope& in, const directive& d) {
  auto& list = in.set->*Member;
  if (!list) list.emplace();
  list->push_back(d.words[1].text);
}

/// Zero: connections are not kept. The second time would be told to the client.
void keepalive_timeout(scope& in, const directive& d) {
  const auto t = parse_time(d.words[1].text);
  if (!t) return bad_value(in, d, "a time is 60s, 1m30s or 500ms");
  in.set->keepalive_timeout = *t;
  if (d.arguments() == 1) return;
  if (parse_seconds(d.words[2].text))
    in.report().warning(d.words[2].at, "the second time of \"keepalive_timeout\" is ignored: clients are not told");
  else
    in.report().error(d.words[2].at, "invalid value \"" + d.words[2].text + "\" in \"keepalive_timeout\" directive: "
                                        "a time of whole seconds is 60s or 1m30s");
}

template <auto Member> void number_value(scope& in, const directive& d) {
  const auto number = parse_number(d.words[1].text);
  if (!number) return bad_value(in, d, "it is a number");
  in.set->*Member = *number;
}

void body_size(scope& in, const directive& d) {
  const auto size = parse_size(d.words[1].text);
  if (!size) return bad_value(in, d, "a size is 8k, 1m or 1g");
  in.set->client_max_body_size = *size;
}

void buffer_size(scope& in, const directive& d) {
  const auto size = parse_size(d.words[1].text);
  if (!size || *size == 0) return bad_value(in, d, "a size is 4k or 8k");
  in.set->proxy_buffer_size = static_cast<std::size_t>(*size);
}

void header_buffers(scope& in, const directive& d) {
  const auto number = parse_number(d.words[1].text);
  const auto size = parse_size(d.words[2].text);
  if (!number || *number == 0) return bad_value(in, d, "it is a number and a size, as 4 8k");
  if (!size || *size < 512 || *size > (1u << 30)) {
    in.report().error(d.words[2].at, "invalid value \"" + d.words[2].text +
                                         "\" in \"large_client_header_buffers\" directive: a size is 8k, and 512 at least");
    return;
  }
  in.set->large_client_header_buffers = {*number, static_cast<std::size_t>(*size)};
}

/// Field names outside letters, digits and - are kept; all of them, or those with _.
template <auto Member, bool KeptWhen> void unusual_names(scope& in, const directive& d) {
  const auto text = to_lower(d.words[1].text);
  if (text != "on" && text != "off") return bad_value(in, d, "it is on or off");
  in.set->*Member = (text == "on") == KeptWhen;
}

void http_version(scope& in, const directive& d) {
  if (d.words[1] == "1.1") in.set->proxy_http_version = wsproxy::http_version::http_1_1;
  else if (d.words[1] == "1.0") in.set->proxy_http_version = wsproxy::http_version::http_1_0;
  else bad_value(in, d, "it is 1.1 or 1.0");
}

bool is_field_name(scope& in, const word& name) {
  if (wsproxy::is_token(name.text)) return true;
  in.report().error(name.at, "\"" + name.text + "\" is no field name");
  return false;
}

void set_header(scope& in, const directive& d) {
  if (!is_field_name(in, d.words[1])) return;
  auto& list = in.set->proxy_set_header;
  if (!list) list.emplace();
  list->push_back({d.words[1].text, text_template::compile(d.words[2], in.variables(), in.report()), false});
}

/// Fields that say where a message ends or what becomes of the connection are not the file's to add.
bool is_framing(std::string_view name) {
  static constexpr std::string_view names[] = {"Content-Length", "Transfer-Encoding", "Connection", "Upgrade"};
  return std::ranges::any_of(names, [&](std::string_view one) { return wsproxy::iequals(one, name); });
}

void add_header(scope& in, const directive& d) {
  if (!is_field_name(in, d.words[1])) return;
  if (is_framing(d.words[1].text)) {
    in.report().warning(d.words[1].at, "\"" + d.words[1].text + "\" is not added: the gateway decides it itself");
    if (!in.set->add_header) in.set->add_header.emplace();
    return;
  }
  if (d.arguments() == 3 && d.words[3] != "always") {
    in.report().error(d.words[3].at, "invalid parameter \"" + d.words[3].text + "\": only \"always\" may stand here");
    return;
  }
  auto& list = in.set->add_header;
  if (!list) list.emplace();
  list->push_back(
      {d.words[1].text, text_template::compile(d.words[2], in.variables(), in.report()), d.arguments() == 3});
}

void default_type(scope& in, const directive& d) { in.set->default_type = d.words[1].text; }

void proxy_redirect(scope& in, const directive& d) {
  const auto& value = d.words[1];
  if ((value != "default" && value != "off") || d.arguments() == 2) {
    in.report().error(value.at, "\"proxy_redirect\" with replacements is not supported: it is default or off");
    return;
  }
  in.set->proxy_redirect = value == "default";
  if (value == "off") return;
  if (in.where != in_location || !in.here->proxy)
    in.report().error(value.at, "\"proxy_redirect default\" belongs behind the \"proxy_pass\" of its location");
  else if (in.here->proxy->variable_url)
    in.report().error(value.at, "\"proxy_redirect default\" cannot stand beside a \"proxy_pass\" with variables");
}

void next_upstream(scope& in, const directive& d) {
  using wsproxy::retry;
  static constexpr std::pair<std::string_view, unsigned> conditions[] = {
      {"error", retry::error},       {"timeout", retry::timeout},   {"invalid_header", retry::invalid_header},
      {"http_500", retry::http_500}, {"http_502", retry::http_502}, {"http_503", retry::http_503},
      {"http_504", retry::http_504}, {"http_403", retry::http_403}, {"http_404", retry::http_404},
      {"http_429", retry::http_429}, {"non_idempotent", retry::non_idempotent},
      {"updating", 0},               {"off", settings::never_retry}};
  unsigned on = in.set->next_upstream.value_or(0);
  for (std::size_t i = 1; i != d.words.size(); ++i) {
    const auto& text = d.words[i].text;
    const auto* found = std::ranges::find(conditions, to_lower(text), [](const auto& c) { return c.first; });
    if (found == std::end(conditions)) {
      std::vector<std::string_view> names;
      for (const auto& one : conditions) names.push_back(one.first);
      const auto meant = closest(to_lower(text), names);
      in.report().error(d.words[i].at, "invalid value \"" + text + "\" in \"proxy_next_upstream\" directive" +
                                           (meant.empty() ? "" : "; did you mean \"" + std::string(meant) + "\"?"));
      return;
    }
    on |= found->second;
  }
  in.set->next_upstream = on;
}

void next_upstream_timeout(scope& in, const directive& d) {
  const auto t = parse_time(d.words[1].text);
  if (!t) return bad_value(in, d, "a time is 60s, 1m30s or 500ms");
  in.set->next_upstream_timeout = *t;
}

/// A log that could not be opened is a mistake of the file's.
void check_log_path(scope& in, const word& path) {
  auto folder = std::filesystem::path(path.text).parent_path();
  if (folder.empty()) folder = ".";
  std::error_code error;
  if (std::filesystem::is_directory(path.text, error))
    in.report().error(path.at, "cannot open the log \"" + path.text + "\": it is a directory");
  else if (::access(path.text.c_str(), W_OK) != 0 && (errno != ENOENT || ::access(folder.c_str(), W_OK | X_OK) != 0))
    in.report().error(path.at, "cannot open the log \"" + path.text + "\": " + std::strerror(errno));
}

void access_log(scope& in, const directive& d) {
  auto& list = in.set->access_log;
  if (!list) list.emplace();
  const auto& path = d.words[1];
  if (path == "off") {
    if (d.arguments() > 1) in.report().error(d.words[2].at, "\"access_log off\" takes nothing more");
    return list->clear();
  }
  if (path.text.starts_with("syslog:") || has_variable(path.text)) {
    in.report().error(path.at, "\"access_log\" takes off or a file's path");
    return;
  }
  if (d.arguments() > 1 && d.words[2] != "combined") {
    if (!in.all.log_formats.contains(d.words[2].text)) {
      in.report().error(d.words[2].at, "unknown log format \"" + d.words[2].text + "\": \"log_format\" declares one");
      return;
    }
    if (in.all.warned.insert("access_log format").second)
      in.report().warning(d.words[2].at, "\"" + d.words[2].text + "\" is ignored: the access log has its own format");
  }
  check_log_path(in, path);
  list->push_back({path.text});
}

/// Ignored, but access_log may only name one that is there.
void log_format(scope& in, const directive& d) {
  if (d.arguments() < 2) {
    in.report().error(d.at(), "invalid number of arguments in \"log_format\" directive: it takes 2 or more");
    return;
  }
  if (d.words[1] == "combined" || !in.all.log_formats.insert(d.words[1].text).second)
    in.report().error(d.words[1].at, "duplicate \"log_format\" name \"" + d.words[1].text + "\"");
}

void positive_number(scope& in, const directive& d) {
  if (d.arguments() != 1 || parse_number(d.words[1].text).value_or(0) == 0)
    in.report().error(d.words[std::min<std::size_t>(1, d.arguments())].at,
                      "invalid value in \"" + d.name().text + "\" directive: it is a number");
}

void error_log(scope& in, const directive& d) {
  const auto& path = d.words[1];
  if (path.text.starts_with("syslog:") || path.text.starts_with("memory:")) {
    in.report().error(path.at, "\"error_log\" takes stderr or a file's path");
    return;
  }
  static constexpr std::string_view levels[] = {"debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"};
  if (d.arguments() > 1 && std::ranges::find(levels, d.words[2].text) == std::end(levels)) {
    in.report().error(d.words[2].at, "invalid log level \"" + d.words[2].text + "\"");
    return;
  }
  if (path == "stderr") return;
  check_log_path(in, path);
  in.all.config.error_log = path.text;
}

void worker_processes(scope& in, const directive& d) {
  if (d.words[1] == "auto") {
    in.all.config.worker_processes = std::max(1u, std::thread::hardware_concurrency());
    return;
  }
  const auto number = parse_number(d.words[1].text);
  if (!number || *number == 0 || *number > 1024) return bad_value(in, d, "it is a number, or auto");
  in.all.config.worker_processes = *number;
}

void worker_shutdown_timeout(scope& in, const directive& d) {
  const auto t = parse_time(d.words[1].text);
  if (!t) return bad_value(in, d, "a time is 60s, 1m30s or 500ms");
  in.all.config.worker_shutdown_timeout = *t;
}

// ---- The table

constexpr unsigned anywhere = 0xFF;
constexpr unsigned all_levels = in_http | in_server | in_location;
constexpr bool once = true;

constexpr rule simple(std::string_view name, unsigned contexts, std::size_t least, std::size_t most, handler act,
                      bool is_once = false) {
  return {how::understood, name, contexts, least, most, false, act, is_once, {}};
}
constexpr rule blocked(std::string_view name, unsigned contexts, std::size_t least, std::size_t most, handler act,
                       bool is_once = false) {
  return {how::understood, name, contexts, least, most, true, act, is_once, {}};
}
constexpr rule ignored(std::string_view name, unsigned contexts, handler check = nullptr) {
  return {how::ignored, name, contexts, 0, any_number, false, check, false, {}};
}
constexpr rule refused(std::string_view name, std::string_view why) {
  return {how::refused, name, anywhere, 0, any_number, false, nullptr, false, why};
}

/// `root` and the like beside a proxy_pass have no effect; alone they would serve files.
void file_serving(scope& in, const directive& d) {
  if (in.where == in_location) in.all.files.emplace_back(in.here, d.at());
  if (in.all.warned.insert(d.name() == "index" ? "index" : "root").second)
    in.report().warning(d.at(), "\"" + d.name().text + "\" is ignored: files are not served");
}

constexpr std::string_view restricts = "it restricts access, and ignoring it would open what it closes";
constexpr std::string_view encrypts = "it encrypts, and this gateway speaks plain HTTP/1.1";
constexpr std::string_view serves = "it changes what is served";
constexpr std::string_view changes = "it changes the request or the response";
constexpr std::string_view balances = "this balancing method is not there yet";
constexpr std::string_view other_protocol = "this gateway speaks HTTP/1.1 and WebSocket only";

constexpr rule table[] = {
    // Blocks
    blocked("events", in_main, 0, 0, act::events, once),
    blocked("http", in_main, 0, 0, act::http, once),
    blocked("map", in_http, 2, 2, act::map),
    blocked("upstream", in_http, 1, 1, act::upstream),
    blocked("server", in_http, 0, 0, act::server),
    blocked("location", in_server | in_location, 1, 2, act::location),
    blocked("if", in_server | in_location, 1, any_number, act::if_block),
    blocked("types", all_levels, 0, 0, act::types),
    // The process
    simple("worker_processes", in_main, 1, 1, worker_processes, once),
    simple("worker_shutdown_timeout", in_main, 1, 1, worker_shutdown_timeout, once),
    simple("error_log", in_main | all_levels, 1, 2, error_log),
    simple("access_log", all_levels | in_location_if, 1, any_number, access_log),
    // Upstreams
    simple("server", in_upstream, 1, any_number, act::upstream_server),
    simple("zone", in_upstream, 1, 2, act::zone, once),
    simple("resolver", in_http | in_upstream, 1, any_number, act::resolver, once),
    simple("hash", in_upstream, 1, 2, act::hash),
    simple("ip_hash", in_upstream, 0, 0, act::ip_hash),
    simple("least_conn", in_upstream, 0, 0, act::least_conn),
    simple("random", in_upstream, 0, 2, act::random),
    // Servers
    simple("listen", in_server, 1, any_number, act::listen),
    simple("server_name", in_server, 1, any_number, act::server_name),
    simple("client_header_timeout", in_http | in_server, 1, 1, time_value<&settings::client_header_timeout>, once),
    simple("client_body_timeout", all_levels, 1, 1, time_value<&settings::client_body_timeout>, once),
    simple("client_max_body_size", all_levels, 1, 1, body_size, once),
    simple("large_client_header_buffers", in_http | in_server, 2, 2, header_buffers, once),
    simple("underscores_in_headers", in_http | in_server, 1, 1, unusual_names<&settings::keep_underscores, true>, once),
    simple("ignore_invalid_headers", in_http | in_server, 1, 1, unusual_names<&settings::keep_unusual_names, false>, once),
    simple("keepalive_timeout", all_levels, 1, 2, keepalive_timeout, once),
    simple("keepalive_requests", all_levels, 1, 1, number_value<&settings::keepalive_requests>, once),
    simple("send_timeout", all_levels, 1, 1, time_value<&settings::send_timeout>, once),
    // Answers
    simple("return", in_server | in_location | in_server_if | in_location_if, 1, 2, act::return_answer),
    simple("set", in_server | in_location | in_server_if | in_location_if, 2, 2, act::set),
    simple("break", in_server | in_location | in_server_if | in_location_if, 0, 0, act::break_rewrite),
    simple("add_header", all_levels | in_location_if, 2, 3, add_header),
    simple("default_type", all_levels, 1, 1, default_type, once),
    simple("absolute_redirect", all_levels, 1, 1, flag_value<&settings::absolute_redirect>, once),
    simple("port_in_redirect", all_levels, 1, 1, flag_value<&settings::port_in_redirect>, once),
    simple("server_name_in_redirect", all_levels, 1, 1, flag_value<&settings::server_name_in_redirect>, once),
    // Proxying
    simple("proxy_pass", in_location | in_location_if, 1, 1, act::proxy_pass, once),
    simple("proxy_http_version", all_levels, 1, 1, http_version, once),
    simple("proxy_set_header", all_levels, 2, 2, set_header),
    simple("proxy_hide_header", all_levels, 1, 1, name_list<&settings::proxy_hide_header>),
    simple("proxy_pass_header", all_levels, 1, 1, name_list<&settings::proxy_pass_header>),
    simple("proxy_redirect", all_levels, 1, 2, proxy_redirect, once),
    simple("proxy_connect_timeout", all_levels, 1, 1, time_value<&settings::proxy_connect_timeout>, once),
    simple("proxy_read_timeout", all_levels, 1, 1, time_value<&settings::proxy_read_timeout>, once),
    simple("proxy_send_timeout", all_levels, 1, 1, time_value<&settings::proxy_send_timeout>, once),
    simple("proxy_buffer_size", all_levels, 1, 1, buffer_size, once),
    simple("proxy_next_upstream", all_levels, 1, any_number, next_upstream),
    simple("proxy_next_upstream_tries", all_levels, 1, 1, number_value<&settings::next_upstream_tries>, once),
    simple("proxy_next_upstream_timeout", all_levels, 1, 1, next_upstream_timeout, once),
    // WebSockets
    simple("websocket_heartbeat", all_levels, 1, 3, act::websocket_heartbeat, once),
    simple("websocket_max_lifetime", all_levels, 1, 2, act::websocket_max_lifetime, once),
    simple("websocket_max_message_size", all_levels, 1, 1, act::websocket_max_message_size, once),
    simple("websocket_max_frame_size", all_levels, 1, 1, act::websocket_max_frame_size, once),
    simple("websocket_frames", all_levels, 1, 1, act::websocket_frames, once),
    simple("websocket_drain", all_levels, 1, 3, act::websocket_drain, once),
    simple("websocket_slow_consumer", all_levels, 1, 1, act::websocket_slow_consumer, once),

    // They only tune
    ignored("daemon", in_main), ignored("master_process", in_main), ignored("user", in_main),
    ignored("pid", in_main), ignored("lock_file", in_main), ignored("env", in_main), ignored("pcre_jit", in_main),
    ignored("thread_pool", in_main), ignored("timer_resolution", in_main), ignored("worker_cpu_affinity", in_main),
    ignored("worker_priority", in_main), ignored("worker_rlimit_core", in_main),
    ignored("worker_rlimit_nofile", in_main), ignored("working_directory", in_main), ignored("debug_points", in_main),
    ignored("load_module", in_main),
    ignored("worker_connections", in_events), ignored("use", in_events), ignored("multi_accept", in_events),
    ignored("accept_mutex", in_events), ignored("accept_mutex_delay", in_events),
    ignored("debug_connection", in_events), ignored("worker_aio_requests", in_events),
    ignored("aio", all_levels), ignored("aio_write", all_levels), ignored("directio", all_levels),
    ignored("sendfile", all_levels | in_location_if), ignored("sendfile_max_chunk", all_levels), ignored("tcp_nodelay", all_levels),
    ignored("tcp_nopush", all_levels), ignored("output_buffers", all_levels), ignored("postpone_output", all_levels),
    ignored("lingering_close", all_levels), ignored("lingering_time", all_levels),
    ignored("lingering_timeout", all_levels), ignored("reset_timedout_connection", all_levels),
    ignored("keepalive_time", all_levels | in_upstream), ignored("keepalive_disable", all_levels),
    ignored("keepalive", in_upstream, positive_number), ignored("keepalive_requests", in_upstream),
    ignored("keepalive_timeout", in_upstream), ignored("resolver_timeout", in_http | in_upstream),
    ignored("client_body_buffer_size", all_levels), ignored("client_body_in_file_only", all_levels),
    ignored("client_body_in_single_buffer", all_levels), ignored("client_body_temp_path", all_levels),
    ignored("client_header_buffer_size", in_http | in_server), ignored("connection_pool_size", in_http | in_server),
    ignored("request_pool_size", in_http | in_server), ignored("max_ranges", all_levels),
    ignored("gzip", all_levels | in_location_if), ignored("gzip_buffers", all_levels),
    ignored("gzip_comp_level", all_levels), ignored("gzip_disable", all_levels),
    ignored("gzip_http_version", all_levels), ignored("gzip_min_length", all_levels),
    ignored("gzip_proxied", all_levels), ignored("gzip_static", all_levels), ignored("gzip_types", all_levels),
    ignored("gzip_vary", all_levels),
    ignored("log_format", in_http, log_format), ignored("log_not_found", all_levels), ignored("log_subrequest", all_levels),
    ignored("rewrite_log", all_levels), ignored("uninitialized_variable_warn", all_levels),
    ignored("open_log_file_cache", all_levels), ignored("open_file_cache", all_levels),
    ignored("open_file_cache_errors", all_levels), ignored("open_file_cache_min_uses", all_levels),
    ignored("open_file_cache_valid", all_levels),
    ignored("map_hash_bucket_size", in_http), ignored("map_hash_max_size", in_http),
    ignored("server_names_hash_bucket_size", in_http), ignored("server_names_hash_max_size", in_http),
    ignored("types_hash_bucket_size", all_levels), ignored("types_hash_max_size", all_levels),
    ignored("variables_hash_bucket_size", in_http), ignored("variables_hash_max_size", in_http),
    ignored("proxy_headers_hash_bucket_size", all_levels), ignored("proxy_headers_hash_max_size", all_levels),
    ignored("proxy_buffering", all_levels), ignored("proxy_buffers", all_levels),
    ignored("proxy_busy_buffers_size", all_levels), ignored("proxy_max_temp_file_size", all_levels),
    ignored("proxy_request_buffering", all_levels), ignored("proxy_temp_file_write_size", all_levels),
    ignored("proxy_temp_path", all_levels), ignored("proxy_socket_keepalive", all_levels),
    ignored("proxy_ignore_client_abort", all_levels), ignored("proxy_intercept_errors", all_levels),
    ignored("fastcgi_temp_path", all_levels), ignored("scgi_temp_path", all_levels),
    ignored("uwsgi_temp_path", all_levels), ignored("server_tokens", all_levels), ignored("etag", all_levels),
    ignored("recursive_error_pages", all_levels), ignored("msie_padding", all_levels),
    ignored("msie_refresh", all_levels), ignored("read_ahead", all_levels),
    simple("root", all_levels | in_location_if, 1, 1, file_serving, once),
    simple("index", all_levels, 1, any_number, file_serving),

    // Refused
    refused("allow", restricts), refused("deny", restricts), refused("satisfy", restricts),
    refused("auth_basic", restricts), refused("auth_basic_user_file", restricts), refused("auth_request", restricts),
    refused("auth_request_set", restricts), refused("auth_delay", restricts), refused("auth_jwt", restricts),
    refused("internal", restricts), refused("limit_conn", restricts), refused("limit_conn_zone", restricts),
    refused("limit_conn_status", restricts), refused("limit_conn_log_level", restricts),
    refused("limit_conn_dry_run", restricts), refused("limit_req", restricts), refused("limit_req_zone", restricts),
    refused("limit_req_status", restricts), refused("limit_req_log_level", restricts),
    refused("limit_req_dry_run", restricts), refused("limit_except", restricts), refused("limit_rate", restricts),
    refused("limit_rate_after", restricts), refused("valid_referers", restricts), refused("secure_link", restricts),
    refused("secure_link_md5", restricts), refused("secure_link_secret", restricts),
    refused("set_real_ip_from", restricts), refused("real_ip_header", restricts),
    refused("real_ip_recursive", restricts), refused("geo", restricts), refused("max_headers", restricts),
    refused("disable_symlinks", restricts),
    refused("ssl", encrypts), refused("ssl_certificate", encrypts), refused("ssl_certificate_key", encrypts),
    refused("ssl_ciphers", encrypts), refused("ssl_client_certificate", encrypts), refused("ssl_crl", encrypts),
    refused("ssl_dhparam", encrypts), refused("ssl_early_data", encrypts), refused("ssl_ecdh_curve", encrypts),
    refused("ssl_ocsp", encrypts), refused("ssl_password_file", encrypts),
    refused("ssl_prefer_server_ciphers", encrypts), refused("ssl_protocols", encrypts),
    refused("ssl_reject_handshake", encrypts), refused("ssl_session_cache", encrypts),
    refused("ssl_session_tickets", encrypts), refused("ssl_session_timeout", encrypts),
    refused("ssl_stapling", encrypts), refused("ssl_stapling_verify", encrypts),
    refused("ssl_trusted_certificate", encrypts), refused("ssl_verify_client", encrypts),
    refused("ssl_verify_depth", encrypts), refused("ssl_buffer_size", encrypts), refused("ssl_engine", encrypts),
    refused("ssl_conf_command", encrypts), refused("ssl_session_ticket_key", encrypts), refused("http2", encrypts),
    refused("http3", encrypts), refused("proxy_ssl_certificate", encrypts),
    refused("proxy_ssl_certificate_key", encrypts), refused("proxy_ssl_ciphers", encrypts),
    refused("proxy_ssl_name", encrypts), refused("proxy_ssl_protocols", encrypts),
    refused("proxy_ssl_server_name", encrypts), refused("proxy_ssl_session_reuse", encrypts),
    refused("proxy_ssl_trusted_certificate", encrypts), refused("proxy_ssl_verify", encrypts),
    refused("proxy_ssl_verify_depth", encrypts),
    refused("alias", serves), refused("try_files", serves), refused("rewrite", serves), refused("error_page", serves),
    refused("autoindex", serves), refused("expires", serves), refused("charset", serves), refused("mirror", serves),
    refused("split_clients", serves), refused("stub_status", serves), refused("empty_gif", serves),
    refused("merge_slashes", serves), refused("post_action", serves), refused("resolver", serves),
    refused("resolver_timeout", serves), refused("random_index", serves), refused("dav_methods", serves),
    refused("flv", serves), refused("mp4", serves), refused("ssi", serves), refused("gunzip", serves),
    refused("image_filter", serves), refused("perl", serves), refused("js_content", serves),
    refused("add_trailer", changes), refused("add_header_inherit", changes), refused("sub_filter", changes),
    refused("add_before_body", changes), refused("add_after_body", changes), refused("chunked_transfer_encoding", changes),
    refused("proxy_method", changes), refused("proxy_set_body", changes),
    refused("proxy_pass_request_headers", changes), refused("proxy_pass_request_body", changes),
    refused("proxy_bind", changes), refused("proxy_cookie_domain", changes), refused("proxy_cookie_path", changes),
    refused("proxy_cookie_flags", changes), refused("proxy_ignore_headers", changes),
    refused("proxy_force_ranges", changes), refused("proxy_limit_rate", changes), refused("proxy_store", changes),
    refused("proxy_cache", changes), refused("proxy_cache_path", changes), refused("proxy_cache_key", changes),
    refused("proxy_cache_valid", changes), refused("proxy_cache_bypass", changes),
    refused("proxy_no_cache", changes), refused("proxy_cache_use_stale", changes),
    refused("proxy_cache_lock", changes), refused("proxy_cache_methods", changes),
    refused("least_time", balances), refused("sticky", balances), refused("sticky_cookie_insert", balances),
    refused("queue", balances), refused("state", balances),
    refused("stream", other_protocol), refused("mail", other_protocol), refused("fastcgi_pass", other_protocol),
    refused("uwsgi_pass", other_protocol), refused("scgi_pass", other_protocol), refused("grpc_pass", other_protocol),
    refused("memcached_pass", other_protocol),
};

}  // namespace

std::span<const rule> rules() { return table; }

}  // namespace wsproxy_gateway
