#include "variables.hpp"

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <iterator>
#include <random>
#include <stdexcept>

#include <fmt/format.h>

#include <wsproxy/http/rewrite.hpp>

#include "dates.hpp"
#include "regex.hpp"
#include "values.hpp"

namespace wsproxy_gateway {
namespace {

constexpr unsigned deepest = 32;  // maps that use maps

using function = void (*)(evaluation&, std::string&);

struct builtin {
  std::string_view name;
  function value;
};

void append_status(evaluation& e, std::string& out) {
  int status = 0;
  if (e.response != nullptr) status = e.response->status;
  else if (e.result != nullptr) status = e.result->status;
  fmt::format_to(std::back_inserter(out), "{:03}", status);
}

void append_request_id(evaluation& e, std::string& out) {
  if (e.state.request_id.empty()) {
    thread_local std::mt19937_64 random{std::random_device{}()};
    static constexpr char digits[] = "0123456789abcdef";
    for (int half = 0; half != 2; ++half)
      for (auto bits = random(), left = std::uint64_t{16}; left != 0; --left, bits >>= 4)
        e.state.request_id += digits[bits & 15u];
  }
  out += e.state.request_id;
}

/// nginx's rule for $http_NAME: without case, and - is written _.
bool names_field(std::string_view variable, std::string_view field) {
  return std::equal(variable.begin(), variable.end(), field.begin(), field.end(), [](char v, char f) {
    if (f >= 'A' && f <= 'Z') f = static_cast<char>(f - 'A' + 'a');
    return v == (f == '-' ? '_' : f);
  });
}

void append_field(const wsproxy::fields& fields, std::string_view variable, std::string& out) {
  bool any = false;
  const std::string_view separator = variable == "cookie" ? "; " : ", ";
  for (const auto field : fields) {
    if (!names_field(variable, field.name)) continue;
    if (any) out += separator;
    out += field.value;
    any = true;
  }
}

void append_lines(const evaluation& e, std::string_view field, std::string& out) {
  out += e.head.fields.joined(field);
}

/// 4 or 16 bytes; the text where it is no IP address.
void append_address_bytes(const std::string& text, std::string& out) {
  std::array<char, sizeof(::in6_addr)> bytes{};
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) out.append(bytes.data(), sizeof(::in_addr));
  else if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) out.append(bytes.data(), bytes.size());
  else out += text;
}

/// Seconds and milliseconds since 1970.
void append_seconds(evaluation&, std::string& out) {
  using namespace std::chrono;
  const auto now = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  fmt::format_to(std::back_inserter(out), "{}.{:03}", now / 1000, now % 1000);
}

