#include <wsproxy/wsproxy.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <asio/awaitable.hpp>
#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/read.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>
#include <asio/write.hpp>

#include <wsproxy/proxy/edge_socket.hpp>
#include <wsproxy/upstream/random.hpp>

#include "tests/support/gateway.hpp"

// Hosts of their own making: streams, executors and completion tokens as Asio's users choose them.

using namespace test;
using asio::ip::tcp;
using wsproxy::end_cause;
using wsproxy::errc;
using wsproxy::forward_result;
using wsproxy::side;
using wsproxy::stage;

namespace {

wsproxy::request_head parsed(std::string_view text) {
  wsproxy::head_parser parser(wsproxy::head_parser::kind::request);
  if (!parser.feed(text).done) throw std::logic_error("no whole head");
  return parser.take_request();
}

wsproxy::exchange exchange_of(std::string_view request, std::string early = {}) {
  return {.head = parsed(request), .early = std::move(early), .client = "192.0.2.7"};
}

/// A connection that a host has accepted: the far end, and the descriptor of the near one.
struct accepted {
  peer client;
  int descriptor;
};
accepted accept_one() {
  listener at;
  accepted made{peer::connect(at.port()), -1};
  made.descriptor = ::accept4(at.descriptor(), nullptr, nullptr, SOCK_CLOEXEC);
  return made;
}

/// A stream that can only read and write: the second tier. It owns a TCP socket.
class plain_stream {
 public:
  using executor_type = tcp::socket::executor_type;
  explicit plain_stream(tcp::socket socket) : socket_(std::move(socket)) {}
  executor_type get_executor() { return socket_.get_executor(); }
  template <class Buffers, class Handler> auto async_read_some(const Buffers& into, Handler&& handler) {
    return socket_.async_read_some(into, std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler> auto async_write_some(const Buffers& from, Handler&& handler) {
    return socket_.async_write_some(from, std::forward<Handler>(handler));
  }
  void shutdown_send(std::error_code& ec) { socket_.shutdown(tcp::socket::shutdown_send, ec); }
  void close() {
    std::error_code ignored;
    socket_.close(ignored);
  }
  void cancel() {
    std::error_code ignored;
    socket_.cancel(ignored);
  }

 private:
  tcp::socket socket_;
};
static_assert(wsproxy::async_stream<plain_stream> && !wsproxy::readiness_stream<plain_stream>);

/// Plays one tunnel to its end, from both ends.
void play_tunnel(peer& client, peer& backend) {
  const std::string big(200'000, 'b');
  std::thread sender([&] { client.send(client_frame(text, "up") + client_frame(binary, big)); });
  const auto up = read_frame(backend).payload;
  const bool same = read_frame(backend).payload == big;
  sender.join();
  CHECK(up == "up");
  CHECK(same);
  backend.send(server_frame(text, "down"));
  CHECK(read_frame(client).payload == "down");
  client.send(client_frame(close_frame, close_payload(1000)));
  CHECK(close_code(read_frame(backend)) == 1000);
  backend.send(server_frame(close_frame, close_payload(1000)));
  backend.shutdown_send();
  CHECK(close_code(read_frame(client)) == 1000);
  CHECK(client.end() == ending::fin);
  client.close();
  backend.end();
}

void check_tunnel(const forward_result& result) {
  CHECK_FALSE(result.error);
  CHECK(result.cause == end_cause::closed);
  CHECK(result.who == side::downstream);
  CHECK(result.status == 101);
  CHECK(result.from_client.messages == 2);
  CHECK(result.from_upstream.messages == 1);
}

template <class Stream> Stream make_stream(asio::any_io_executor executor, int descriptor) {
  if constexpr (std::is_same_v<Stream, wsproxy::edge_socket>) return Stream(std::move(executor), descriptor);
  else if constexpr (std::is_same_v<Stream, asio::generic::stream_protocol::socket>)
    return Stream(std::move(executor), asio::generic::stream_protocol(AF_INET, IPPROTO_TCP), descriptor);
  else return Stream(tcp::socket(std::move(executor), tcp::v4(), descriptor));
}

// A tunnel and then a plain request whose connection goes on, over a stream of this type.
template <class Stream> void check_stream() {
  background loop;
  listener backend_at;
  const wsproxy::upstream to({{.name = backend_at.name()}});
  {
    auto ends = accept_one();
    auto stream = std::make_shared<Stream>(make_stream<Stream>(loop.context.get_executor(), ends.descriptor));
    mailbox<forward_result> results;
    loop.call([&] {
      wsproxy::async_forward(*stream, to, exchange_of(handshake()),
                             [&](forward_result result) { results.put(std::move(result)); });
    });
    auto backend = backend_at.accept();
    read_head(backend);
    backend.send(switching());
    CHECK(status_of(read_head(ends.client)) == 101);
    play_tunnel(ends.client, backend);
    check_tunnel(results.take());
    loop.call([&] { stream.reset(); });
  }
  {
    auto ends = accept_one();
    auto stream = std::make_shared<Stream>(make_stream<Stream>(loop.context.get_executor(), ends.descriptor));
    mailbox<forward_result> results;
    for (int i = 0; i != 2; ++i) {
      loop.call([&] {
        wsproxy::async_forward(*stream, to, exchange_of(get()),
                               [&](forward_result result) { results.put(std::move(result)); });
      });
      auto backend = backend_at.accept();
      read_head(backend);
      backend.send(ok("plain"));
      CHECK(read_message(ends.client).body == "plain");
      CHECK(results.take().keep_alive);
    }
    // What the client sends meanwhile is not lost, whoever has read it.
    loop.call([&] {
      wsproxy::async_forward(*stream, to, exchange_of(get()),
                             [&](forward_result result) { results.put(std::move(result)); });
    });
    auto backend = backend_at.accept();
    read_head(backend);
    ends.client.send("next");
    loop.settle();
    backend.send(ok(""));
    const auto result = results.take();
    CHECK(result.leftover == "next");
    CHECK(result.keep_alive);
    loop.call([&] { stream.reset(); });
  }
}

}  // namespace

TEST_CASE("an exchange runs over tcp::socket") { check_stream<tcp::socket>(); }
TEST_CASE("an exchange runs over generic sockets") { check_stream<asio::generic::stream_protocol::socket>(); }
TEST_CASE("an exchange runs over edge_socket") { check_stream<wsproxy::edge_socket>(); }
TEST_CASE("an exchange runs over a stream without readiness") { check_stream<plain_stream>(); }

TEST_CASE("a stream given away lives in the operation") {
  background loop;
  listener backend_at;
  const wsproxy::upstream to({{.name = backend_at.name()}});
  auto ends = accept_one();
  auto done = loop.call([&] {
    tcp::socket socket(loop.context, tcp::v4(), ends.descriptor);
    return wsproxy::async_forward(std::move(socket), to,
                                  exchange_of(handshake(), client_frame(text, "early")), asio::use_future);
  });
  auto backend = backend_at.accept();
  read_head(backend);
  backend.send(switching());
  CHECK(status_of(read_head(ends.client)) == 101);
  CHECK(read_frame(backend).payload == "early");
  backend.reset();
  CHECK(close_code(read_frame(ends.client)) == 1014);
  ends.client.close();
  CHECK(done.get().cause == end_cause::reset);
}

TEST_CASE("a coroutine forwards one request after the other") {
  background loop;
  listener backend_at;
  const wsproxy::upstream to({{.name = backend_at.name()}});
  auto ends = accept_one();
  auto served = loop.call([&] {
    return asio::co_spawn(
        loop.context,
        [&]() -> asio::awaitable<int> {
          tcp::socket socket(loop.context, tcp::v4(), ends.descriptor);
          std::string leftover;
          for (int requests = 0;; ++requests) {
            auto read =
                co_await wsproxy::async_read_head(socket, std::move(leftover), {}, asio::use_awaitable);
            if (read.error) co_return requests;
            wsproxy::exchange what{.head = std::move(read.head), .early = std::move(read.early)};
            auto result = co_await wsproxy::async_forward(socket, to, std::move(what), asio::use_awaitable);
            leftover = std::move(result.leftover);
            if (!result.committed)
              co_await wsproxy::async_send(socket,
                                           wsproxy::make_response(result.status, "", {}, !result.keep_alive),
                                           {.close = !result.keep_alive}, asio::use_awaitable);
            if (!result.keep_alive) co_return requests + 1;
          }
        },
        asio::use_future);
  });
  ends.client.send(get("/1") + get("/2"));
  for (const char* const body : {"one", "two"}) {
    auto backend = backend_at.accept();
    read_head(backend);
    backend.send(ok(body));
    CHECK(read_message(ends.client).body == body);
  }
  backend_at.close();
  ends.client.send(get("/3"));
  CHECK(read_message(ends.client).status() == 502);
  ends.client.shutdown_send();
  CHECK(served.get() == 3);
}

TEST_CASE("a coroutine that is cancelled gets its result") {
  background loop;
  listener backend_at;
  const wsproxy::upstream to({{.name = backend_at.name()}});
  auto ends = accept_one();
  asio::cancellation_signal stop;
  mailbox<forward_result> results;
  loop.call([&] {
    asio::co_spawn(
        loop.context,
        [&]() -> asio::awaitable<void> {
          tcp::socket socket(loop.context, tcp::v4(), ends.descriptor);
          results.put(
              co_await wsproxy::async_forward(socket, to, exchange_of(handshake()), asio::use_awaitable));
        },
        asio::bind_cancellation_slot(stop.slot(), asio::detached));
  });
  auto backend = backend_at.accept();
  read_head(backend);
  loop.call([&] { stop.emit(asio::cancellation_type::terminal); });
  const auto result = results.take();
  CHECK(result.error == errc::cancelled);
  CHECK(result.cause == end_cause::aborted);
  CHECK_FALSE(result.committed);
  CHECK(backend.end() == ending::fin);
}

TEST_CASE("a completion runs on its executor, and takes a move-only handler") {
  background loop, other;
  auto ends = accept_one();
  const wsproxy::upstream to({{.name = refusing_address()}});
  mailbox<std::thread::id> ran_on;
  auto stream = std::make_shared<tcp::socket>(loop.context, tcp::v4(), ends.descriptor);
  loop.call([&] {
    wsproxy::async_forward(
        *stream, to, exchange_of(get()),
        asio::bind_executor(other.context, [&, only = std::make_unique<int>()](const forward_result&) {
          ran_on.put(std::this_thread::get_id());
        }));
  });
  CHECK(ran_on.take() == other.call([] { return std::this_thread::get_id(); }));
  loop.call([&] { stream.reset(); });
}

TEST_CASE("a completion never runs inside the initiating call, however soon its result is known") {
  background loop;
  auto ends = accept_one();
  const wsproxy::upstream to({{.name = refusing_address()}});
  mailbox<std::pair<bool, int>> results;
  auto stream = std::make_shared<tcp::socket>(loop.context, tcp::v4(), ends.descriptor);
  bool returned = false;
  loop.call([&] {
    auto what = exchange_of(handshake());
    what.head.fields.erase("Sec-WebSocket-Key");  // refused by a rule: nothing is waited for
    wsproxy::async_forward(*stream, to, std::move(what), [&](const forward_result& result) {
      results.put({returned, result.status});
    });
    returned = true;
  });
  CHECK(results.take() == std::pair(true, 400));
  loop.settle();
  CHECK(results.size() == 0);
  loop.call([&] { stream.reset(); });
}

TEST_CASE("cancellation: terminal at once, total until the request is sent, partial never") {
  background loop;
  listener backend_at;
  stalling_listener stalling;
  const auto type = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::total,
                             asio::cancellation_type::partial, asio::cancellation_type::all);
  const auto when = GENERATE(stage::connect, stage::handshake, stage::tunnel);
  const bool ends_it = (type & asio::cancellation_type::terminal) != asio::cancellation_type::none ||
                       (type == asio::cancellation_type::total && when == stage::connect);
  const wsproxy::upstream to({{.name = when == stage::connect ? stalling.name() : backend_at.name()}});
  auto ends = accept_one();
  asio::cancellation_signal stop;
  mailbox<forward_result> results;
  auto stream = std::make_shared<tcp::socket>(loop.context, tcp::v4(), ends.descriptor);
  loop.call([&] {
    wsproxy::async_forward(*stream, to, exchange_of(handshake()),
                           asio::bind_cancellation_slot(
                               stop.slot(), [&](forward_result result) { results.put(std::move(result)); }));
  });
  peer backend(-1);
  if (when != stage::connect) {
    backend = backend_at.accept();
    read_head(backend);
  }
  if (when == stage::tunnel) {
    backend.send(switching());
    read_head(ends.client);
  }
  loop.settle();
  loop.call([&] { stop.emit(type); });
  loop.settle();
  if (!ends_it) {
    CHECK(results.size() == 0);
    loop.call([&] { stop.emit(asio::cancellation_type::terminal); });
  }
  const auto result = results.take();
  CHECK(result.error == errc::cancelled);
  CHECK(result.cause == end_cause::aborted);
  CHECK(result.who == side::local);
  CHECK(result.at == when);
  CHECK(result.committed == (when == stage::tunnel));
  CHECK(loop.call([&] { return stream->is_open(); }) == (when != stage::tunnel));
  if (when != stage::connect) backend.end();
  CHECK(to.backends().front()->active() == 0);
  CHECK(to.backends().front()->failed() == 0);
  loop.call([&] { stream.reset(); });
}

TEST_CASE("a host that answers its client itself: handshake, its own 101, tunnel") {
  background loop;
  listener backend_at;
  const wsproxy::upstream to({{.name = backend_at.name()}});
  auto ends = accept_one();
  auto stream = std::make_shared<tcp::socket>(loop.context, tcp::v4(), ends.descriptor);
  mailbox<wsproxy::handshake_result<>> shaken;
  loop.call([&] {
    wsproxy::async_handshake(loop.context.get_executor(), to, exchange_of(handshake()),
                             [&](wsproxy::handshake_result<> result) { shaken.put(std::move(result)); });
  });
  auto backend = backend_at.accept();
  read_head(backend);

  SECTION("accepted") {
    backend.send(switching("X-Backend: b\r\n") + server_frame(text, "first"));
    auto result = shaken.take();
    REQUIRE(result.accepted);
    CHECK_FALSE(result.answer);
    CHECK_FALSE(result.result.error);
    CHECK(result.accepted->response().status == 101);
    CHECK(result.accepted->response().fields.value_or_empty("X-Backend") == "b");
    CHECK(result.accepted->early() == server_frame(text, "first"));
    CHECK(to.backends().front()->active() == 1);
    ends.client.send(client_frame(text, "early"));
    mailbox<forward_result> results;
    loop.call([&] {
      asio::write(*stream, asio::buffer(std::string("HTTP/1.1 101 Mine\r\n\r\n")));
      wsproxy::async_tunnel(*stream, std::move(*result.accepted), client_frame(text, "read before"),
                            [&](forward_result end) { results.put(std::move(end)); });
    });
    CHECK(read_head(ends.client) == "HTTP/1.1 101 Mine\r\n\r\n");
    CHECK(read_frame(ends.client).payload == "first");
    CHECK(read_frame(backend).payload == "read before");
    CHECK(read_frame(backend).payload == "early");
    ends.client.close();
    backend.end();
    backend.close();
    const auto end = results.take();
    CHECK(end.cause == end_cause::closed);
    CHECK(end.from_client.messages == 2);
  }
  SECTION("accepted, and then nobody wants it") {
    backend.send(switching());
    {
      auto result = shaken.take();
      CHECK(result.accepted);
      loop.call([&] { result.accepted.reset(); });
    }
    CHECK(backend.end() == ending::fin);
  }
  SECTION("refused") {
    backend.send("HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\nrea");
    auto result = shaken.take();
    REQUIRE(result.answer);
    CHECK_FALSE(result.accepted);
    CHECK(result.answer->head.status == 403);
    CHECK(result.answer->early == "rea");
    backend.send("son");
    char rest[3];
    loop.call([&] { asio::read(result.answer->stream, asio::buffer(rest)); });
    CHECK(std::string_view(rest, 3) == "son");
    loop.call([&] { result.answer.reset(); });
  }
  SECTION("broken") {
    backend.send("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    auto result = shaken.take();
    CHECK_FALSE(result.accepted);
    CHECK_FALSE(result.answer);
    CHECK(result.result.error == wsproxy::condition::bad_gateway);
    CHECK(result.result.status == 502);
  }
  CHECK(to.backends().front()->active() == 0);
  loop.call([&] { stream.reset(); });
}

TEST_CASE("two streams of any protocol are relayed, with half-close both ways") {
  background loop;
  auto first_ends = accept_one();
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  peer second_end(pair[0]);
  tcp::socket first(loop.context, tcp::v4(), first_ends.descriptor);
  asio::local::stream_protocol::socket second(loop.context, asio::local::stream_protocol(), pair[1]);
  mailbox<forward_result> results;
  loop.call([&] {
    wsproxy::async_relay(first, "from the first ", std::move(second), "from the second ", {},
                         [&](forward_result result) { results.put(std::move(result)); });
  });
  CHECK(second_end.read(15) == "from the first ");
  CHECK(first_ends.client.read(16) == "from the second ");
  const std::string bytes(1'000'000, '\x88');  // not a frame
  std::thread sender([&] {
    first_ends.client.send(bytes);
    first_ends.client.shutdown_send();
  });
  const bool same = second_end.read_all() == bytes;
  sender.join();
  CHECK(same);
  second_end.send("late");
  second_end.shutdown_send();
  CHECK(first_ends.client.read_all() == "late");
  const auto result = results.take();
  CHECK_FALSE(result.error);
  CHECK(result.cause == end_cause::closed);
  CHECK(result.from_client.bytes == bytes.size() + 15);
  CHECK(result.from_upstream.bytes == 20);
  CHECK(result.from_client.frames == 0);
}

// Run it under the thread sanitizer.
TEST_CASE("strands of a thread pool: exchanges, handles and lists of backends from many threads") {
  const int count = static_cast<int>(64 / scale()) + 8;
  asio::thread_pool pool(4);
  listener backend_at, other_at;
  wsproxy::upstream to({{.name = backend_at.name()}, {.name = other_at.name(), .down = true}},
                       wsproxy::random_choice());
  const auto how = wsproxy::route::make(
      {.tunnel = {.timeouts = {.boundary_wait = 100ms, .close_wait = 100ms, .linger = 100ms},
                  .heartbeat = {.interval = 100ms, .timeout = 1h}}});
  mailbox<wsproxy::session_handle> sessions;
  mailbox<forward_result> results;
  std::vector<peer> clients, backends;
  for (int i = 0; i != count; ++i) {
    auto ends = accept_one();
    auto what = exchange_of(handshake());
    what.how = how;
    what.on_established = [&](wsproxy::session_handle session) { sessions.put(session); };
    tcp::socket stream(asio::make_strand(pool), tcp::v4(), ends.descriptor);
    // Initiated here, completed on the pool.
    wsproxy::async_forward(std::move(stream), to, std::move(what),
                           [&](forward_result result) { results.put(std::move(result)); });
    clients.push_back(std::move(ends.client));
  }
  std::atomic<bool> stop{false};
  std::thread meddler([&] {  // lists change and are read meanwhile
    for (bool down = true; !stop; down = !down) {
      to.set_backends(
          {{.name = backend_at.name()}, {.name = other_at.name(), .weight = down ? 1u : 2u, .down = true}});
      for (const auto& each : to.backends()) (void)each->active();
    }
  });
  for (int i = 0; i != count; ++i) {
    backends.push_back(backend_at.accept());
    read_head(backends.back());
    backends.back().send(switching() + server_frame(text, "first"));
  }
  for (auto& client : clients) {
    CHECK(status_of(read_head(client)) == 101);
    CHECK(read_frame(client).payload == "first");
    client.send(client_frame(text, "up"));
  }
  std::vector<wsproxy::session_handle> handles;
  for (int i = 0; i != count; ++i) handles.push_back(sessions.take());
  std::vector<std::thread> threads;
  for (int t = 0; t != 3; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i != handles.size(); ++i) {
        (void)handles[i].stats();
        (void)handles[i].alive();
        if (i % 3 != static_cast<std::size_t>(t)) continue;
        if (i % 2 == 0) handles[i].drain({.code = 1012, .reason = "from another thread"});
        else handles[i].abort();
      }
    });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i != count; ++i) {
    const auto result = results.take();
    CHECK((result.cause == end_cause::drained || result.cause == end_cause::aborted));
  }
  stop = true;
  meddler.join();
  pool.join();
  CHECK(to.backends().front()->active() == 0);
}

TEST_CASE("a context may go with exchanges in every state") {
  listener backend_at;
  const wsproxy::upstream to({{.name = backend_at.name()}});
  std::vector<peer> kept;
  {
    asio::io_context context(1);
    for (const char* const part : {"", "HTTP/1.1 1", "tunnel"}) {
      auto ends = accept_one();
      auto stream = std::make_shared<tcp::socket>(context, tcp::v4(), ends.descriptor);
      wsproxy::async_forward(*stream, to, exchange_of(handshake()),
                             [stream](const forward_result&) { FAIL("completed"); });
      // Enough turns to connect and to read.
      std::optional<peer> backend;
      while (!backend) {
        context.poll();
        backend = backend_at.accept_within(0ms);
      }
      while (!backend->readable(0ms)) context.poll();
      read_head(*backend);
      backend->send(part == std::string_view("tunnel") ? switching() : part);
      if (part == std::string_view("tunnel"))
        while (!ends.client.readable(0ms)) context.poll();
      context.poll();
      kept.push_back(std::move(ends.client));
      kept.push_back(std::move(*backend));
    }
    CHECK(to.backends().front()->active() == 3);
  }
  CHECK(to.backends().front()->active() == 0);
  for (auto& each : kept) each.end();
}
