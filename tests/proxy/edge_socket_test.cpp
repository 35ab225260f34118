#include <wsproxy/proxy/edge_socket.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/strand.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <wsproxy/proxy/edge_context.hpp>

#include "tests/support/process.hpp"

namespace {

using wsproxy::edge_socket;

/// One end as an edge_socket, the other as a plain descriptor.
struct pair {
  explicit pair(const asio::any_io_executor& executor) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    socket.emplace(executor, ends[0]);
    peer = ends[1];
  }
  ~pair() { hang_up(); }
  void hang_up() {
    if (peer >= 0) ::close(std::exchange(peer, -1));
  }
  void send(std::string_view text) const {
    REQUIRE(::send(peer, text.data(), text.size(), 0) == ssize_t(text.size()));
  }

  std::optional<edge_socket> socket;
  int peer = -1;
};

std::string read_now(edge_socket& s, std::error_code& ec) {
  std::array<char, 64> bytes{};
  const auto n = s.try_read(bytes, ec);
  return {bytes.data(), n};
}

}  // namespace

static_assert(wsproxy::readiness_stream<edge_socket>);
static_assert(wsproxy::dialer<wsproxy::edge_dialer>);

TEMPLATE_TEST_CASE("an edge_socket is told of bytes, of more bytes and of the end", "", asio::io_context,
                   wsproxy::edge_context) {
  TestType context;
  pair ends(context.get_executor());
  std::string seen;
  std::error_code last;
  std::function<void(std::error_code)> on_readable = [&](std::error_code ec) {
    REQUIRE(!ec);
    seen += read_now(*ends.socket, last);
    if (!last) ends.socket->async_wait_read(std::ref(on_readable));
    if (seen == "one") ends.send("two");
    else if (!last) ends.hang_up();
  };
  ends.socket->async_wait_read(std::ref(on_readable));
  ends.send("one");
  context.run();
  CHECK(seen == "onetwo");
  CHECK(last == asio::error::eof);
}

TEMPLATE_TEST_CASE("a FIN behind the bytes of one read is not missed", "", asio::io_context,
                   wsproxy::edge_context) {
  TestType context;
  pair ends(context.get_executor());
  ends.send("last words");
  ends.hang_up();
  std::string seen;
  std::error_code last;
  ends.socket->async_wait_read([&](std::error_code) {
    seen = read_now(*ends.socket, last);
    REQUIRE(!last);
    ends.socket->async_wait_read([&](std::error_code) { read_now(*ends.socket, last); });
  });
  context.run();
  CHECK(seen == "last words");
  CHECK(last == asio::error::eof);
}

TEMPLATE_TEST_CASE("an edge_socket that was full is told when there is room", "", asio::io_context,
                   wsproxy::edge_context) {
  TestType context;
  pair ends(context.get_executor());
  const std::string block(1 << 16, 'x');
  std::size_t sent = 0, received = 0;
  std::error_code ec;
  auto fill = [&] {
    for (;;) {
      const asio::const_buffer buffer(block.data(), block.size());
      const auto n = ends.socket->try_write({&buffer, 1}, ec);
      sent += n;
      if (n != block.size()) break;
    }
  };
  fill();
  bool told = false;
  ends.socket->async_wait_write([&](std::error_code error) { told = !error; });
  std::string into(1 << 20, '\0');
  asio::post(context, [&] {
    asio::post(context, [&] {  // events have been looked for in between
      CHECK(!told);
      while (received < sent) received += std::size_t(::recv(ends.peer, into.data(), into.size(), 0));
    });
  });
  context.run();
  CHECK(told);
}

TEMPLATE_TEST_CASE("cancel and close end the waits of an edge_socket, later and once", "", asio::io_context,
                   wsproxy::edge_context) {
  for (const bool closes : {false, true}) {
    TestType context;
    pair ends(context.get_executor());
    int calls = 0;
    std::error_code seen;
    ends.socket->async_wait_read([&](std::error_code ec) { ++calls, seen = ec; });
    if (closes) ends.socket->close();
    else ends.socket->cancel();
    CHECK(calls == 0);
    context.run();
    CHECK(calls == 1);
    CHECK(seen == asio::error::operation_aborted);
    CHECK(ends.socket->is_open() != closes);
  }
}

