#include <wsproxy/gateway/adopt.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>

#include <fcntl.h>
#include <signal.h>

#include <future>

#include "tests/support/gateway.hpp"

using namespace test;
using wsproxy::descriptor;
using wsproxy::end_cause;
using wsproxy::errc;
using wsproxy::forward_result;
using wsproxy::worker_pool;

namespace {

bool is_open(int number) { return ::fcntl(number, F_GETFD) >= 0; }

/// A host that is no Asio program: it accepts, and has a pool in front of a backend that the test plays.
struct host {
  explicit host(unsigned threads = 1) : pool(std::make_unique<worker_pool>(threads)) {}

  /// A client, and its connection as the host has accepted it. The number is not closed with the host.
  struct connection {
    peer client;
    int fd;
  };
  connection connect() {
    connection made{peer::connect(front.port()), -1};
    made.fd = ::dup(front.accept().descriptor());
    return made;
  }
  std::function<void(forward_result)> on_end() {
    return [this](forward_result end) { results.put(std::move(end)); };
  }
  wsproxy::exchange upgrade(std::string early = {}) {
    wsproxy::head_parser parser(wsproxy::head_parser::kind::request);
    parser.feed(handshake());
    return {.head = parser.take_request(), .early = std::move(early)};
  }
  wsproxy::exchange plain() {
    wsproxy::head_parser parser(wsproxy::head_parser::kind::request);
    parser.feed(get("/page"));
    return {.head = parser.take_request()};
  }
  /// What the backend says to the next connection.
  peer answer(std::string_view bytes) {
    auto backend_side = backend.accept();
    seen = read_head(backend_side);
    backend_side.send(bytes);
    return backend_side;
  }
  /// A tunnel through the pool.
  struct tunnel {
    peer client, backend;
    int fd;
    wsproxy::adoption handle;
  };
  tunnel open(bool lent, wsproxy::exchange what) {
    auto c = connect();
    auto handle =
        pool->adopt(lent ? descriptor::lent(c.fd) : descriptor::given(c.fd), to, std::move(what), on_end());
    auto b = answer(switching());
    CHECK(status_of(read_head(c.client)) == 101);
    return {std::move(c.client), std::move(b), c.fd, handle};
  }
  tunnel open(bool lent) { return open(lent, upgrade()); }

  listener front, backend;
  wsproxy::upstream to{{{.name = backend.name()}}};
  mailbox<forward_result> results;
  std::string seen;                   // by the backend
  std::unique_ptr<worker_pool> pool;  // ends first
};

void check_echo(peer& client, peer& backend) {
  client.send(client_frame(text, "up"));
  CHECK(read_frame(backend).payload == "up");
  backend.send(server_frame(text, "down"));
  CHECK(read_frame(client).payload == "down");
}

}  // namespace

// ---- After the head was read

TEST_CASE("adopt: an upgrade whose head was read, with what came behind it") {
  host h(2);
  auto c = h.connect();
  h.pool->adopt(descriptor::given(c.fd), h.to, h.upgrade(client_frame(text, "early")), h.on_end());
  auto backend = h.answer(switching());
  CHECK(read_frame(backend).payload == "early");
  CHECK(status_of(read_head(c.client)) == 101);
  check_echo(c.client, backend);
  c.client.send(client_frame(close_frame, close_payload(1000)));
  CHECK(close_code(read_frame(backend)) == 1000);
  backend.send(server_frame(close_frame, close_payload(1000)));
  CHECK(close_code(read_frame(c.client)) == 1000);
  backend.close();
  CHECK(c.client.end() == ending::fin);
  c.client.close();
  const auto end = h.results.take();
  CHECK_FALSE(end.error);
  CHECK(end.cause == end_cause::closed);
  CHECK(end.at == wsproxy::stage::tunnel);
  CHECK(end.from_client.messages == 2);
  CHECK_FALSE(is_open(c.fd));
}

TEST_CASE("adopt: the client's address is asked of the descriptor") {
  host h;
  auto what = h.plain();
  wsproxy::route how;
  std::string client, local;
  how.rewrite_request = [&](const wsproxy::exchange& e, const wsproxy::backend&, wsproxy::request_rewrite&) {
    client = e.client;
    local = e.local;
  };
  what.how = wsproxy::route::make(how);
  auto c = h.connect();
  h.pool->adopt(descriptor::given(c.fd), h.to, std::move(what), h.on_end());
  auto backend = h.answer(ok("page"));
  CHECK(read_message(c.client).body == "page");
  c.client.close();
  h.results.take();
  CHECK(client == "127.0.0.1");
  CHECK(local == "127.0.0.1");
}

