#include <wsproxy/gateway/gateway.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <dirent.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <stdexcept>

#include <asio/executor_work_guard.hpp>

#include <wsproxy/proxy/edge_context.hpp>

#include "tests/support/gateway.hpp"

using namespace test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using wsproxy::decision;
using wsproxy::end_cause;
using wsproxy::inbound;

namespace {

setup answering(wsproxy::gateway::selector select, wsproxy::gateway_options options = {}) {
  return {.options = std::move(options), .select = std::move(select)};
}

decision echo_target(const inbound& request) { return wsproxy::respond{.body = request.head.target}; }

/// A directory of the test's own.
struct directory {
  directory() {
    const char* const base = ::getenv("TMPDIR");
    path = std::string(base != nullptr ? base : "/tmp") + "/wsproxy-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) fail_with_errno("mkdtemp");
  }
  ~directory() { ::rmdir(path.c_str()); }
  std::string path;
};

bool exists(const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* const all = ::opendir("/proc/self/fd");
  while (::readdir(all) != nullptr) ++count;
  ::closedir(all);
  return count;
}

/// Whether the other end of this connection, which is in this process too, has TCP_NODELAY.
bool other_end_sends_at_once(const peer& client) {
  const auto name = [](int descriptor, auto ask) {
    sockaddr_in at{};
    socklen_t size = sizeof at;
    return ask(descriptor, reinterpret_cast<sockaddr*>(&at), &size) == 0 ? ntohs(at.sin_port) : 0;
  };
  const auto port = name(client.descriptor(), ::getsockname);
  for (int fd = 0; fd != 1024; ++fd) {
    int on = 0;
    socklen_t size = sizeof on;
    if (name(fd, ::getpeername) == port)
      return ::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0 && on != 0;
  }
  throw std::runtime_error("the other end is not here");
}

}  // namespace

// ---- Requests

TEST_CASE("requests in one segment are answered in order, whoever answers them") {
  proxy* self = nullptr;
  proxy p(answering([&](const inbound& request) {
    return request.head.target == "/pass" ? self->pass() : echo_target(request);
  }));
  self = &p;
  auto client = p.client();
  client.send(get("/1") + get("/pass") + get("/3") +
              "POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody" + get("/pass") + "\r\n" +
              get("/6"));
  CHECK(read_message(client).body == "/1");
  for (const char* const expected : {"first", "second"}) {
    auto backend = p.backend.accept();
    CHECK(read_head(backend).starts_with("GET /pass "));
    backend.send(ok(expected));
    CHECK(read_message(client).body == expected);
    CHECK(read_message(client).body == (expected == std::string("first") ? "/3" : "/6"));
    if (expected == std::string("first")) CHECK(read_message(client).body == "/4");
  }
  CHECK(p.server().stats().requests == 6);
  CHECK(p.server().stats().connections == 1);
  CHECK(p.server().stats().accepted == 1);
}

TEST_CASE("a thousand requests in one segment are answered in order") {
  proxy p(answering(echo_target));
  auto client = p.client();
  std::string all;
  for (int i = 0; i != 1000; ++i) all += get("/" + std::to_string(i));
  std::thread sender([&] { client.send(all); });
  int in_order = 0;
  for (int i = 0; i != 1000; ++i) in_order += read_message(client).body == "/" + std::to_string(i);
  sender.join();
  CHECK(in_order == 1000);
}

TEST_CASE("HEAD, 204 and 304 have no body, and the connection goes on") {
  proxy p(answering([](const inbound& request) -> decision {
    if (request.head.target == "/204") return wsproxy::respond{.status = 204};
    if (request.head.target == "/304") return wsproxy::respond{.status = 304};
    return wsproxy::respond{.body = "hello"};
  }));
  auto client = p.client();
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get("/204") + get("/304") + get("/"));
  const auto head = read_head(client);
  CHECK(status_of(head) == 200);
  CHECK(field_of(head, "Content-Length") == "5");
  for (const int status : {204, 304}) {
    const auto bare = read_head(client);
    CHECK(status_of(bare) == status);
    CHECK(field_of(bare, "Content-Length") == "(none)");
  }
  CHECK(read_message(client).body == "hello");
}

TEST_CASE("a HEAD that a backend answers has no body either") {
  proxy p;
  auto client = p.client();
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
  CHECK(field_of(read_head(client), "Content-Length") == "500");
  CHECK(p.result().keep_alive);
}

TEST_CASE("a body that a respond does not want is skipped if it is there, else the connection is closed") {
  proxy p(answering(echo_target));
  auto client = p.client();
  SECTION("all there") {
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345" + get("/b"));
    CHECK(read_message(client).body == "/a");
    CHECK(read_message(client).body == "/b");
  }
  SECTION("all there, chunked") {
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
                get("/b"));
    CHECK(read_message(client).body == "/a");
    CHECK(read_message(client).body == "/b");
  }
  SECTION("still to come") {
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n" + get("/b"));
    const auto answer = read_message(client);
    CHECK(answer.body == "/a");
    CHECK(answer.field("Connection") == "close");
    CHECK(client.end() == ending::fin);
    CHECK(p.server().stats().requests == 1);
  }
  SECTION("awaiting 100 Continue") {
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    const auto answer = read_message(client);
    CHECK(answer.status() == 200);
    CHECK(answer.field("Connection") == "close");
  }
}