TEMPLATE_TEST_CASE("an edge_socket may be destroyed by its own handler, with other events pending", "",
                   asio::io_context, wsproxy::edge_context) {
  TestType context;
  pair first(context.get_executor()), second(context.get_executor());
  int calls = 0;
  auto destroy_both = [&](std::error_code) {
    ++calls;
    first.socket.reset();
    second.socket.reset();
  };
  first.socket->async_wait_read(destroy_both);
  second.socket->async_wait_read([&](std::error_code ec) {
    if (!ec) destroy_both(ec);
  });
  first.send("a");
  second.send("b");
  context.run();
  CHECK(calls == 1);
}

TEMPLATE_TEST_CASE("a number that is used again is another edge_socket, to the events of the first too", "",
                   asio::io_context, wsproxy::edge_context) {
  TestType context;
  pair first(context.get_executor());
  const int number = first.socket->native_handle();
  // A copy of the descriptor keeps the first one's connection, and what the kernel watches, alive.
  const int copy = ::dup(number);
  first.socket.reset();
  pair second(context.get_executor());
  REQUIRE(second.socket->native_handle() == number);
  int calls = 0;
  second.socket->async_wait_read([&](std::error_code ec) { calls += !ec; });
  first.send("x");
  asio::post(context, [&] {
    asio::post(context, [&] {
      CHECK(calls == 0);
      second.send("y");
    });
  });
  context.run();
  CHECK(calls == 1);
  ::close(copy);
}

TEMPLATE_TEST_CASE("a connection that comes back under its old number is an edge_socket again", "",
                   asio::io_context, wsproxy::edge_context) {
  TestType context;
  pair ends(context.get_executor());
  const int number = ends.socket->native_handle();
  const int copy = ::dup(number);
  ends.socket.reset();
  REQUIRE(::dup2(copy, number) == number);
  ::close(copy);
  ends.socket.emplace(context.get_executor(), number);
  bool told = false;
  ends.socket->async_wait_read([&](std::error_code ec) { told = !ec; });
  ends.send("x");
  context.run();
  CHECK(told);
}

TEST_CASE("an end reaches the peer in one call or in two, by who may have a copy of the descriptor") {
  asio::io_context context;
  pair ends(context.get_executor());
  const int ours = ends.socket->release();
  const int copy = ::fcntl(ours, F_DUPFD_CLOEXEC, 0);
  REQUIRE(::shutdown(ends.peer, SHUT_WR) == 0);
  const auto heard_of = [&] {
    std::error_code error;
    read_now(*ends.socket, error);
    CHECK(error == asio::error::eof);
    ends.socket->shutdown_send_and_close();
    CHECK_FALSE(ends.socket->is_open());
    char byte = 0;
    return ::recv(ends.peer, &byte, 1, MSG_DONTWAIT) == 0;
  };
  SECTION("a descriptor that was given") {
    REQUIRE_FALSE(ends.socket->assign(ours));
    CHECK(heard_of());
  }
  SECTION("one that was made here: a copy that cannot be shows that there was no shutdown()") {
    REQUIRE_FALSE(ends.socket->assign(wsproxy::detail::made_descriptor{ours, wsproxy::detail::forks()}));
    CHECK_FALSE(heard_of());
  }
  SECTION("one that was made before a fork") {
    REQUIRE_FALSE(ends.socket->assign(wsproxy::detail::made_descriptor{ours, wsproxy::detail::forks()}));
    test::child other([](test::peer&) {});
    CHECK(other.wait() == 0);
    CHECK(heard_of());
  }
  SECTION("one that was made after it") {
    const auto before = wsproxy::detail::forks();
    test::child other([](test::peer&) {});
    CHECK(other.wait() == 0);
    CHECK(wsproxy::detail::forks() == before + 1);
    REQUIRE_FALSE(ends.socket->assign(wsproxy::detail::made_descriptor{ours, wsproxy::detail::forks()}));
    CHECK_FALSE(heard_of());
  }
  SECTION("one of a process that cannot count") {
    REQUIRE_FALSE(ends.socket->assign(wsproxy::detail::made_descriptor{ours, 0}));
    CHECK(heard_of());
  }
  ::close(copy);
}