constexpr builtin builtins[] = {
    {"host", [](evaluation& e, std::string& out) { out += e.state.host; }},
    {"remote_addr", [](evaluation& e, std::string& out) { out += e.state.client; }},
    {"remote_port", [](evaluation& e, std::string& out) { out += std::to_string(e.state.client_port); }},
    {"server_addr", [](evaluation& e, std::string& out) { out += e.state.local; }},
    {"server_port", [](evaluation& e, std::string& out) { out += std::to_string(e.state.local_port); }},
    {"server_name", [](evaluation& e, std::string& out) { out += e.state.server_name; }},
    {"server_protocol",
     [](evaluation& e, std::string& out) {
       out += e.head.version == wsproxy::http_version::http_1_0 ? "HTTP/1.0" : "HTTP/1.1";
     }},
    {"scheme", [](evaluation&, std::string& out) { out += "http"; }},
    {"https", [](evaluation&, std::string&) {}},
    {"request_method", [](evaluation& e, std::string& out) { out += e.head.method; }},
    {"request_uri", [](evaluation& e, std::string& out) { out += e.state.uri.raw; }},
    {"request",
     [](evaluation& e, std::string& out) {
       fmt::format_to(std::back_inserter(out), "{} {} HTTP/{}", e.head.method, e.head.target,
                      e.head.version == wsproxy::http_version::http_1_0 ? "1.0" : "1.1");
     }},
    {"uri", [](evaluation& e, std::string& out) { out += e.state.uri.path; }},
    {"document_uri", [](evaluation& e, std::string& out) { out += e.state.uri.path; }},
    {"args", [](evaluation& e, std::string& out) { out += e.state.uri.args; }},
    {"query_string", [](evaluation& e, std::string& out) { out += e.state.uri.args; }},
    {"is_args",
     [](evaluation& e, std::string& out) {
       if (!e.state.uri.args.empty()) out += '?';
     }},
    {"content_type",
     [](evaluation& e, std::string& out) { out += e.head.fields.value_or_empty("Content-Type"); }},
    {"content_length",
     [](evaluation& e, std::string& out) { out += e.head.fields.value_or_empty("Content-Length"); }},
    {"proxy_host", [](evaluation& e, std::string& out) { out += e.state.proxy_host; }},
    {"proxy_port", [](evaluation& e, std::string& out) { out += e.state.proxy_port; }},
    // nginx has these by their field's exact name: no other spelling with _ counts.
    {"http_user_agent", [](evaluation& e, std::string& out) { append_lines(e, "User-Agent", out); }},
    {"http_x_forwarded_for",
     [](evaluation& e, std::string& out) { append_lines(e, "X-Forwarded-For", out); }},
    {"proxy_add_x_forwarded_for",
     [](evaluation& e, std::string& out) {
       out += wsproxy::append_forwarded_for(e.head.fields, e.state.client);
     }},
    {"upstream_addr", [](evaluation& e, std::string& out) { out += e.state.upstreams; }},
    {"status", append_status},
    {"request_id", append_request_id},
    {"connection_requests", [](evaluation& e, std::string& out) { out += std::to_string(e.state.request); }},
    {"binary_remote_addr",
     [](evaluation& e, std::string& out) { append_address_bytes(e.state.client, out); }},
    {"msec", append_seconds},
    {"pid", [](evaluation&, std::string& out) { out += std::to_string(::getpid()); }},
    {"connection", [](evaluation& e, std::string& out) { out += std::to_string(e.state.connection); }},
    {"time_iso8601", [](evaluation&, std::string& out) { out += iso8601_date(std::time(nullptr)); }},
    {"time_local", [](evaluation&, std::string& out) { out += log_date(std::time(nullptr)); }},
    {"hostname", [](evaluation&, std::string& out) { out += host_name(); }},
};

/// Variables of nginx that have no meaning here, or none yet.
bool is_nginx_variable(std::string_view name) {
  static constexpr std::string_view names[] = {"body_bytes_sent",
                                               "bytes_sent",
                                               "connection_time",
                                               "connections_active",
                                               "connections_reading",
                                               "connections_waiting",
                                               "connections_writing",
                                               "content_range",
                                               "document_root",
                                               "limit_rate",
                                               "nginx_version",
                                               "pipe",
                                               "realpath_root",
                                               "remote_user",
                                               "request_body",
                                               "request_body_file",
                                               "request_completion",
                                               "request_filename",
                                               "request_length",
                                               "request_time",
                                               "uid_got",
                                               "uid_reset",
                                               "uid_set",
                                               "invalid_referer",
                                               "memcached_key",
                                               "slice_range",
                                               "date_gmt",
                                               "date_local"};
  static constexpr std::string_view beginnings[] = {"ssl_",  "upstream_", "proxy_",      "tcpinfo_",
                                                    "sent_", "geoip_",    "jwt_",        "realip_",
                                                    "gzip_", "limit_",    "secure_link", "fastcgi_"};
  return std::ranges::find(names, name) != std::end(names) ||
         std::ranges::any_of(beginnings, [&](std::string_view one) { return name.starts_with(one); });
}