TEST_CASE("adopt: O_NONBLOCK stays as the host has it, for duplicates too") {
  const bool nonblocking = GENERATE(false, true);
  host h;
  auto c = h.connect();
  const int before = ::fcntl(c.fd, F_GETFL);
  const int flags = nonblocking ? before | O_NONBLOCK : before & ~O_NONBLOCK;
  ::fcntl(c.fd, F_SETFL, flags);
  const int twin = ::dup(c.fd);
  h.pool->adopt(descriptor::given(c.fd), h.to, h.upgrade(), h.on_end());
  auto backend = h.answer(switching());
  CHECK(status_of(read_head(c.client)) == 101);
  check_echo(c.client, backend);
  CHECK(::fcntl(twin, F_GETFL) == flags);
  ::close(twin);
  c.client.close();
  backend.close();
  h.results.take();
}

// ---- Whose descriptor it is

TEST_CASE("adopt: a given descriptor is closed before the callback, a lent one is open there") {
  const bool lent = GENERATE(false, true);
  host h;
  auto c = h.connect();
  mailbox<bool> open_then;
  h.pool->adopt(lent ? descriptor::lent(c.fd) : descriptor::given(c.fd), h.to, h.upgrade(),
                [&](const forward_result&) { open_then.put(is_open(c.fd)); });
  auto backend = h.answer(switching());
  CHECK(status_of(read_head(c.client)) == 101);
  backend.close();
  c.client.close();
  CHECK(open_then.take() == lent);
  if (lent) ::close(c.fd);
}

TEST_CASE(
    "adopt: where no backend answers, a given connection gets the answer from the pool, a lent one from the "
    "host") {
  const bool lent = GENERATE(false, true);
  host h;
  h.backend.close();
  auto c = h.connect();
  h.pool->adopt(lent ? descriptor::lent(c.fd) : descriptor::given(c.fd), h.to, h.upgrade(), h.on_end());
  if (lent) {
    const auto end = h.results.take();
    CHECK_FALSE(end.committed);
    CHECK(end.status == 502);
    CHECK(end.error == errc::connect_failed);
    peer connection(c.fd);
    connection.send("HTTP/1.1 502 \r\n\r\n");
    connection.close();
    CHECK(status_of(read_head(c.client)) == 502);
  } else {
    const auto answer = read_message(c.client);
    CHECK(status_of(answer.head) == 502);
    CHECK(answer.head.find("Connection: close") != std::string::npos);
    c.client.close();
    const auto end = h.results.take();
    CHECK(end.committed);
    CHECK(end.status == 502);
    CHECK_FALSE(is_open(c.fd));
  }
}

TEST_CASE("adopt: a plain answer is the last of a given connection; a lent one can carry another request") {
  const bool lent = GENERATE(false, true);
  host h;
  auto c = h.connect();
  h.pool->adopt(lent ? descriptor::lent(c.fd) : descriptor::given(c.fd), h.to, h.plain(), h.on_end());
  auto backend = h.answer(ok("page"));
  const auto answer = read_message(c.client);
  CHECK(answer.body == "page");
  CHECK((answer.head.find("Connection: close") != std::string::npos) == !lent);
  if (lent) {
    const auto end = h.results.take();
    CHECK(end.keep_alive);
    CHECK(end.committed);
    auto again = h.upgrade();
    h.pool->adopt(descriptor::given(c.fd), h.to, std::move(again), h.on_end());
    auto next = h.answer(switching());
    CHECK(status_of(read_head(c.client)) == 101);
    check_echo(c.client, next);
    next.close();
  } else {
    CHECK(c.client.end() == ending::fin);
  }
  c.client.close();
  CHECK_FALSE(h.results.take().keep_alive);
  CHECK_FALSE(is_open(c.fd));
}

TEST_CASE("adopt: what is no socket is a result, and closed all the same") {
  host h;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  h.pool->adopt(descriptor::given(ends[0]), h.to, h.upgrade(), h.on_end());
  CHECK(h.results.take().error == std::errc::not_a_socket);
  CHECK_FALSE(is_open(ends[0]));
  h.pool->adopt(descriptor::lent(ends[1]), h.to, h.upgrade(), h.on_end());
  CHECK(h.results.take().error == std::errc::not_a_socket);
  CHECK(is_open(ends[1]));
  ::close(ends[1]);
  h.pool->adopt(descriptor::given(-1), h.to, h.upgrade(), h.on_end());
  const auto end = h.results.take();
  CHECK(end.error == std::errc::bad_file_descriptor);
  CHECK(end.status == 0);
  CHECK(end.cause == end_cause::failed);
}