TEST_CASE("what is written last arrives with the FIN or before it") {
  asio::io_context context;
  asio::ip::tcp::acceptor door(context, {asio::ip::address_v4::loopback(), 0});
  const auto check = [&](auto finish) {
    asio::ip::tcp::socket peer(context);
    peer.connect(door.local_endpoint());
    finish(door.accept());
    std::string got;
    std::error_code error;
    asio::read(peer, asio::dynamic_buffer(got), error);
    CHECK(got == "the last of it");
    CHECK(error == asio::error::eof);
  };
  const std::array<asio::const_buffer, 2> bytes{asio::buffer("the last", 8), asio::buffer(" of it", 6)};
  std::error_code error;
  check([&](asio::ip::tcp::socket ours) {
    using traits = wsproxy::stream_traits<asio::ip::tcp::socket>;
    CHECK(traits::try_write_last(ours, bytes, error) == 14);
    traits::shutdown_send(ours, error);
  });
  check([&](asio::ip::tcp::socket ours) {
    edge_socket s(context.get_executor(), ours.release());
    CHECK(s.try_write_last(bytes, error) == 14);
    s.shutdown_send_and_close();
  });
}

TEST_CASE("what is written last arrives though the peer has sent what nobody reads") {
  asio::io_context context;
  asio::ip::tcp::acceptor door(context, {asio::ip::address_v4::loopback(), 0});
  asio::ip::tcp::socket peer(context);
  peer.connect(door.local_endpoint());
  edge_socket s(context.get_executor());
  const auto before = wsproxy::detail::forks();
  REQUIRE_FALSE(s.assign(wsproxy::detail::made_descriptor{door.accept().release(), before}));
  peer.send(asio::buffer("too late", 8));
  const auto bytes = asio::buffer("the last", 8);
  std::error_code error;
  CHECK(s.try_write_last({&bytes, 1}, error) == 8);
  s.shutdown_send_and_close();
  std::array<char, 8> got{};
  CHECK(asio::read(peer, asio::buffer(got), error) == 8);
}

TEMPLATE_TEST_CASE("a context that goes frees what waits, and an edge_socket outlives it", "",
                   asio::io_context, wsproxy::edge_context) {
  std::optional<TestType> context(std::in_place);
  pair ends(context->get_executor());
  auto held = std::make_shared<int>(1);
  ends.socket->async_wait_read([held](std::error_code) {});
  CHECK(held.use_count() == 2);
  context.reset();
  CHECK(held.use_count() == 1);
  CHECK(ends.socket->is_open());
}

TEMPLATE_TEST_CASE("what a handler throws leaves run(), also where its socket goes with it", "",
                   asio::io_context, wsproxy::edge_context) {
  TestType context;
  pair ends(context.get_executor()), other(context.get_executor());
  auto socket = std::make_shared<edge_socket>(std::move(*ends.socket));
  socket->async_wait_read([socket](std::error_code) { throw std::runtime_error("mine"); });
  socket.reset();
  bool told = false;
  other.socket->async_wait_read([&](std::error_code ec) { told = !ec; });
  ends.send("a");
  other.send("b");
  CHECK_THROWS_AS(context.run(), std::runtime_error);
  context.run();
  CHECK(told);
}