/// $arg_NAME: the first NAME=… of the query, without case, undecoded.
void append_argument(std::string_view args, std::string_view name, std::string& out) {
  while (!args.empty()) {
    const auto one = args.substr(0, args.find('&'));
    const auto equals = one.find('=');
    if (equals != one.npos && wsproxy::iequals(one.substr(0, equals), name)) {
      out += one.substr(equals + 1);
      return;
    }
    args.remove_prefix(std::min(args.size(), one.size() + 1));
  }
}

void append_cookie(const wsproxy::fields& fields, std::string_view name, std::string& out) {
  for (const auto field : fields) {
    if (!wsproxy::iequals(field.name, "Cookie")) continue;
    auto rest = field.value;
    while (!rest.empty()) {
      const auto one = rest.substr(0, rest.find_first_of(";,"));
      const auto equals = one.find('=');
      if (equals != one.npos && wsproxy::iequals(wsproxy::trim(one.substr(0, equals)), name)) {
        out += wsproxy::trim(one.substr(equals + 1));
        return;
      }
      rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    }
  }
}

using family_function = void (*)(evaluation&, std::string_view name, std::string& out);
struct family {
  std::string_view prefix;
  family_function value;
};
void append_response_field(evaluation& e, std::string_view name, std::string& out) {
  if (e.response != nullptr) append_field(e.response->fields, name, out);
}
constexpr family families[] = {
    {"http_",
     [](evaluation& e, std::string_view n, std::string& out) { append_field(e.head.fields, n, out); }},
    {"arg_",
     [](evaluation& e, std::string_view n, std::string& out) { append_argument(e.state.uri.args, n, out); }},
    {"cookie_",
     [](evaluation& e, std::string_view n, std::string& out) { append_cookie(e.head.fields, n, out); }},
    {"sent_http_", append_response_field},
    {"upstream_http_", append_response_field},
};

/// A single variable, which no file can define; families it may.
function find_single(std::string_view name) {
  for (const auto& one : builtins)
    if (one.name == name) return one.value;
  return nullptr;
}

variable_table::getter find_builtin(std::string_view name) {
  if (const auto one = find_single(name)) return one;
  for (const auto& one : families)
    if (name.starts_with(one.prefix))
      return [value = one.value, rest = std::string(name.substr(one.prefix.size()))](
                 evaluation& e, std::string& out) { value(e, rest, out); };
  return {};
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// The name at the beginning of `text` (behind the $), and how long it is with its braces.
struct reference {
  std::string_view name;
  std::size_t size = 0;  // 0: none
};
reference read_reference(std::string_view text) {
  const bool braces = text.starts_with('{');
  if (braces) text.remove_prefix(1);
  if (!braces && !text.empty() && text.front() >= '1' && text.front() <= '9') return {text.substr(0, 1), 1};
  std::size_t size = 0;
  while (size != text.size() && is_name_character(text[size])) ++size;
  if (size == 0 || (braces && (size == text.size() || text[size] != '}'))) return {};
  return {text.substr(0, size), size + (braces ? 2 : 0)};
}

}  // namespace

std::size_t variable_table::slot(std::string_view name, const position& used_at) {
  auto key = to_lower(name);
  const auto [at, fresh] = by_name_.try_emplace(key, entries_.size());
  if (fresh) entries_.push_back({std::move(key), used_at, {}});
  return at->second;
}

void variable_table::define(const word& name, getter value, diagnostics& report) {
  const auto bare = std::string_view(name.text).substr(1);
  if (find_single(to_lower(bare)) != nullptr) {
    report.error(name.at, R"(the variable "{}" exists already and cannot be defined)", name.text);
    return;
  }
  entries_[slot(bare, name.at)].value = std::move(value);
}

std::size_t variable_table::assignable(std::string_view name, const position& at, diagnostics& report) {
  const auto number = slot(name, at);
  if (find_single(entries_[number].name) != nullptr)
    report.error(at, R"(the variable "${}" exists already and cannot be set)", name);
  if (!entries_[number].value)
    entries_[number].value = [number](evaluation& e, std::string& out) {
      if (number < e.state.assigned.size() && e.state.assigned[number]) out += *e.state.assigned[number];
    };
  return number;
}