// ---- Before the head was read

TEST_CASE("adopt: a request that nobody has read, or half of it") {
  const auto cut = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{40}, handshake().size());
  CAPTURE(cut);
  host h;
  auto c = h.connect();
  const auto all = handshake();
  h.pool->adopt(descriptor::given(c.fd), h.to, wsproxy::unread_request{.received = all.substr(0, cut)},
                h.on_end());
  c.client.send(all.substr(cut) + client_frame(text, "early"));
  auto backend = h.answer(switching());
  CHECK(h.seen.starts_with("GET /chat HTTP/1.1\r\n"));
  CHECK(read_frame(backend).payload == "early");
  CHECK(status_of(read_head(c.client)) == 101);
  c.client.close();
  backend.close();
  h.results.take();
}

TEST_CASE("adopt: a head that breaks a rule is answered, or handed back with the status") {
  const bool lent = GENERATE(false, true);
  host h;
  auto c = h.connect();
  h.pool->adopt(lent ? descriptor::lent(c.fd) : descriptor::given(c.fd), h.to, wsproxy::unread_request{},
                h.on_end());
  c.client.send("GET / HTTP/3.7\r\n\r\n");
  if (!lent) CHECK(status_of(read_head(c.client)) == 505);
  c.client.close();
  const auto end = h.results.take();
  CHECK(end.at == wsproxy::stage::head);
  CHECK(end.error == errc::bad_version);
  CHECK(end.status == 505);
  CHECK(end.cause == end_cause::refused);
  CHECK(end.who == wsproxy::side::downstream);
  CHECK(end.committed == !lent);
  if (lent) ::close(c.fd);
}

TEST_CASE(
    "adopt: a head that never comes is the end of its timer; a client that leaves before it, of nobody") {
  host h;
  auto c = h.connect();
  wsproxy::unread_request late;
  late.what.how = wsproxy::route::make({.tunnel = {.timeouts = {.client_head = 1ms}}});
  h.pool->adopt(descriptor::lent(c.fd), h.to, std::move(late), h.on_end());
  auto end = h.results.take();
  CHECK(end.error == errc::client_head_timeout);
  CHECK(end.cause == end_cause::timeout);
  CHECK(end.status == 408);
  h.pool->adopt(descriptor::given(c.fd), h.to, wsproxy::unread_request{}, h.on_end());
  c.client.close();
  end = h.results.take();
  CHECK(end.cause == end_cause::closed);
  CHECK(end.status == 0);
  CHECK_FALSE(is_open(c.fd));
}

// ---- The handshake first

namespace {
/// What `handshake` found, on the test's thread.
wsproxy::ready_result shake(host& h, std::string_view answer, peer& backend) {
  mailbox<std::shared_ptr<wsproxy::ready_result>> ready;
  h.pool->handshake(h.to, h.upgrade(), [&](wsproxy::ready_result found) {
    ready.put(std::make_shared<wsproxy::ready_result>(std::move(found)));
  });
  backend = h.answer(answer);
  return std::move(*ready.take());
}
}  // namespace

TEST_CASE("adopt: a host that sends the 101 itself makes the handshake first and hands over afterwards") {
  host h(2);
  peer backend(-1);
  auto found = shake(h,
                     switching("Sec-WebSocket-Protocol: chat\r\nX-Own: yes\r\nKeep-Alive: 1\r\n") +
                         server_frame(text, "hello"),
                     backend);
  REQUIRE(found.accepted);
  CHECK_FALSE(found.answer);
  const auto& fields = found.accepted->response().fields;
  CHECK(fields.value_or_empty("Sec-WebSocket-Accept") == sample_accept);
  CHECK(fields.value_or_empty("Sec-WebSocket-Protocol") == "chat");
  CHECK(fields.value_or_empty("X-Own") == "yes");
  CHECK(fields.count("Keep-Alive") == 0);
  CHECK(fields.has_token("Connection", "upgrade"));
  CHECK(h.to.backends()[0]->active() == 1);
  CHECK(eventually([&] { return h.pool->live() == 0; }));

  auto c = h.connect();
  const auto handle = h.pool->adopt(descriptor::lent(c.fd), std::move(*found.accepted),
                                    client_frame(text, "early"), h.on_end());
  CHECK(read_frame(c.client).payload == "hello");
  CHECK(read_frame(backend).payload == "early");
  check_echo(c.client, backend);
  CHECK(handle.session().alive());
  handle.session().drain({.reason = "bye"});
  CHECK(close_code(read_frame(c.client)) == 1001);
  CHECK(close_code(read_frame(backend)) == 1001);
  c.client.send(client_frame(close_frame, close_payload(1001)));
  backend.send(server_frame(close_frame, close_payload(1001)));
  CHECK(c.client.end() == ending::fin);  // shut down, although it is not ours to close
  c.client.close();
  backend.close();
  CHECK(h.results.take().cause == end_cause::drained);
  CHECK(is_open(c.fd));
  ::close(c.fd);
}