TEST_CASE("a descriptor that is none is refused, and the other sockets are still told") {
  wsproxy::edge_context context;
  pair ends(context.get_executor());
  bool told = false;
  ends.socket->async_wait_read([&](std::error_code ec) { told = !ec; });
  CHECK_THROWS_AS(edge_socket(context.get_executor(), -1), std::system_error);
  edge_socket closed(context.get_executor());
  CHECK(closed.assign(-1) == std::errc::bad_file_descriptor);
  CHECK_FALSE(closed.is_open());
  ends.send("a");
  context.run();
  CHECK(told);
}

TEST_CASE("a socket in a hurry is not told behind all that were first") {
  wsproxy::edge_context context;
  std::vector<std::unique_ptr<pair>> crowd;
  std::size_t told = 0, before = 0;
  const auto wait = [&](edge_socket& s, std::function<void()> then) {
    s.async_wait_read([&told, then = std::move(then)](std::error_code) {
      ++told;
      if (then) then();
    });
  };
  for (int i = 0; i != 600; ++i) {
    crowd.push_back(std::make_unique<pair>(context.get_executor()));
    wait(*crowd.back()->socket, {});
    crowd.back()->send("a");
  }
  pair urgent(context.get_executor());
  urgent.socket->hurry();
  wait(*urgent.socket, [&] { before = told; });
  urgent.send("a");
  context.run();
  CHECK(told == 601);
  CHECK(before <= 150);
}

TEST_CASE("sockets of a hundred strands are told, and the sets of those that are gone are closed") {
  asio::io_context context;
  const auto descriptors = [] {
    std::size_t count = 0;
    for (int i = 0; i != 4096; ++i) count += ::fcntl(i, F_GETFD) >= 0;
    return count;
  };
  std::size_t told = 0, before = 0;
  for (int round = 0; round != 2; ++round) {
    {
      std::vector<asio::any_io_executor> strands;
      std::vector<std::unique_ptr<pair>> all;
      for (int i = 0; i != 100; ++i) strands.push_back(asio::make_strand(context));
      for (int i = 0; i != 200; ++i) all.push_back(std::make_unique<pair>(strands[std::size_t(i % 100)]));
      for (auto& each : all) {
        each->socket->async_wait_read([&](std::error_code ec) { told += !ec; });
        each->send("a");
      }
      context.run();
      context.restart();
    }
    if (round == 0) before = descriptors();
  }
  CHECK(told == 400);
  CHECK(descriptors() == before);
}

// As io_context does itself in later versions of Asio.
TEST_CASE("a context may be shut down twice, with edge_sockets in handlers that are never called") {
  struct twice : asio::io_context {
    ~twice() { shutdown(); }
  };
  std::optional<twice> context(std::in_place);
  pair in_handler(context->get_executor()), outside(context->get_executor());
  asio::post(*context, [socket = std::move(*in_handler.socket)] {});
  in_handler.socket.reset();
  context.reset();
  CHECK(outside.socket->is_open());
}

TEMPLATE_TEST_CASE("on a strand, handlers of an edge_socket are posted to it", "", asio::io_context,
                   wsproxy::edge_context) {
  TestType context;
  auto strand = asio::make_strand(context);
  pair ends(strand);
  bool inside = false;
  ends.socket->async_wait_read([&](std::error_code) { inside = strand.running_in_this_thread(); });
  ends.send("x");
  context.run();
  CHECK(inside);
}