TEST_CASE("the connection goes on as its request says") {
  proxy p(answering(echo_target));
  auto client = p.client();
  SECTION("HTTP/1.1") {
    client.send(get("/a") + get("/b"));
    CHECK(read_message(client).field("Connection") == "(none)");
    CHECK(read_message(client).body == "/b");
  }
  SECTION("HTTP/1.1 with close") {
    client.send(get("/a", "Connection: close\r\n") + get("/b"));
    CHECK(read_message(client).field("Connection") == "close");
    CHECK(client.read_all().empty());
  }
  SECTION("HTTP/1.0") {
    client.send("GET /a HTTP/1.0\r\n\r\n" + get("/b"));
    CHECK(read_message(client).field("Connection") == "close");
    CHECK(client.read_all().empty());
  }
  SECTION("HTTP/1.0 with keep-alive, which is told so") {
    client.send("GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + get("/b"));
    CHECK(read_message(client).field("Connection") == "keep-alive");
    CHECK(read_message(client).body == "/b");
  }
}

TEST_CASE("what a callback throws becomes a 500, and the server lives on") {
  proxy p(answering(
      [](const inbound& request) -> decision {
        if (request.head.target == "/throw") throw std::runtime_error("no route");
        if (request.head.target == "/throw-int") throw 7;
        if (request.head.target == "/status") return wsproxy::respond{.status = 7};
        if (request.head.target == "/smuggle") return wsproxy::respond{.extra = {{"X", "a\r\nY: b"}}};
        return wsproxy::respond{.body = "fine"};
      },
      {.error_answer = [](int status, const std::error_code&, const inbound& request) -> wsproxy::respond {
        if (request.head.method == "PUT") throw std::runtime_error("no page");
        return {.status = status, .body = "page"};
      }}));
  for (const char* const method : {"GET", "PUT"}) {
    for (const char* const target : {"/throw", "/throw-int", "/status", "/smuggle"}) {
      INFO(method << ' ' << target);
      auto client = p.client();
      client.send(std::string(method) + " " + target + " HTTP/1.1\r\nHost: a\r\n\r\n" + get("/next"));
      CHECK(read_message(client).status() == 500);
      CHECK(read_message(client).body == "fine");
    }
  }
}

TEST_CASE("what is only told of an exchange, and throws, costs a warning") {
  mailbox<std::string> warnings;
  setup with;
  with.options.on_request = [](auto&&...) { throw 7; };
  with.options.on_warning = [&](std::string_view text) { warnings.put(std::string(text)); };
  listener backend;
  const wsproxy::upstream to({{.name = backend.name()}});
  with.select = [&](const inbound&) -> decision {
    return wsproxy::pass{.to = to,
                         .on_end = [](const wsproxy::forward_result&) { throw std::runtime_error("no"); }};
  };
  proxy p(std::move(with));
  auto client = p.client();
  for (int i = 0; i != 2; ++i) {
    client.send(get());
    auto b = backend.accept();
    read_head(b);
    b.send(ok("fine"));
    CHECK(read_message(client).body == "fine");
    CHECK(warnings.take() == "pass::on_end has thrown an exception");
    CHECK(warnings.take() == "gateway_options::on_request has thrown an exception");
  }
  mailbox<bool> drained;
  p.server().drain({}, [&] { drained.put(true); });
  CHECK(drained.take());
}

TEST_CASE("a tunnel whose on_established throws ends, and is counted no more") {
  listener backend;
  const wsproxy::upstream to({{.name = backend.name()}});
  mailbox<wsproxy::forward_result> results;
  proxy p({.select = [&](const inbound&) -> decision {
    return wsproxy::pass{.to = to,
                         .on_established = [](const wsproxy::session_handle&) { throw 7; },
                         .on_end = [&](const wsproxy::forward_result& result) { results.put(result); }};
  }});
  auto client = p.client();
  client.send(handshake());
  auto b = backend.accept();
  read_head(b);
  b.send(switching());
  const auto result = results.take();
  CHECK(result.error == wsproxy::errc::bad_rewrite);
  CHECK(result.at == wsproxy::stage::tunnel);
  client.end();
  b.end();
  CHECK(eventually([&] { return p.server().stats().tunnels == 0; }));
  CHECK(to.backends().front()->active() == 0);
}

TEST_CASE("a gateway that its selector stops begins nothing more") {
  listener backend;
  const wsproxy::upstream to({{.name = backend.name()}});
  wsproxy::gateway* server = nullptr;
  proxy p({.select = [&](const inbound&) -> decision {
    server->stop();
    return wsproxy::pass{.to = to};
  }});
  server = &p.server();
  auto client = p.client();
  client.send(handshake());
  CHECK(client.read_all().empty());
  CHECK(eventually([&] { return p.server().stats().connections == 0; }));
  CHECK(to.backends().front()->picked() == 0);
}

TEST_CASE("a drain for ever is not over at once") {
  proxy p;
  auto t = p.open();
  mailbox<bool> drained;
  p.server().drain({.deadline = wsproxy::duration::max(), .code = 1012}, [&] { drained.put(true); });
  CHECK(close_code(read_frame(t.client)) == 1012);
  t.client.send(client_frame(close_frame, std::string("\x03\xf4", 2)));
  CHECK(close_code(read_frame(t.backend)) == 1012);
  t.backend.send(server_frame(close_frame, std::string("\x03\xf4", 2)));
  CHECK(drained.take());
  CHECK(p.result().cause == wsproxy::end_cause::drained);
}

TEST_CASE("a client is closed behind the closing handshake, while its backend still holds the connection") {
  proxy p;
  for (const bool client_first : {true, false}) {
    auto t = p.open();
    // What it has sent behind its Close is no reason to lose the Close that answers it.
    const auto farewell = client_frame(close_frame, close_payload(1000)) + client_frame(text, "late");
    if (client_first) t.client.send(farewell);
    else t.backend.send(server_frame(close_frame, close_payload(1000)));
    CHECK(read_frame(client_first ? t.backend : t.client).code == close_frame);
    if (client_first) t.backend.send(server_frame(close_frame, close_payload(1000)));
    else t.client.send(client_frame(close_frame, close_payload(1000)));
    auto& answered = client_first ? t.client : t.backend;
    CHECK(read_frame(answered).code == close_frame);
    CHECK(t.client.end() == ending::fin);
    if (client_first) CHECK(read_frame(t.backend).payload == "late");
    t.backend.shutdown_send();
    CHECK(t.backend.end() == ending::fin);
  }
}

TEST_CASE("a request head that does not come in time ends the connection silently, or with 408") {
  const bool told = GENERATE(false, true);
  const std::string part = GENERATE("", "GET / HT");
  proxy p(answering(echo_target, {.timeouts = {.client_head = 20ms}, .answer_head_timeout = told}));
  auto client = p.client();
  client.send(part);
  const auto all = client.read_to_end();
  if (!told) {
    CHECK(all.empty());
  } else {
    CHECK(status_of(all) == 408);
    CHECK(field_of(all, "Connection") == "close");
    CHECK_THAT(all, ContainsSubstring("client_head"));
  }
}

TEST_CASE("hang_up closes without a word") {
  proxy p(answering([](const inbound&) -> decision { return wsproxy::hang_up{}; }));
  auto client = p.client();
  client.send(get());
  CHECK(client.read_all().empty());
  CHECK(eventually([&] { return p.server().stats().connections == 0; }));
}

TEST_CASE("the selector sees where a request comes from") {
  mailbox<std::string> seen;
  proxy p(answering([&](const inbound& r) -> decision {
    seen.put(std::string(r.client) + " " + (r.client_port != 0 ? "port " : "") + std::string(r.local) + " " +
             std::to_string(r.local_port) + " " + std::to_string(r.listener) + " " +
             std::to_string(r.connection) + " " + std::to_string(r.request));
    return wsproxy::respond{};
  }));
  const auto second = p.loop.call([&] { return p.server().listen("0.0.0.0:0"); });
  const auto second_port = static_cast<std::uint16_t>(std::stoul(second.substr(second.rfind(':') + 1)));
  auto client = p.client();
  client.send(get() + get());
  read_message(client);
  read_message(client);
  auto other = peer::connect(second_port);
  other.send(get());
  read_message(other);
  CHECK(seen.take() == "127.0.0.1 port 127.0.0.1 " + std::to_string(p.port()) + " 0 1 1");
  CHECK(seen.take() == "127.0.0.1 port 127.0.0.1 " + std::to_string(p.port()) + " 0 1 2");
  CHECK(seen.take() == "127.0.0.1 port 127.0.0.1 " + std::to_string(second_port) + " 1 2 1");
}

TEST_CASE("every request that ends is told once, with its status and bytes") {
  mailbox<std::string> log;
  proxy* self = nullptr;
  auto how =
      answering([&](const inbound& r) { return r.head.target == "/own" ? echo_target(r) : self->pass(); },
                {.on_request = [&](const inbound& r, int status, std::uint64_t sent,
                                   const wsproxy::forward_result* result) {
                  log.put(r.head.method + " " + r.head.target + " " + std::to_string(status) + " " +
                          std::to_string(sent) + (result != nullptr ? " forwarded" : ""));
                }});
  proxy p(std::move(how));
  self = &p;
  {
    auto client = p.client();
    client.send(get("/own") + get("/passed"));
    auto backend = p.backend.accept();
    backend.send(ok("12345678"));
    read_message(client);
    read_message(client);
    client.send("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    CHECK(read_message(client).status() == 400);
  }
  auto t = p.open();
  t.backend.send(server_frame(text, "12345"));
  read_frame(t.client);
  t.client.reset();
  t.backend.reset();
  auto left = p.client();
  left.send(get("/left"));
  auto unanswered = p.backend.accept();
  left.reset();
  CHECK(log.take() == "GET /own 200 4");
  CHECK(log.take() == "GET /passed 200 8 forwarded");
  CHECK(log.take().starts_with("  400 "));
  CHECK(log.take() == "GET /chat 101 7 forwarded");
  CHECK(log.take() == "GET /left 499 0 forwarded");
  p.destroy_server();
  CHECK(log.size() == 0);
}

TEST_CASE("a request whose head was read is known to error_answer, another is not") {
  mailbox<std::string> seen;
  proxy p({.options = {
               .error_answer = [&](int status, const std::error_code&, const inbound& r) -> wsproxy::respond {
                 seen.put(std::to_string(status) + " " + (r.head.target.empty() ? "unknown" : r.head.target));
                 return {.status = status};
               }}});
  p.backend.close();
  for (const auto& request :
       {get("/refused"), std::string("GET /no-host HTTP/1.1\r\n\r\n"), std::string("nonsense\r\n\r\n")}) {
    auto client = p.client();
    client.send(request);
    CHECK(read_message(client).status() >= 400);
  }
  CHECK(seen.take() == "502 /refused");
  CHECK(seen.take() == "400 /no-host");
  CHECK(seen.take() == "400 unknown");
}

TEST_CASE("after a request, how long the next may take is its route's to say") {
  const auto how = wsproxy::route::make({.tunnel = {.timeouts = {.keep_alive = 100ms}}});
  const bool forwarded = GENERATE(false, true);
  const wsproxy::upstream* to = nullptr;
  proxy p({.options = {.timeouts = {.keep_alive = 1h}}, .select = [&](const inbound&) -> decision {
             if (forwarded) return wsproxy::pass{.to = *to, .how = how};
             return wsproxy::respond{.body = "x", .how = how};
           }});
  to = &p.to;
  auto client = p.client();
  client.send(get("/"));
  if (forwarded) {
    auto backend = p.backend.accept();
    read_head(backend);
    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
  }
  CHECK(read_message(client).body == "x");
  CHECK(client.read_all().empty());
}

TEST_CASE("a connection has the reception that its listener is given") {
  const wsproxy::reception narrow{.request_head = {.line_bytes = 600, .head_bytes = 600}};
  proxy p(answering([](const inbound&) -> decision { return wsproxy::respond{}; },
                    {.receive = [&](const inbound& in) { return in.listener == 1 ? &narrow : nullptr; }}));
  const auto at = p.loop.call([&] { return p.server().listen("127.0.0.1:0"); });
  const auto port = static_cast<std::uint16_t>(std::stoul(at.substr(at.rfind(':') + 1)));
  for (const auto& [to, status] : {std::pair(p.port(), 200), std::pair(port, 414)}) {
    auto client = peer::connect(to);
    client.send(get("/" + std::string(700, 'x')));
    CHECK(read_message(client).status() == status);
  }
}

TEST_CASE("what a pass came with is there when the exchange has failed, and in the log") {
  const wsproxy::upstream* to = nullptr;
  const auto mark = std::make_shared<std::string>("mine");
  const auto named = [](const inbound& in) {
    return in.user != nullptr ? *static_cast<std::string*>(in.user) : "none";
  };
  wsproxy::route how;
  mailbox<std::string> seen;
  how.on_attempt = [&](const wsproxy::exchange& what, const wsproxy::backend&) {
    seen.put("attempt " + *static_cast<std::string*>(what.user.get()));
  };
  proxy p({.options = {.error_answer = [&](int status, const std::error_code&,
                                           const inbound& in) -> wsproxy::respond {
                         seen.put("answer " + named(in));
                         return {.status = status};
                       },
                       .on_request = [&](const inbound& in, int, std::uint64_t,
                                         const wsproxy::forward_result*) { seen.put("log " + named(in)); }},
           .select = [&, route = wsproxy::route::make(std::move(how))](const inbound& in) -> decision {
             if (in.head.target == "/own") return wsproxy::respond{};
             return wsproxy::pass{.to = *to, .how = route, .user = mark};
           }});
  to = &p.to;
  p.backend.close();
  auto client = p.client();
  client.send(get("/") + get("/own"));
  CHECK(read_message(client).status() == 502);
  CHECK(read_message(client).status() == 200);
  for (const auto* const what : {"attempt mine", "answer mine", "log mine", "log none"})
    CHECK(seen.take() == what);
}

TEST_CASE("a connection is closed after the response where the selector says so, and the client is told") {
  const wsproxy::upstream* to = nullptr;
  proxy p({.select = [&](const inbound&) -> decision { return wsproxy::pass{.to = *to, .close = true}; }});
  to = &p.to;
  auto client = p.client();
  client.send(get("/"));
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
  const auto answer = client.read_all();
  CHECK(answer.find("\r\nConnection: close\r\n") != std::string::npos);
  CHECK(answer.ends_with("\r\n\r\nx"));
}

// ---- Listening

TEST_CASE("a listen error is a system_error that names the address") {
  asio::io_context context(1);
  wsproxy::gateway server(context.get_executor(), echo_target);
  listener taken;
  const std::vector<std::string> all{taken.name(),
                                     "127.0.0.1:99999",
                                     "127.0.0.1:http",
                                     "no.such.name.invalid:80",
                                     "192.0.2.1:8080",
                                     "[::1",
                                     "",
                                     "unix:",
                                     "unix:/nowhere/at/all",
                                     "unix:/tmp/" + std::string(200, 'x')};
  for (const auto& at : all) {
    INFO(at);
    CHECK_THROWS_MATCHES(server.listen(at), std::system_error, MessageMatches(ContainsSubstring(at)));
  }
  CHECK_THROWS_AS(server.listen_on(-1), std::system_error);
}

TEST_CASE("IPv6, every address and Unix sockets are listened on") {
  directory here;
  const auto path = here.path + "/socket";
  {
    proxy p(answering(
        [](const inbound& r) -> decision { return wsproxy::respond{.body = std::string(r.client)}; }));
    const auto v6 = p.loop.call([&] { return p.server().listen("[::1]:0"); });
    CHECK(v6.starts_with("[::1]:"));
    CHECK_FALSE(v6.ends_with(":0"));
    CHECK(p.loop.call([&] { return p.server().listen("*:0"); }).starts_with("0.0.0.0:"));
    CHECK(p.loop.call([&] { return p.server().listen("unix:" + path); }) == "unix:" + path);
    auto client = peer::connect_unix(path);
    client.send(get());
    CHECK(read_message(client).body == "unix:");
  }
  CHECK_FALSE(exists(path));
}

TEST_CASE("a Unix socket left behind is replaced, and one in use is not") {
  directory here;
  const auto path = here.path + "/socket";
  asio::io_context context(1);
  wsproxy::gateway server(context.get_executor(), echo_target);
  {
    listener other(path);
    CHECK_THROWS_AS(server.listen("unix:" + path), std::system_error);
  }
  CHECK(exists(path));  // it was not removed
  CHECK_NOTHROW(server.listen("unix:" + path));
  server.stop();
  context.run();
  CHECK_FALSE(exists(path));
}

TEST_CASE("a listening descriptor is taken over") {
  listener made;
  const auto port = made.port();
  auto early = peer::connect(port);  // waits in the queue meanwhile
  proxy p(answering(echo_target));
  p.loop.call([&] { p.server().listen_on(made.release()); });
  auto late = peer::connect(port);
  for (auto* client : {&early, &late}) {
    client->send(get("/taken"));
    CHECK(read_message(*client).body == "/taken");
    CHECK(other_end_sends_at_once(*client));
  }
}

TEST_CASE("a connection sends its small pieces at once") {
  proxy p(answering(echo_target));
  auto client = p.client();
  client.send(get());
  read_message(client);
  CHECK(other_end_sends_at_once(client));
}

TEST_CASE("backends on Unix sockets") {
  directory here;
  const auto path = here.path + "/backend";
  listener at(path);
  proxy p({.backends = {{.name = "unix:" + path}}});
  auto client = p.client();
  client.send(handshake());
  auto backend = at.accept();
  read_head(backend);
  backend.send(switching() + server_frame(text, "by file"));
  CHECK(status_of(read_head(client)) == 101);
  CHECK(read_frame(client).payload == "by file");
  client.send(client_frame(text, "back"));
  CHECK(read_frame(backend).payload == "back");
  ::unlink(path.c_str());
}

TEST_CASE("connections over the limit wait until one ends") {
  proxy p(answering(echo_target, {.max_connections = 2}));
  auto first = p.client();
  auto second = p.client();
  for (auto* each : {&first, &second}) {
    each->send(get("/in"));
    CHECK(read_message(*each).body == "/in");
  }
  auto third = p.client();
  third.send(get("/waited"));
  p.settle();
  CHECK_FALSE(third.readable(0ms));
  CHECK(p.server().stats().connections == 2);
  first.close();
  CHECK(read_message(third).body == "/waited");
}

TEST_CASE("tunnels over the limit are answered 503 before a backend is picked, until one ends") {
  proxy p({.options = {.max_tunnels = 1}});
  {
    auto first = p.open();
    auto second = p.client();
    for (int i = 0; i != 2; ++i) {  // the connection goes on
      second.send(handshake());
      const auto answer = read_message(second);
      CHECK(answer.status() == 503);
      CHECK(answer.body.find("number of tunnels") != std::string::npos);
      CHECK(p.result().error == wsproxy::errc::tunnel_limit);
    }
    CHECK(p.to.backends()[0]->picked() == 1);
    CHECK(p.server().stats().refused == 2);
    CHECK(p.server().stats().over_tunnel_limit == 2);
    CHECK(p.server().stats().tunnels == 1);
    second.send(handshake() + client_frame(text, "early"));  // these are no request
    CHECK(read_message(second).status() == 503);
    CHECK(second.end() == ending::fin);
    CHECK(p.result().error == wsproxy::errc::tunnel_limit);
  }
  p.result();
  auto again = p.open();
}

TEST_CASE("a handshake under way counts as a tunnel, a plain request does not") {
  proxy p({.options = {.max_tunnels = 1}});
  auto plain = p.client();
  plain.send(get("/slow"));
  auto asked = p.backend.accept();
  read_head(asked);
  auto first = p.client();
  first.send(handshake());
  auto waiting = p.backend.accept();
  read_head(waiting);
  auto second = p.client();
  second.send(handshake());
  CHECK(read_message(second).status() == 503);
  waiting.send(ok("no"));  // not switched: there is room again
  CHECK(read_message(first).body == "no");
  p.result();
  p.result();
  auto third = p.open();
  asked.send(ok("late"));
  CHECK(read_message(plain).body == "late");
}

TEST_CASE("each client address has its own limit") {
  proxy p({.options = {.max_tunnels_per_client = 2}});
  auto first = p.open();
  auto second = p.open();
  auto third = p.client();
  third.send(handshake());
  CHECK(read_message(third).status() == 503);
  p.result();
  first.client.close();
  first.backend.close();
  p.result();
  auto fourth = p.open();
  CHECK(p.server().stats().over_tunnel_limit == 1);
}

TEST_CASE("two gateways on two threads share a port") {
  std::atomic<int> counts[2] = {0, 0};
  background loops[2];
  std::vector<wsproxy::gateway> servers;
  std::string at = "127.0.0.1:0";
  for (int i = 0; i != 2; ++i) {
    servers.emplace_back(loops[i].context.get_executor(), [&, i](const inbound&) -> decision {
      ++counts[i];
      return wsproxy::respond{};
    });
    at = loops[i].call([&] { return servers.back().listen(at, {.reuse_port = true}); });
  }
  const auto port = static_cast<std::uint16_t>(std::stoul(at.substr(at.rfind(':') + 1)));
  int sent = 0;
  while (counts[0] == 0 || counts[1] == 0) {
    REQUIRE(++sent < 1000);
    auto client = peer::connect(port);
    client.send(get());
    CHECK(read_message(client).status() == 200);
  }
  CHECK(counts[0] + counts[1] == sent);
  servers.clear();
}

// ---- Ending

TEST_CASE("a drain closes what is idle, lets requests finish, and takes no new ones") {
  proxy p;
  auto idle = p.client();  // between two requests
  idle.send(get("/first"));
  {
    auto backend = p.backend.accept();
    backend.send(ok(""));
    read_message(idle);
  }
  auto fresh = p.client();  // nothing sent yet
  CHECK(eventually([&] { return p.server().stats().connections == 2; }));
  auto busy = p.client();
  busy.send(get("/busy") + get("/pipelined"));
  auto backend = p.backend.accept();
  read_head(backend);
  mailbox<int> done;
  p.server().drain({}, [&] { done.put(1); });
  CHECK(idle.read_all().empty());
  CHECK(fresh.read_all().empty());
  CHECK_THROWS_AS(p.client(), std::system_error);
  CHECK(done.size() == 0);
  backend.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
  CHECK(read_message(busy).body == "last");
  CHECK(busy.read_all().empty());
  busy.close();
  CHECK(done.take() == 1);
  p.server().drain({}, [&] { done.put(2); });
  CHECK(done.take() == 2);
  CHECK(p.server().stats().requests == 2);
}

TEST_CASE("a drain sends every tunnel a Close, spread over the time given") {
  const int count = 5;
  proxy p;
  std::vector<proxy::tunnel> tunnels;
  for (int i = 0; i != count; ++i) tunnels.push_back(p.open());
  mailbox<int> done;
  const auto begin = clock::now();
  p.server().drain({.spread = 500ms, .code = 1012, .reason = "restart"}, [&] { done.put(1); });
  std::vector<std::future<clock::time_point>> ends;
  for (auto& t : tunnels)
    ends.push_back(std::async(std::launch::async, [&t] {
      const auto frame = read_frame(t.client);
      const auto at = clock::now();
      if (close_code(frame) != 1012 || frame.payload.substr(2) != "restart") throw ended("another frame");
      if (close_code(read_frame(t.backend)) != 1012) throw ended("another frame");
      t.client.send(client_frame(close_frame, close_payload(1012)));
      t.backend.send(server_frame(close_frame, close_payload(1012)));
      t.client.end();
      t.client.close();
      t.backend.end();
      t.backend.close();
      return at;
    }));
  std::vector<clock::time_point> times;
  for (auto& end : ends) times.push_back(end.get());
  CHECK(done.take() == 1);
  std::sort(times.begin(), times.end());
  for (int i = 0; i != count; ++i) CHECK(times[static_cast<std::size_t>(i)] - begin >= 100ms * i);
  for (int i = 0; i != count; ++i) CHECK(p.result().cause == end_cause::drained);
}

TEST_CASE("a drain with code 0 leaves tunnels alone until the deadline") {
  proxy p;
  auto t = p.open();
  mailbox<int> done;
  p.server().drain({.deadline = 1h, .code = 0}, [&] { done.put(1); });
  p.settle();
  t.client.send(client_frame(text, "still"));
  CHECK(read_frame(t.backend).payload == "still");
  const auto begin = clock::now();
  p.server().drain({.deadline = 150ms});  // which comes before the first one's
  CHECK(t.client.read_all().empty());
  CHECK(done.take() == 1);
  CHECK(clock::now() - begin >= 150ms);
  CHECK(p.result().cause == end_cause::aborted);
}

TEST_CASE("a second drain brings the deadline forward, and the context ends with it") {
  auto p = std::make_unique<proxy>();
  auto t = p->open();
  mailbox<int> done;
  p->server().drain({.deadline = 100s}, [&] { done.put(1); });
  read_frame(t.client);
  const auto begin = clock::now();
  p->server().drain({.deadline = 150ms}, [&] { done.put(2); });
  CHECK(done.take() == 1);
  CHECK(done.take() == 2);
  CHECK(clock::now() - begin >= 150ms);
  p->loop.finish();  // nothing waits for the first deadline
  CHECK(clock::now() - begin < 50s);
}

TEST_CASE("a handshake in flight when the drain begins becomes a tunnel that is drained") {
  proxy p;
  auto client = p.client();
  client.send(handshake());
  auto backend = p.backend.accept();
  read_head(backend);
  p.server().drain({});
  p.settle();
  backend.send(switching());
  CHECK(status_of(read_head(client)) == 101);
  CHECK(close_code(read_frame(client)) == 1001);
  CHECK(close_code(read_frame(backend)) == 1001);
}

TEST_CASE("of a route's own drain all holds but the deadline, and for a late tunnel the spread") {
  const bool late = GENERATE(false, true);
  proxy p({.how = {.tunnel = {.timeouts = {.boundary_wait = 1h, .close_wait = 1h, .linger = 1h}},
                   .drain = wsproxy::drain_options{
                       .deadline = 1ms, .spread = late ? 1h : 0ms, .code = 4000, .reason = "moved"}}});
  auto client = p.client();
  client.send(handshake());
  auto backend = p.backend.accept();
  read_head(backend);
  const auto drain = [&] {
    p.server().drain({.deadline = 1h});
    p.settle();
  };
  if (late) drain();
  backend.send(switching());
  CHECK(status_of(read_head(client)) == 101);
  if (!late) drain();
  for (auto* end : {&client, &backend}) {
    const auto frame = read_frame(*end);
    CHECK(close_code(frame) == 4000);
    CHECK(frame.payload.substr(2) == "moved");
  }
  p.loop.pause(50ms);  // far more than the route's deadline
  CHECK(p.server().stats().tunnels == 1);
  client.send(client_frame(close_frame, close_payload(4000)));
  backend.send(server_frame(close_frame, close_payload(4000)));
  CHECK(client.end() == ending::fin);
  CHECK(backend.end() == ending::fin);
  client.close();
  backend.close();
  CHECK(p.result().cause == end_cause::drained);
}

TEST_CASE("stop closes everything at once") {
  proxy p;
  auto t = p.open();
  auto idle = p.client();
  auto waiting = p.client();
  waiting.send(get());
  auto backend = p.backend.accept();
  read_head(backend);
  mailbox<int> done;
  p.server().drain({.code = 0}, [&] { done.put(1); });
  p.server().stop();
  t.client.end();
  t.backend.end();
  idle.end();
  CHECK(waiting.read_all().empty());
  backend.end();
  CHECK(done.take() == 1);
  CHECK(p.server().stats().connections == 0);
  CHECK(p.server().stats().tunnels == 0);
}

TEST_CASE("a gateway, or its context, may go in any state and leaves no descriptor") {
  const auto before = open_descriptors();
  const bool context_stops = GENERATE(true, false);
  {
    proxy p({.how = {.tunnel = {.heartbeat = {.interval = 20s}}}});
    std::vector<peer> kept;
    auto keep = [&](peer one) -> peer& { return kept.emplace_back(std::move(one)); };
    keep(p.client());                   // before a request
    keep(p.client()).send("GET / HT");  // inside its head
    for (int i = 0; i != 3; ++i) {      // tunnels: idle, half-closed, with data stuck
      auto t = p.open();
      const auto session = p.sessions.take();
      if (i == 1) t.client.shutdown_send();
      if (i == 2) {
        t.backend.send(frame_header(binary, 1ull << 40, false));
        get_stuck(t.backend, wsproxy::side::upstream, session);
      }
      keep(std::move(t.client));
      keep(std::move(t.backend));
    }
    auto& asking = keep(p.client());  // the answer awaited
    asking.send(get());
    read_head(keep(p.backend.accept()));
    auto& posting = keep(p.client());  // inside the request's body
    posting.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbo");
    read_head(keep(p.backend.accept()));
    auto& lingering = keep(p.client());  // after a refusal
    lingering.send("nonsense\r\n\r\n");
    read_message(lingering);
    p.settle();
    if (context_stops) p.loop.abandon();
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("the last copy of a gateway ends it") {
  background loop;
  auto first = std::make_unique<wsproxy::gateway>(loop.context.get_executor(), echo_target);
  const auto at = loop.call([&] { return first->listen("127.0.0.1:0"); });
  const auto port = static_cast<std::uint16_t>(std::stoul(at.substr(at.rfind(':') + 1)));
  auto second = std::make_unique<wsproxy::gateway>(*first);
  first.reset();
  auto client = peer::connect(port);
  client.send(get("/alive"));
  CHECK(read_message(client).body == "/alive");
  second.reset();
  CHECK(client.read_all().empty());
  loop.finish();
}

// Else its sockets would be taken from under the thread that serves others of that context.
TEST_CASE("what is left of a gateway ends on its executor's thread, wherever the last copy goes") {
  wsproxy::edge_context context;
  auto work = asio::make_work_guard(context);
  std::thread runner([&] { context.run(); });
  const auto own = runner.get_id();
  mailbox<std::thread::id> ended;
  for (int i = 0; i != 200; ++i) {
    std::shared_ptr<int> held(new int, [&](int* it) {
      delete it;
      ended.put(std::this_thread::get_id());
    });
    const wsproxy::gateway gone(context.get_executor(), [held = std::move(held)](const inbound&) -> decision {
      return wsproxy::hang_up{};
    });
  }
  int elsewhere = 0;
  for (int i = 0; i != 200; ++i) elsewhere += ended.take() != own;
  CHECK(elsewhere == 0);
  work.reset();
  runner.join();
}

TEST_CASE("accepting pauses without a descriptor or a thread more, for there may be none") {
  wsproxy::edge_context context;
  mailbox<std::string> warnings;
  mailbox<bool> paused;
  wsproxy::gateway server(
      context.get_executor(), echo_target,
      {.max_connections = 1, .on_warning = [&](std::string_view text) { warnings.put(std::string(text)); }});
  const auto at = server.listen("127.0.0.1:0");
  const auto port = static_cast<std::uint16_t>(std::stoul(at.substr(at.rfind(':') + 1)));
  const auto before = open_descriptors();
  std::thread runner([&] { context.run(); });
  {
    auto first = peer::connect(port);
    first.send(get("/in"));
    CHECK(read_message(first).body == "/in");
    auto second = peer::connect(port);
    second.send(get("/waits"));
    CHECK_THAT(warnings.take(), ContainsSubstring("accepting is paused"));
    asio::post(context, [&] { paused.put(true); });  // behind what the pause has begun
    paused.take();
    CHECK(open_descriptors() == before + 3);  // both ends of the first, and the second client's own
    first.close();
    CHECK(read_message(second).body == "/waits");
  }
  server.stop();
  runner.join();
}

TEST_CASE("a gateway that is ending listens nowhere any more, and says so") {
  asio::io_context context(1);
  wsproxy::gateway server(context.get_executor(), echo_target);
  server.listen("127.0.0.1:0");
  GENERATE(true, false) ? server.stop() : server.drain({});
  context.run();
  CHECK_THROWS_MATCHES(server.listen("127.0.0.1:0"), std::logic_error,
                       MessageMatches(ContainsSubstring("it is ending")));
}

TEST_CASE("what follows a handshake that is answered is no request") {
  proxy p(answering(echo_target));
  auto client = p.client();
  client.send(handshake() + get("/smuggled"));
  CHECK(read_message(client).status() == 200);
  CHECK(client.read_all().empty());
}

TEST_CASE("a version that is not spoken is answered 426 with the version and the protocol that are") {
  proxy p;
  auto client = p.client();
  auto request = handshake();
  request.replace(request.find("Version: 13"), 11, "Version: 8");
  client.send(request);
  const auto head = read_head(client);
  CHECK(status_of(head) == 426);
  CHECK(field_of(head, "Sec-WebSocket-Version") == "13");
  CHECK(field_of(head, "Upgrade") == "websocket");
}

TEST_CASE("a gateway that is stopped by who is told of an answer does not send it") {
  proxy* self = nullptr;
  proxy p(
      answering(echo_target, {.on_request = [&](const inbound&, int, std::uint64_t,
                                                const wsproxy::forward_result*) { self->server().stop(); }}));
  self = &p;
  auto client = p.client();
  client.send(get("/"));
  CHECK(client.read_all().empty());
  p.settle();  // it has asked for the server, which is about to go
}

TEST_CASE("a gateway without work lets its context end") {
  asio::io_context context(1);
  {
    wsproxy::gateway server(context.get_executor(), echo_target);
    server.listen("127.0.0.1:0");
  }
  context.run();  // returns
  SUCCEED();
}