TEST_CASE("adopt: on_established of a handshake is called when its tunnel begins") {
  host h;
  mailbox<wsproxy::session_handle> sessions;
  mailbox<std::shared_ptr<wsproxy::ready_result>> ready;
  auto what = h.upgrade();
  what.client = "192.0.2.7";
  what.on_established = [&](wsproxy::session_handle s) { sessions.put(std::move(s)); };
  h.pool->handshake(h.to, std::move(what), [&](wsproxy::ready_result found) {
    ready.put(std::make_shared<wsproxy::ready_result>(std::move(found)));
  });
  auto backend = h.answer(switching());
  auto found = ready.take();
  CHECK(sessions.size() == 0);
  auto c = h.connect();
  h.pool->adopt(descriptor::given(c.fd), std::move(*found->accepted), {}, h.on_end());
  const auto session = sessions.take();
  CHECK(session.client() == "192.0.2.7");
  session.abort();
  CHECK(h.results.take().cause == end_cause::aborted);
}

TEST_CASE("adopt: a handshake that is declined gives the answer's head; one that fails, the status") {
  host h;
  peer backend(-1);
  auto found =
      shake(h, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", backend);
  CHECK_FALSE(found.accepted);
  REQUIRE(found.answer);
  CHECK(found.answer->fields.value_or_empty("WWW-Authenticate") == "Basic");
  CHECK(found.result.status == 401);
  found = shake(h, "HTTP/1.1 101 Switching Protocols\r\n\r\n", backend);
  CHECK_FALSE(found.accepted);
  CHECK_FALSE(found.answer);
  CHECK(found.result.status == 502);
  CHECK_FALSE(found.result.committed);
}

TEST_CASE("adopt: a ready tunnel that another takes the place of closes its connection") {
  host h;
  peer first_backend(-1), second_backend(-1);
  auto first = shake(h, switching(), first_backend);
  auto second = shake(h, switching(), second_backend);
  *first.accepted = std::move(*second.accepted);
  CHECK(first_backend.end() == ending::fin);
  CHECK(eventually([&] { return h.to.backends()[0]->active() == 1; }));
}

TEST_CASE(
    "adopt: a ready tunnel that nobody wants closes its connection, on any thread, before or after the "
    "pool's end") {
  host h;
  const bool pool_first = GENERATE(false, true);
  peer backend(-1);
  auto found = shake(h, switching(), backend);
  REQUIRE(found.accepted);
  if (pool_first) h.pool.reset();
  found.accepted.reset();
  CHECK(backend.end() == ending::fin);
  CHECK(eventually([&] { return h.to.backends()[0]->active() == 0; }));
}

// ---- Seen from outside

TEST_CASE("adopt: a handle ends it at any stage") {
  host h;
  SECTION("before the head") {
    auto c = h.connect();
    const auto handle = h.pool->adopt(descriptor::given(c.fd), h.to, wsproxy::unread_request{}, h.on_end());
    CHECK(handle.session().id() == 0);
    handle.abort();
    CHECK(c.client.read_all().empty());
  }
  SECTION("during the handshake") {
    auto c = h.connect();
    const auto handle = h.pool->adopt(descriptor::given(c.fd), h.to, h.upgrade(), h.on_end());
    auto backend = h.answer("");
    handle.abort();
    CHECK(backend.end() == ending::fin);
  }
  SECTION("in the tunnel") {
    auto t = h.open(false);
    CHECK(eventually([&] { return t.handle.session().alive(); }));
    t.handle.abort();
    t.backend.end();
  }
  const auto end = h.results.take();
  CHECK(end.cause == end_cause::aborted);
  CHECK(end.error == errc::cancelled);
}

TEST_CASE("adopt: what a handle ends between two of its operations does not begin the next") {
  host h;
  // While the thread is held up in a callback, both wait for it: the next connection, whose head is there
  // already and is taken at once, and the word to end it.
  std::promise<void> entered, go;
  auto first = h.connect();
  h.pool->adopt(descriptor::given(first.fd), h.to, h.plain(), [&](const forward_result&) {
    entered.set_value();
    go.get_future().wait();
  });
  h.answer("HTTP/1.1 204 No Content\r\n\r\n");
  entered.get_future().wait();

  auto second = h.connect();
  wsproxy::adoption handle;
  SECTION("the head has been read") {
    handle = h.pool->adopt(descriptor::given(second.fd), h.to,
                           wsproxy::unread_request{.received = handshake()}, h.on_end());
  }
  SECTION("the head has been refused") {
    handle = h.pool->adopt(descriptor::given(second.fd), h.to,
                           wsproxy::unread_request{.received = "nonsense\r\n\r\n"}, h.on_end());
  }
  handle.abort();
  go.set_value();
  const auto end = h.results.take();
  CHECK(end.cause == end_cause::aborted);
  CHECK(end.error == errc::cancelled);
  CHECK_FALSE(end.committed);
  CHECK(second.client.read_all().empty());
}

TEST_CASE("adopt: a handshake that is ended between its result and its callback says so") {
  struct nobody : wsproxy::balancer {
    std::optional<std::size_t> pick(wsproxy::pick_request&) override {
      known.get_future().get().abort();  // heard when the result, that there is no backend, is on its way
      return std::nullopt;
    }
    std::promise<wsproxy::adoption> known;
  };
  host h;
  const auto method = std::make_shared<nobody>();
  const wsproxy::upstream to({{.name = h.backend.name()}}, method);
  mailbox<wsproxy::ready_result> results;
  method->known.set_value(h.pool->handshake(
      to, h.upgrade(), [&](wsproxy::ready_result found) { results.put(std::move(found)); }));
  const auto found = results.take();
  CHECK(found.result.error == errc::cancelled);
  CHECK(found.result.cause == end_cause::aborted);
  CHECK_FALSE(found.accepted);
}

TEST_CASE("adopt: a ready tunnel of another pool, or one that was moved from, is refused") {
  host h;
  peer backend(-1);
  auto found = shake(h, switching(), backend);
  REQUIRE(found.accepted);
  auto c = h.connect();
  wsproxy::ready_tunnel theirs = std::move(*found.accepted);
  CHECK_THROWS_WITH(h.pool->adopt(descriptor::given(c.fd), std::move(*found.accepted), ""),
                    "wsproxy: adopt: this ready_tunnel was moved from");
  worker_pool other(1);
  CHECK_THROWS_WITH(other.adopt(descriptor::given(c.fd), std::move(theirs), ""),
                    "wsproxy: adopt: this ready_tunnel is another pool's");
  CHECK(other.live() == 0);
  CHECK(is_open(c.fd));
  ::close(c.fd);
  CHECK(backend.end() == ending::fin);
}

TEST_CASE("adopt: a handle outlives its connection and its pool") {
  host h;
  auto t = h.open(false);
  t.client.close();
  t.backend.close();
  h.results.take();
  CHECK_FALSE(t.handle.session().alive());
  t.handle.abort();
  h.pool.reset();
  t.handle.abort();
  t.handle.session().drain();
  wsproxy::adoption().abort();
}

TEST_CASE("adopt: callbacks run on the pool's threads, which take no signal") {
  host h;
  auto c = h.connect();
  struct seen {
    std::thread::id thread;
    bool pipe, term, fault;
  };
  mailbox<seen> there;
  h.pool->adopt(descriptor::given(c.fd), h.to, h.upgrade(), [&](const forward_result&) {
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    there.put({std::this_thread::get_id(), ::sigismember(&blocked, SIGPIPE) == 1,
               ::sigismember(&blocked, SIGTERM) == 1, ::sigismember(&blocked, SIGSEGV) == 1});
  });
  h.answer(switching()).close();
  read_head(c.client);
  c.client.close();
  const auto at = there.take();
  CHECK(at.thread != std::this_thread::get_id());
  CHECK(at.pipe);
  CHECK(at.term);
  CHECK_FALSE(at.fault);
  sigset_t mine;
  pthread_sigmask(SIG_SETMASK, nullptr, &mine);
  CHECK(::sigismember(&mine, SIGTERM) == 0);
}

TEST_CASE("adopt: connections are spread over the threads") {
  host h(2);
  CHECK(h.pool->threads() == 2);
  mailbox<std::thread::id> threads;
  std::vector<host::tunnel> open;
  for (int i = 0; i != 4; ++i) {
    auto what = h.upgrade();
    what.on_established = [&](const wsproxy::session_handle&) { threads.put(std::this_thread::get_id()); };
    open.push_back(h.open(false, std::move(what)));
  }
  std::vector<std::thread::id> on;
  for (int i = 0; i != 4; ++i) on.push_back(threads.take());
  CHECK(std::count(on.begin(), on.end(), on[0]) == 2);
  CHECK(h.pool->live() == 4);
}

// ---- The end of a pool

TEST_CASE("adopt: a pool's end ends everything, and every callback has returned then") {
  host h(2);
  auto tunnel = h.open(false);
  auto lent = h.open(true);
  auto reading = h.connect();
  h.pool->adopt(descriptor::given(reading.fd), h.to, wsproxy::unread_request{}, h.on_end());
  auto asking = h.connect();
  h.pool->adopt(descriptor::given(asking.fd), h.to, h.upgrade(), h.on_end());
  auto backend = h.answer("");
  auto shaking = h.upgrade();
  std::atomic<int> shaken{0};
  h.pool->handshake(h.to, std::move(shaking),
                    [&](const wsproxy::ready_result& r) { shaken += r.accepted ? 100 : 1; });
  h.pool.reset();
  CHECK(h.results.size() == 4);
  CHECK(shaken == 1);
  for (int i = 0; i != 4; ++i) CHECK(h.results.take().cause == end_cause::aborted);
  CHECK(is_open(lent.fd));
  ::close(lent.fd);
  for (const int fd : {tunnel.fd, reading.fd, asking.fd}) CHECK_FALSE(is_open(fd));
}

TEST_CASE("adopt: a callback may hand over the next connection, also while the pool ends") {
  host h;
  auto t = h.open(false);
  auto next = h.connect();
  mailbox<end_cause> last;
  auto c = h.connect();
  h.pool->adopt(descriptor::given(c.fd), h.to, wsproxy::unread_request{}, [&](const forward_result&) {
    h.pool->adopt(descriptor::given(next.fd), h.to, wsproxy::unread_request{},
                  [&](const forward_result& end) { last.put(end.cause); });
  });
  h.pool->stop();
  CHECK(last.take() == end_cause::aborted);
  CHECK(next.client.read_all().empty());
}

TEST_CASE("adopt: a drain closes tunnels politely, lets answers end, and refuses what is new") {
  host h(2);
  auto t = h.open(false);
  auto c = h.connect();
  h.pool->adopt(descriptor::given(c.fd), h.to, h.plain(), h.on_end());
  auto backend = h.answer("");
  std::atomic<int> drained{-1};
  std::thread draining(
      [&] { drained = h.pool->drain({.deadline = patience, .code = 1012, .reason = "restart"}); });
  CHECK(close_code(read_frame(t.client)) == 1012);
  CHECK(close_code(read_frame(t.backend)) == 1012);

  auto late = h.connect();
  h.pool->adopt(descriptor::given(late.fd), h.to, h.upgrade(), h.on_end());
  CHECK(status_of(read_head(late.client)) == 503);
  late.client.close();
  CHECK(h.results.take().cause == end_cause::refused);

  backend.send(ok("still served"));
  CHECK(read_message(c.client).body == "still served");
  c.client.close();
  CHECK(h.results.take().status == 200);
  CHECK(drained == -1);
  t.client.send(client_frame(close_frame, close_payload(1012)));
  t.backend.send(server_frame(close_frame, close_payload(1012)));
  t.client.end();
  t.client.close();
  t.backend.close();
  CHECK(h.results.take().cause == end_cause::drained);
  draining.join();
  CHECK(drained == 1);
  CHECK(h.pool->drain({.deadline = 1ms}));
}

TEST_CASE("adopt: a drain's deadline ends what is left") {
  host h;
  auto c = h.connect();
  h.pool->adopt(descriptor::given(c.fd), h.to, h.plain(), h.on_end());
  auto backend = h.answer("");
  CHECK_FALSE(h.pool->drain({.deadline = 1ms}));
  CHECK(h.pool->live() == 0);
  CHECK(h.results.take().cause == end_cause::aborted);
  CHECK(c.client.read_all().empty());
}