TEST_CASE(
    "edge_sockets of several strands do not meet, whatever the number of threads that run their context") {
  constexpr int sockets = 8, rounds = 1500;
  asio::io_context context;
  struct echo {
    explicit echo(asio::io_context& on) : strand(asio::make_strand(on)), ends(strand) {}
    void wait() {
      ends.socket->async_wait_read([this](std::error_code) {
        if (strand.running_in_this_thread()) on_readable();
      });
    }
    void on_readable() {
      std::error_code ec;
      const auto text = read_now(*ends.socket, ec);
      if (ec == asio::error::eof) return ends.socket.reset();
      const asio::const_buffer out(text.data(), text.size());
      if (!text.empty()) ends.socket->try_write(std::span(&out, 1), ec);
      wait();
    }
    asio::strand<asio::io_context::executor_type> strand;
    pair ends;
  };
  std::vector<std::unique_ptr<echo>> all;
  for (int i = 0; i != sockets; ++i) {
    all.push_back(std::make_unique<echo>(context));
    asio::post(all.back()->strand, [e = all.back().get()] { e->wait(); });
  }
  std::vector<std::thread> threads;
  for (int i = 0; i != 4; ++i) threads.emplace_back([&] { context.run(); });
  std::atomic<int> lost{0};
  for (const auto& each : all)
    threads.emplace_back([&] {
      for (int round = 0; round != rounds; ++round) {
        char back = 0;
        if (::send(each->ends.peer, "x", 1, 0) != 1 || ::recv(each->ends.peer, &back, 1, 0) != 1) ++lost;
      }
      each->ends.hang_up();
    });
  for (auto& each : threads) each.join();
  CHECK(lost == 0);
}

TEST_CASE("a handler that keeps its strand busy keeps no edge_socket of another strand waiting") {
  asio::io_context context;
  const auto first = asio::make_strand(context), second = asio::make_strand(context);
  pair busy(first), other(second);
  std::promise<void> entered, called;
  auto was_called = called.get_future();
  bool in_time = false;
  asio::post(first, [&] {
    busy.socket->async_wait_read([&](std::error_code) {
      entered.set_value();
      in_time = was_called.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
    });
    busy.send("x");
  });
  std::vector<std::thread> threads;
  for (int i = 0; i != 3; ++i) threads.emplace_back([&] { context.run(); });
  entered.get_future().wait();
  asio::post(second, [&] {
    other.socket->async_wait_read([&](std::error_code) { called.set_value(); });
    other.send("x");
  });
  for (auto& each : threads) each.join();
  CHECK(in_time);
}

TEMPLATE_TEST_CASE("an exception of a handler leaves run(), and the other sockets go on", "",
                   asio::io_context, wsproxy::edge_context) {
  TestType context;
  pair first(context.get_executor()), second(context.get_executor());
  bool told = false;
  first.socket->async_wait_read([](std::error_code) { throw std::runtime_error("host"); });
  second.socket->async_wait_read([&](std::error_code) { told = true; });
  first.send("a");
  second.send("b");
  CHECK_THROWS_AS(context.run(), std::runtime_error);
  context.restart();
  context.run();
  CHECK(told);
}

TEMPLATE_TEST_CASE("the edge dialer connects, is refused, and stops when it is told", "", asio::io_context,
                   wsproxy::edge_context) {
  TestType context;
  asio::ip::tcp::acceptor listener(context, {asio::ip::address_v4::loopback(), 0});
  const auto port = listener.local_endpoint().port();
  wsproxy::edge_dialer dial;
  std::optional<std::error_code> connected, refused, stopped;
  dial.async_dial({wsproxy::address::family::ip, "127.0.0.1", port}, context.get_executor(),
                  [&](std::error_code ec, edge_socket s) {
                    connected = ec;
                    CHECK(s.is_open());
                  });
  context.run();
  context.restart();
  listener.close();
  dial.async_dial({wsproxy::address::family::ip, "127.0.0.1", port}, context.get_executor(),
                  [&](std::error_code ec, edge_socket s) {
                    refused = ec;
                    CHECK(!s.is_open());
                  });
  context.run();
  context.restart();
  asio::cancellation_signal stop;
  dial.async_dial(
      {wsproxy::address::family::unix_socket, "/nonexistent/socket"}, context.get_executor(),
      asio::bind_cancellation_slot(stop.slot(), [&](std::error_code ec, edge_socket) { stopped = ec; }));
  stop.emit(asio::cancellation_type::terminal);
  context.run();
  CHECK(connected == std::error_code());
  CHECK(refused.value_or(std::error_code()) == std::errc::connection_refused);
  CHECK(stopped == asio::error::operation_aborted);
}
