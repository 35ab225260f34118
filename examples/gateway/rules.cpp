// The table of directives, and those that set one value.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "handlers.hpp"
#include "values.hpp"

namespace wsproxy_gateway {
namespace {

using how = rule::disposition;

// ---- Directives with one value

void bad_value(scope& in, const directive& d, std::string_view expected) {
  in.report().error(d.words[1].at, R"(invalid value "{}" in "{}" directive: {})", d.words[1].text,
                    d.name().text, expected);
}

/// nginx fires a timer of zero at once, where ours would be off.
wsproxy::duration at_once_if_zero(std::chrono::milliseconds t) {
  return std::max(t, std::chrono::milliseconds(1));
}

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
    in.report().warning(d.words[2].at,
                        "the second time of \"keepalive_timeout\" is ignored: clients are not told");
  else
    in.report().error(d.words[2].at,
                      R"(invalid value "{}" in "keepalive_timeout" directive: )"
                      "a time of whole seconds is 60s or 1m30s",
                      d.words[2].text);
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
    in.report().error(d.words[2].at,
                      R"(invalid value "{}" in "large_client_header_buffers" directive: )"
                      "a size is 8k, and 512 at least",
                      d.words[2].text);
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
  in.report().error(name.at, R"("{}" is no field name)", name.text);
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
  static constexpr std::string_view names[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                               "Upgrade"};
  return std::ranges::any_of(names, [&](std::string_view one) { return wsproxy::iequals(one, name); });
}

void add_header(scope& in, const directive& d) {
  if (!is_field_name(in, d.words[1])) return;
  if (is_framing(d.words[1].text)) {
    in.report().warning(d.words[1].at, R"("{}" is not added: the gateway decides it itself)",
                        d.words[1].text);
    if (!in.set->add_header) in.set->add_header.emplace();
    return;
  }
  if (d.arguments() == 3 && d.words[3] != "always") {
    in.report().error(d.words[3].at, R"(invalid parameter "{}": only "always" may stand here)",
                      d.words[3].text);
    return;
  }
  auto& list = in.set->add_header;
  if (!list) list.emplace();
  list->push_back(
      {d.words[1].text, text_template::compile(d.words[2], in.variables(), in.report()), d.arguments() == 3});
}

void default_type(scope& in, const directive& d) { in.set->default_type = d.words[1].text; }

void check_default_redirect(scope& in, const word& at) {
  if (in.where != in_location || !in.here->proxy)
    in.report().error(at.at, "\"proxy_redirect default\" belongs behind the \"proxy_pass\" of its location");
  else if (in.here->proxy->variable_url)
    in.report().error(at.at,
                      "\"proxy_redirect default\" cannot stand beside a \"proxy_pass\" with variables");
}

void proxy_redirect(scope& in, const directive& d) {
  auto& all = in.set->proxy_redirect;
  const auto& from = d.words[1];
  if (all && all->empty()) return in.report().error(d.at(), "\"proxy_redirect\" is off already");
  if (!all) all.emplace();
  if (d.arguments() == 1) {
    if (from == "off") return all->clear();
    if (from != "default") return bad_value(in, d, "it is off, default, or what is replaced and by what");
    check_default_redirect(in, from);
    all->emplace_back();
    return;
  }
  redirect_rule fresh;
  if (from.text.starts_with('~')) {
    const bool ignore_case = from.text.starts_with("~*");
    fresh.expression = act::compile_pattern(std::string_view(from.text).substr(ignore_case ? 2 : 1),
                                            ignore_case, from.at, in);
    if (!fresh.expression) return;
  } else {
    fresh.from = text_template::compile(from, in.variables(), in.report());
  }
  fresh.to = text_template::compile(d.words[2], in.variables(), in.report());
  all->push_back(std::move(fresh));
}

void next_upstream(scope& in, const directive& d) {
  using wsproxy::retry;
  static constexpr std::pair<std::string_view, unsigned> conditions[] = {
      {"error", retry::error},
      {"timeout", retry::timeout},
      {"invalid_header", retry::invalid_header},
      {"http_500", retry::http_500},
      {"http_502", retry::http_502},
      {"http_503", retry::http_503},
      {"http_504", retry::http_504},
      {"http_403", retry::http_403},
      {"http_404", retry::http_404},
      {"http_429", retry::http_429},
      {"non_idempotent", retry::non_idempotent},
      {"updating", 0},
      {"off", settings::never_retry}};
  unsigned on = in.set->next_upstream.value_or(0);
  for (std::size_t i = 1; i != d.words.size(); ++i) {
    const auto& text = d.words[i].text;
    const auto* found = std::ranges::find(conditions, to_lower(text), [](const auto& c) { return c.first; });
    if (found == std::end(conditions)) {
      std::vector<std::string_view> names;
      for (const auto& one : conditions) names.push_back(one.first);
      const auto meant = closest(to_lower(text), names);
      in.report().error(d.words[i].at, R"(invalid value "{}" in "proxy_next_upstream" directive{})", text,
                        did_you_mean(meant));
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
    in.report().error(path.at, R"(cannot open the log "{}": it is a directory)", path.text);
  else if (::access(path.text.c_str(), W_OK) != 0 &&
           (errno != ENOENT || ::access(folder.c_str(), W_OK | X_OK) != 0))
    in.report().error(path.at, R"(cannot open the log "{}": {})", path.text, std::strerror(errno));
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
      in.report().error(d.words[2].at, R"(unknown log format "{}": "log_format" declares one)",
                        d.words[2].text);
      return;
    }
    if (in.all.warned.insert("access_log format").second)
      in.report().warning(d.words[2].at, R"("{}" is ignored: the access log has its own format)",
                          d.words[2].text);
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
    in.report().error(d.words[1].at, R"(duplicate "log_format" name "{}")", d.words[1].text);
}

void positive_number(scope& in, const directive& d) {
  if (d.arguments() != 1 || parse_number(d.words[1].text).value_or(0) == 0)
    in.report().error(d.words[std::min<std::size_t>(1, d.arguments())].at,
                      R"(invalid value in "{}" directive: it is a number)", d.name().text);
}

void error_log(scope& in, const directive& d) {
  const auto& path = d.words[1];
  if (path.text.starts_with("syslog:") || path.text.starts_with("memory:")) {
    in.report().error(path.at, "\"error_log\" takes stderr or a file's path");
    return;
  }
  static constexpr std::string_view levels[] = {"debug", "info", "notice", "warn",
                                                "error", "crit", "alert",  "emerg"};
  if (d.arguments() > 1 && std::ranges::find(levels, d.words[2].text) == std::end(levels)) {
    in.report().error(
        d.words[2].at,
        R"(invalid log level "{}": it is debug, info, notice, warn, error, crit, alert or emerg)",
        d.words[2].text);
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

constexpr rule simple(std::string_view name, unsigned contexts, std::size_t least, std::size_t most,
                      handler act, bool is_once = false) {
  return {how::understood, name, contexts, least, most, false, act, is_once, {}};
}
constexpr rule blocked(std::string_view name, unsigned contexts, std::size_t least, std::size_t most,
                       handler act, bool is_once = false) {
  return {how::understood, name, contexts, least, most, true, act, is_once, {}};
}

/// `root` and the like beside a proxy_pass have no effect; alone they would serve files.
void file_serving(scope& in, const directive& d) {
  if (in.where == in_location) in.all.files.emplace_back(in.here, d.at());
  if (in.all.warned.insert(d.name() == "index" ? "index" : "root").second)
    in.report().warning(d.at(), R"("{}" is ignored: files are not served)", d.name().text);
}

constexpr std::string_view restricts = "it restricts access, and ignoring it would open what it closes";
constexpr std::string_view encrypts = "it encrypts, and this gateway speaks plain HTTP/1.1";
constexpr std::string_view serves = "it changes what is served";
constexpr std::string_view changes = "it changes the request or the response";
constexpr std::string_view balances = "this balancing method is not there yet";
constexpr std::string_view other_protocol = "this gateway speaks HTTP/1.1 and WebSocket only";

constexpr rule understood[] = {
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
    simple("client_header_timeout", in_http | in_server, 1, 1, time_value<&settings::client_header_timeout>,
           once),
    simple("client_body_timeout", all_levels, 1, 1, time_value<&settings::client_body_timeout>, once),
    simple("client_max_body_size", all_levels, 1, 1, body_size, once),
    simple("large_client_header_buffers", in_http | in_server, 2, 2, header_buffers, once),
    simple("underscores_in_headers", in_http | in_server, 1, 1,
           unusual_names<&settings::keep_underscores, true>, once),
    simple("ignore_invalid_headers", in_http | in_server, 1, 1,
           unusual_names<&settings::keep_unusual_names, false>, once),
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
    simple("proxy_redirect", all_levels, 1, 2, proxy_redirect),
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
    // Beside a proxy_pass they have no effect
    simple("root", all_levels | in_location_if, 1, 1, file_serving, once),
    simple("index", all_levels, 1, any_number, file_serving),
};

struct contexts_and_names {
  unsigned contexts;
  std::string_view names;
};
/// Ignored with one warning.
constexpr contexts_and_names only_tune[] = {
    {in_main,
     "daemon master_process user pid lock_file env pcre_jit thread_pool timer_resolution "
     "worker_cpu_affinity worker_priority worker_rlimit_core worker_rlimit_nofile working_directory "
     "debug_points load_module"},
    {in_events,
     "worker_connections use multi_accept accept_mutex accept_mutex_delay debug_connection "
     "worker_aio_requests"},
    {all_levels,
     "aio aio_write directio sendfile_max_chunk tcp_nodelay tcp_nopush output_buffers postpone_output "
     "lingering_close lingering_time lingering_timeout reset_timedout_connection keepalive_disable "
     "client_body_buffer_size client_body_in_file_only client_body_in_single_buffer "
     "client_body_temp_path max_ranges gzip_buffers gzip_comp_level gzip_disable gzip_http_version "
     "gzip_min_length gzip_proxied gzip_static gzip_types gzip_vary log_not_found log_subrequest "
     "rewrite_log uninitialized_variable_warn open_log_file_cache open_file_cache open_file_cache_errors "
     "open_file_cache_min_uses open_file_cache_valid types_hash_bucket_size types_hash_max_size "
     "proxy_headers_hash_bucket_size proxy_headers_hash_max_size proxy_buffering proxy_buffers "
     "proxy_busy_buffers_size proxy_max_temp_file_size proxy_request_buffering "
     "proxy_temp_file_write_size proxy_temp_path proxy_socket_keepalive proxy_ignore_client_abort "
     "proxy_intercept_errors fastcgi_temp_path scgi_temp_path uwsgi_temp_path server_tokens etag "
     "recursive_error_pages msie_padding msie_refresh read_ahead "
     // They say how a cache is used, and proxy_cache, which makes one, is refused.
     "proxy_cache_background_update proxy_cache_bypass proxy_cache_convert_head proxy_cache_key "
     "proxy_cache_lock "
     "proxy_cache_lock_age proxy_cache_lock_timeout proxy_cache_methods proxy_cache_min_uses "
     "proxy_cache_max_range_offset proxy_cache_revalidate proxy_cache_use_stale proxy_cache_valid "
     "proxy_no_cache "
     // Likewise, of others that are refused.
     "addition_types ancient_browser ancient_browser_value autoindex_exact_size autoindex_format "
     "autoindex_localtime charset_map charset_types create_full_put_path dav_access directio_alignment "
     "gunzip_buffers gzip_hash gzip_no_buffer gzip_window if_modified_since min_delete_depth "
     "mirror_request_body modern_browser modern_browser_value mp4_buffer_size mp4_max_buffer_size "
     "mp4_start_key_frame open_file_cache_events override_charset postpone_gzipping proxy_send_lowat "
     "proxy_store_access referer_hash_bucket_size referer_hash_max_size source_charset ssi_last_modified "
     "ssi_min_file_chunk ssi_silent_errors ssi_types ssi_value_length sub_filter_last_modified "
     "sub_filter_once sub_filter_types subrequest_output_buffer_size userid_domain userid_expires "
     "userid_flags userid_mark userid_name userid_p3p userid_path userid_service"},
    {all_levels | in_location_if, "sendfile gzip"},
    {all_levels | in_upstream, "keepalive_time"},
    {in_upstream, "keepalive_requests keepalive_timeout"},
    {in_http | in_upstream, "resolver_timeout"},
    {in_http | in_server, "client_header_buffer_size connection_pool_size request_pool_size"},
    {in_http,
     "map_hash_bucket_size map_hash_max_size server_names_hash_bucket_size server_names_hash_max_size "
     "variables_hash_bucket_size variables_hash_max_size"},
};

/// Ignored, but nginx refuses some values.
constexpr rule only_tune_checked[] = {
    {how::ignored, "keepalive", in_upstream, 0, any_number, false, positive_number, false, {}},
    {how::ignored, "log_format", in_http, 0, any_number, false, log_format, false, {}},
};

struct reason_and_names {
  std::string_view why;
  std::string_view names;
};
/// Refused by name.
constexpr reason_and_names would_matter[] = {
    {restricts,
     "allow deny satisfy auth_basic auth_basic_user_file auth_request auth_request_set auth_delay "
     "auth_jwt internal limit_conn limit_conn_zone limit_conn_status limit_conn_log_level "
     "limit_conn_dry_run limit_req limit_req_zone limit_req_status limit_req_log_level limit_req_dry_run "
     "limit_except limit_rate limit_rate_after valid_referers secure_link secure_link_md5 "
     "secure_link_secret set_real_ip_from real_ip_header real_ip_recursive geo max_headers "
     "disable_symlinks"},
    {encrypts,
     "ssl ssl_certificate ssl_certificate_key ssl_ciphers ssl_client_certificate ssl_crl ssl_dhparam "
     "ssl_early_data ssl_ecdh_curve ssl_ocsp ssl_password_file ssl_prefer_server_ciphers ssl_protocols "
     "ssl_reject_handshake ssl_session_cache ssl_session_tickets ssl_session_timeout ssl_stapling "
     "ssl_stapling_verify ssl_trusted_certificate ssl_verify_client ssl_verify_depth ssl_buffer_size "
     "ssl_engine ssl_conf_command ssl_session_ticket_key http2 http3 proxy_ssl_certificate "
     "proxy_ssl_certificate_key proxy_ssl_ciphers proxy_ssl_name proxy_ssl_protocols "
     "proxy_ssl_server_name proxy_ssl_session_reuse proxy_ssl_trusted_certificate proxy_ssl_verify "
     "proxy_ssl_verify_depth"},
    {serves,
     "alias try_files rewrite error_page autoindex expires charset mirror split_clients stub_status "
     "empty_gif merge_slashes post_action resolver resolver_timeout random_index dav_methods flv mp4 ssi "
     "gunzip image_filter perl js_content"},
    {changes,
     "add_trailer add_header_inherit sub_filter add_before_body add_after_body chunked_transfer_encoding "
     "proxy_method proxy_set_body proxy_pass_request_headers proxy_pass_request_body proxy_bind "
     "proxy_cookie_domain proxy_cookie_path proxy_cookie_flags proxy_ignore_headers proxy_force_ranges "
     "proxy_limit_rate proxy_store proxy_cache proxy_cache_path slice userid"},
    {balances, "least_time sticky sticky_cookie_insert queue state"},
    {other_protocol, "stream mail fastcgi_pass uwsgi_pass scgi_pass grpc_pass memcached_pass"},
};

/// Families: what is none of the above and begins so.
constexpr std::string_view only_tunes_other_protocols =
    "fastcgi_* uwsgi_* scgi_* grpc_* memcached_* http2_* http3_* quic_*";
constexpr std::string_view concerns_encryption = "ssl_* proxy_ssl_*";

struct argument_and_names {
  std::string_view argument;
  std::string_view names;
};
/// Nginx's defaults among the refused: these are as if they were not there.
constexpr argument_and_names would_not_matter[] = {
    {"off",
     "auth_basic auth_request autoindex charset expires gunzip http2 http3 mirror proxy_bind proxy_cache "
     "proxy_cookie_domain proxy_cookie_flags proxy_cookie_path proxy_force_ranges proxy_ssl_server_name "
     "proxy_ssl_verify proxy_store random_index ssi ssl ssl_early_data ssl_stapling"},
    {"on", "chunked_transfer_encoding merge_slashes proxy_pass_request_body proxy_pass_request_headers"},
    {"0", "limit_rate proxy_limit_rate"},
    {"all", "allow satisfy"},
};

/// Calls f with each of the words.
template <class F> void for_each_word(std::string_view words, F f) {
  while (!words.empty()) {
    const auto end = std::min(words.find(' '), words.size());
    f(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
}

std::vector<rule> all_rules() {
  std::vector<rule> all(std::begin(understood), std::end(understood));
  for (const auto& [contexts, names] : only_tune)
    for_each_word(names, [&, in = contexts](std::string_view name) {
      all.push_back({how::ignored, name, in, 0, any_number, false, nullptr, false, {}});
    });
  all.insert(all.end(), std::begin(only_tune_checked), std::end(only_tune_checked));
  for (const auto& [why, names] : would_matter)
    for_each_word(names, [&, because = why](std::string_view name) {
      all.push_back({how::refused, name, anywhere, 0, any_number, false, nullptr, false, because});
    });
  for_each_word(only_tunes_other_protocols, [&](std::string_view name) {
    all.push_back({how::ignored, name, all_levels, 0, any_number, false, nullptr, false, {}});
  });
  for_each_word(concerns_encryption, [&](std::string_view name) {
    all.push_back({how::refused, name, anywhere, 0, any_number, false, nullptr, false, encrypts});
  });
  for (const auto& [argument, names] : would_not_matter)
    for_each_word(names, [&, what = argument](std::string_view name) {
      for (auto& one : all)
        if (one.name == name && one.how == how::refused) one.harmless = what;
    });
  return all;
}

}  // namespace

std::span<const rule> rules() {
  static const auto all = all_rules();
  return all;
}

}  // namespace wsproxy_gateway