void variable_table::resolve(diagnostics& report) {
  auto known = builtin_variables();
  for (auto& one : entries_) {
    if (!one.value) one.value = find_builtin(one.name);
    if (one.value) known.push_back(one.name);
  }
  std::size_t suggestions = 100;  // each looks at all that are known
  for (const auto& one : entries_) {
    if (one.value) continue;
    const auto meant = suggestions == 0 ? std::string_view() : closest(one.name, known);
    if (suggestions != 0) --suggestions;
    if (is_nginx_variable(one.name)) {
      report.error(one.used_at, R"(the variable "${}" is not supported)", one.name);
      continue;
    }
    report.error(one.used_at, R"(unknown variable "${}"{})", one.name,
                 did_you_mean(meant.empty() ? "" : fmt::format("${}", meant)));
  }
}

void variable_table::append(std::size_t slot, evaluation& e, std::string& out) const {
  if (e.depth == deepest)
    throw std::runtime_error(fmt::format(R"(cycle while evaluating variable "${}")", entries_[slot].name));
  ++e.depth;
  entries_[slot].value(e, out);
  --e.depth;
}

text_template text_template::compile(const word& source, variable_table& variables, diagnostics& report) {
  text_template result;
  std::string_view rest = source.text;
  const auto add_text = [&](std::string_view text) {
    if (text.empty()) return;
    if (result.parts_.empty() || result.parts_.back().is != kind::text)
      result.parts_.push_back({kind::text, {}});
    result.parts_.back().text += text;
  };
  while (!rest.empty()) {
    const auto dollar = std::min(rest.find('$'), rest.size());
    add_text(rest.substr(0, dollar));
    rest.remove_prefix(dollar);
    if (rest.empty()) break;
    const auto found = read_reference(rest.substr(1));
    if (found.size == 0) {
      const bool is_open = rest.starts_with("${") && rest.find('}') == rest.npos;
      report.error(source.at, R"({} in "{}")",
                   is_open ? "the closing } of a variable is missing" : "invalid variable name", source.text);
      break;
    }
    if (!rest.starts_with("${") && found.name.size() == 1 && found.name[0] >= '1' && found.name[0] <= '9')
      result.parts_.push_back({kind::capture, {}, static_cast<std::size_t>(found.name[0] - '0')});
    else result.parts_.push_back({kind::variable, {}, variables.slot(found.name, source.at)});
    rest.remove_prefix(1 + found.size);
  }
  return result;
}

std::string text_template::evaluate(evaluation& e) const {
  std::string out;
  append(e, out);
  return out;
}

void text_template::append(evaluation& e, std::string& out) const {
  for (const auto& one : parts_) {
    switch (one.is) {
    case kind::text: out += one.text; break;
    case kind::variable: e.variables.append(one.number, e, out); break;
    case kind::capture:
      if (one.number < e.state.captures.size()) out += e.state.captures[one.number];
      break;
    }
  }
}

bool has_variable(std::string_view text) { return text.find('$') != text.npos; }

capture_slots declare_captures(const regex& pattern, const position& at, variable_table& variables,
                               diagnostics& report) {
  capture_slots result;
  for (const auto& [name, group] : pattern.names())
    result.emplace_back(variables.assignable(name, at, report), group);
  return result;
}

bool match_and_capture(const regex& pattern, const capture_slots& slots, std::string_view subject,
                       request_state& state) {
  std::vector<std::string> captures;
  if (!pattern.match(subject, captures)) return false;
  for (const auto& [slot, group] : slots) {
    if (state.assigned.size() <= slot) state.assigned.resize(slot + 1);
    state.assigned[slot] = captures[group];
  }
  state.captures = std::move(captures);
  return true;
}

std::vector<std::string_view> builtin_variables() {
  std::vector<std::string_view> result;
  for (const auto& one : builtins) result.push_back(one.name);
  for (const auto& one : families) result.push_back(one.prefix);
  return result;
}

}  // namespace wsproxy_gateway
