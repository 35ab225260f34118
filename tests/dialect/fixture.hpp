// Configurations and requests for the tests of the dialect.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include <examples/gateway/loader.hpp>
#include <examples/gateway/router.hpp>

namespace dialect_test {

/// The configuration that everything began with.
inline constexpr std::string_view seed = R"(
events { worker_connections 1024; }
http {
  map $http_upgrade $connection_upgrade {
    default upgrade;
    ''      close;
  }
  upstream sockets {
    hash $remote_addr consistent;
    server 10.0.12.108:9000;
    server 10.0.12.109:9000;
  }
  server {
    listen 8020;
    server_name example.test;
    add_header Access-Control-Allow-Origin *;
    add_header Access-Control-Allow-Methods 'GET, POST, OPTIONS';
    add_header Access-Control-Allow-Headers 'DNT,X-Mx-ReqToken,Keep-Alive,User-Agent,X-Requested-With';
    if ($request_method = 'OPTIONS') {
      return 204;
    }
    location / {
      proxy_pass http://sockets/;
      proxy_http_version 1.1;
      proxy_set_header Host $host:$server_port;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_connect_timeout 4s;
      proxy_read_timeout 60s;
      proxy_send_timeout 12s;
    }
  }
}
)";

/// A whole file around what stands in `http`.
inline std::string with_http(std::string_view text) {
  return "events { }\nhttp {\n" + std::string(text) + "\n}\n";
}
/// A whole file around what stands in the only server.
inline std::string with_server(std::string_view text) {
  return with_http("server { listen 127.0.0.1:8020;\n" + std::string(text) + "\n}");
}

inline std::vector<std::string> messages(const wsproxy_gateway::load_result& loaded) {
  std::vector<std::string> all;
  for (const auto& one : loaded.report.sorted()) all.push_back(one.to_string());
  return all;
}

inline std::shared_ptr<const wsproxy_gateway::configuration> load(std::string_view text) {
  const auto loaded = wsproxy_gateway::load_text(text, "t.conf");
  for (const auto& one : messages(loaded)) UNSCOPED_INFO(one);
  REQUIRE(loaded.config != nullptr);
  return loaded.config;
}

/// A request to a loaded configuration.
struct request {
  std::string target = "/";
  std::vector<std::pair<std::string, std::string>> fields{{"Host", "example.test"}};
  std::string method = "GET";
  std::string client = "192.0.2.7";
  std::string local = "192.0.2.1";
  std::uint16_t local_port = 8020;
  std::size_t listener = 0;

  wsproxy::request_head head() const {
    wsproxy::request_head result;
    result.method = method;
    result.target = target;
    for (const auto& [name, value] : fields) result.fields.add(name, value);
    return result;
  }
};

/// The gateway's decision, and what the backend and the client would be sent.
class asked {
 public:
  asked(std::shared_ptr<const wsproxy_gateway::configuration> config, const request& what)
      : head_(what.head()),
        decision_(wsproxy_gateway::router(std::move(config))(
            {head_, what.client, 50000, what.local, what.local_port, what.listener, 1, 1})) {
    exchange_.head = head_;
    exchange_.client = what.client;
    exchange_.local = what.local;
    if (passed()) exchange_.user = pass().user;
  }

  bool passed() const { return std::holds_alternative<wsproxy::pass>(decision_); }
  bool hung_up() const { return std::holds_alternative<wsproxy::hang_up>(decision_); }
  const wsproxy::pass& pass() const { return std::get<wsproxy::pass>(decision_); }
  const wsproxy::respond& answer() const { return std::get<wsproxy::respond>(decision_); }

  /// What is changed of the request for the backend.
  wsproxy::request_rewrite rewrite() const {
    wsproxy::request_rewrite result;
    pass().how->rewrite_request(exchange_, *pass().to.backends().front(), result);
    return result;
  }
  /// The target that the backend sees.
  std::string target() const {
    auto changed = rewrite().target;
    return changed.empty() ? head_.target : changed;
  }
  /// An answer of the backend's, as the client sees it.
  wsproxy::response_head response(int status, wsproxy::fields fields) const {
    wsproxy::response_head result;
    result.status = status;
    result.fields = std::move(fields);
    pass().how->rewrite_response(exchange_, result);
    return result;
  }

 private:
  wsproxy::request_head head_;
  wsproxy::exchange exchange_;
  wsproxy::decision decision_;
};

inline asked ask(std::string_view text, const request& what) { return {load(text), what}; }

/// "Name: value" lines.
inline std::vector<std::string> lines(const wsproxy::fields& fields) {
  std::vector<std::string> all;
  for (const auto one : fields) all.push_back(std::string(one.name) + ": " + std::string(one.value));
  return all;
}

}  // namespace dialect_test
