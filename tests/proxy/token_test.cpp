#include <wsproxy/wsproxy.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <exception>
#include <future>
#include <memory>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

#include <asio.hpp>
#include <asio/experimental/parallel_group.hpp>
#include <asio/experimental/use_coro.hpp>
#if ASIO_VERSION >= 102500
#include <asio/experimental/promise.hpp>
#include <asio/experimental/use_promise.hpp>
#else
#include <asio/experimental/append.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/deferred.hpp>
#include <asio/experimental/prepend.hpp>
#endif

#include <wsproxy/proxy/edge_socket.hpp>

#include "tests/support/allocator.hpp"
#include "tests/support/messages.hpp"

// Every kind of completion token with every operation. (What the operations do is tested elsewhere.)

using namespace test;
using asio::ip::tcp;
using wsproxy::errc;

namespace {

#if ASIO_VERSION >= 102500
namespace tokens = asio;
#else
namespace tokens = asio::experimental;  // where these were before
#endif

/// Whether an operation ends by itself, soon, or is left waiting.
enum class course { prompt, stuck };

/// A context, a backend, and two connections whose far ends the test has.
class bench {
 public:
  explicit bench(course how)
      : to({{.name = how == course::prompt ? refusing_address() : silent.name()}}), how_(how) {}

  /// Until nothing is left to do.
  void run() {
    io.restart();
    io.run_for(patience);
    CHECK(io.stopped());
  }
  /// Until nothing is left to do at once.
  void poll() {
    io.restart();
    io.poll();
  }
  static std::error_code cancelled() { return errc::cancelled; }
  bool prompt() const { return how_ == course::prompt; }
  wsproxy::address address() const { return to.backends().front()->address(); }
  wsproxy::exchange what() const {
    wsproxy::head_parser parser(wsproxy::head_parser::kind::request);
    if (!parser.feed(handshake()).done) throw std::logic_error("no whole head");
    return {.head = parser.take_request()};
  }
  tcp::socket connect(std::optional<peer>& other_end) {
    listener at;
    other_end = peer::connect(at.port());
    return {io, tcp::v4(), ::accept4(at.descriptor(), nullptr, nullptr, SOCK_CLOEXEC)};
  }

  asio::io_context io{1};
  listener silent;
  wsproxy::upstream to;
  std::optional<peer> far, other_far;
  tcp::socket near = connect(far), other = connect(other_far);

 private:
  course how_;
};

// What an operation completed with; where a token throws the error, or adds a number, with less or more.
template <class First, class... Rest> std::error_code error_of(const First& first, const Rest&... rest) {
  if constexpr (std::is_same_v<First, std::error_code>) return first;
  else if constexpr (std::is_same_v<First, int>) return error_of(rest...);
  else if constexpr (requires { first.error; }) return first.error;
  else if constexpr (requires { first.result.error; }) return first.result.error;
  else if constexpr (requires { first.is_open(); })
    return first.is_open() ? std::error_code() : std::error_code(asio::error::not_connected);
  else return std::apply([](const auto&... each) { return error_of(each...); }, first);
}

// ---- The operations: how to begin each, and with which error it ends by itself

struct reads_head : bench {
  using bench::bench;
  using signature = void(wsproxy::read_head_result);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_read_head(near, prompt() ? get() : "", {}, std::forward<Token>(token));
  }
  static std::error_code ending() { return {}; }
};
struct sends : bench {
  using bench::bench;
  using signature = void(std::error_code);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_send(near, "answer", {.close = !prompt()}, std::forward<Token>(token));
  }
  static std::error_code ending() { return {}; }
};
struct exchanges : bench {
  using bench::bench;
  static std::error_code ending() { return errc::connect_failed; }
};
struct forwards : exchanges {
  using exchanges::exchanges;
  using signature = void(wsproxy::forward_result);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_forward(near, to, what(), std::forward<Token>(token));
  }
};
struct forwards_given : exchanges {
  using exchanges::exchanges;
  using signature = void(wsproxy::forward_result);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_forward(std::move(near), to, what(), std::forward<Token>(token));
  }
};
struct forwards_dialing : exchanges {
  using exchanges::exchanges;
  using signature = void(wsproxy::forward_result);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_forward(near, to, what(), wsproxy::edge_dialer{}, std::forward<Token>(token));
  }
};
struct shakes : exchanges {
  using exchanges::exchanges;
  using signature = void(wsproxy::handshake_result<>);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_handshake(io.get_executor(), to, what(), std::forward<Token>(token));
  }
};
struct shakes_dialing : exchanges {
  using exchanges::exchanges;
  using signature = void(wsproxy::handshake_result<wsproxy::edge_socket>);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_handshake(io.get_executor(), to, what(), wsproxy::edge_dialer{},
                                    std::forward<Token>(token));
  }
};
struct probes : exchanges {
  using exchanges::exchanges;
  using signature = void(wsproxy::probe_result);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_probe(io.get_executor(), address(), {}, std::forward<Token>(token));
  }
};
struct probes_dialing : exchanges {
  using exchanges::exchanges;
  using signature = void(wsproxy::probe_result);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_probe(io.get_executor(), address(), {}, wsproxy::edge_dialer{}, nullptr,
                                std::forward<Token>(token));
  }
};
struct relays : bench {
  explicit relays(course how) : bench(how) {
    if (!prompt()) return;
    far.reset();
    other_far.reset();
  }
  using signature = void(wsproxy::forward_result);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_relay(near, {}, std::move(other), {}, {}, std::forward<Token>(token));
  }
  static std::error_code ending() { return {}; }
};
struct relays_in_world : relays {
  using relays::relays;
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_relay(near, {}, std::move(other), {}, {},
                                &wsproxy::environment_of(io.get_executor()), std::forward<Token>(token));
  }
};
struct tunnels : bench {
  explicit tunnels(course how) : bench(course::stuck) {
    wsproxy::async_handshake(io.get_executor(), to, what(), [&](wsproxy::handshake_result<> result) {
      accepted = std::move(result.accepted);
    });
    while (!(other_far = silent.accept_within(0ms))) io.poll();
    other_far->send(switching());
    run();
    if (how == course::stuck) return;
    far.reset();
    other_far.reset();
  }
  using signature = void(wsproxy::forward_result);
  template <class Token> auto begin(Token&& token) {
    return wsproxy::async_tunnel(near, std::move(accepted.value()), {}, std::forward<Token>(token));
  }
  static std::error_code ending() { return {}; }
  std::optional<wsproxy::switched<>> accepted;
};
template <class Dialer> struct dials : bench {
  explicit dials(course how) : bench(how) {}
  using signature = void(std::error_code, typename Dialer::stream_type);
  template <class Token> auto begin(Token&& token) {
    const wsproxy::upstream at({{.name = prompt() ? silent.name() : stalling.name()}});
    return dial.async_dial(at.backends().front()->address(), io.get_executor(), std::forward<Token>(token));
  }
  static std::error_code ending() { return {}; }
  static std::error_code cancelled() { return asio::error::operation_aborted; }
  stalling_listener stalling;
  Dialer dial;
};

using operations = std::tuple<reads_head, sends, forwards, shakes, probes, relays, tunnels,
                              dials<wsproxy::socket_dialer>, dials<wsproxy::edge_dialer>>;
using overloads =
    std::tuple<forwards_given, forwards_dialing, shakes_dialing, probes_dialing, relays_in_world>;

// ---- The tokens

/// What a handler is told, and how often.
struct told {
  int calls = 0;
  std::error_code error = std::make_error_code(std::errc::state_not_recoverable);
  auto handler() {
    return [this, cannot_be_copied = std::make_unique<int>()](const auto&... values) -> void {
      ++calls;
      error = error_of(values...);
    };
  }
};

/// An operation that ends by itself, with the token that `make` makes of a handler.
template <class Operation, class Make> void check_handler(Make make) {
  Operation op(course::prompt);
  told end;
  op.begin(make(end.handler()));
  CHECK(end.calls == 0);
  op.run();
  CHECK(end.calls == 1);
  CHECK(end.error == op.ending());
}

/// An operation that is called off by a token of its own accord.
template <class Operation, class Make> void check_called_off(Make make) {
  Operation op(course::stuck);
  told end;
  op.begin(make(end.handler()));
  op.run();
  CHECK(end.calls == 1);
  CHECK(end.error == op.cancelled());
}

template <class Operation> void check_executor() {
  Operation op(course::prompt);
  asio::io_context other;
  told end;
  op.begin(asio::bind_executor(other, end.handler()));
  op.run();
  CHECK(end.calls == 0);
  other.run();
  CHECK(end.error == op.ending());
}

template <class Operation> void check_slot() {
  Operation op(course::stuck);
  asio::cancellation_signal stop;
  told end;
  op.begin(asio::bind_cancellation_slot(stop.slot(), end.handler()));
  op.poll();
  CHECK(end.calls == 0);
  stop.emit(asio::cancellation_type::terminal);
  op.run();
  CHECK(end.calls == 1);
  CHECK(end.error == op.cancelled());
}

template <class Operation> void check_allocator() {
  allocations used;
  check_handler<Operation>([&](auto handler) {
    return asio::bind_allocator(counting_allocator<std::byte>(used), std::move(handler));
  });
  CHECK(used.made > 0);
  CHECK(used.live == 0);
}

template <class Operation> void check_detached() {
  Operation op(course::prompt);
  op.begin(asio::detached);
  op.run();
}

template <class Operation> void check_future() {
  Operation op(course::prompt);
  auto future = op.begin(asio::use_future);
  op.run();
  REQUIRE(future.wait_for(patience) == std::future_status::ready);
  if constexpr (std::is_void_v<decltype(future.get())>) CHECK_NOTHROW(future.get());
  else CHECK(error_of(future.get()) == op.ending());
}

// Coroutines: what is awaited gives a value, or throws an error that is the first of several.
template <class Operation, class Token> asio::awaitable<void> await(Operation& op, Token token, told& end) {
  try {
    if constexpr (std::is_same_v<typename Operation::signature, void(std::error_code)> &&
                  std::is_same_v<Token, asio::use_awaitable_t<>>) {
      co_await op.begin(token);
      end.error = {};
    } else {
      end.error = error_of(co_await op.begin(token));
    }
  } catch (const std::system_error& error) {
    end.error = error.code();
  }
  ++end.calls;
}

template <class Operation, class Token> void check_awaitable(Token token) {
  for (const auto how : {course::prompt, course::stuck}) {
    Operation op(how);
    asio::cancellation_signal stop;
    told end;
    asio::co_spawn(op.io, await(op, token, end), asio::bind_cancellation_slot(stop.slot(), asio::detached));
    if (how == course::stuck) {
      op.poll();
      CHECK(end.calls == 0);
      stop.emit(asio::cancellation_type::terminal);
    }
    op.run();
    CHECK(end.calls == 1);
    CHECK(end.error == (how == course::stuck ? op.cancelled() : op.ending()));
  }
}

template <class Operation>
asio::experimental::coro<void> resume(asio::any_io_executor, Operation& op, told& end) {
  try {
    if constexpr (std::is_same_v<typename Operation::signature, void(std::error_code)>) {
      co_await op.begin(asio::experimental::use_coro);
      end.error = {};
    } else {
      end.error = error_of(co_await op.begin(asio::experimental::use_coro));
    }
  } catch (const std::system_error& error) {
    end.error = error.code();
  }
  ++end.calls;
}

template <class Operation> void check_coro() {
  Operation op(course::prompt);
  told end;
  auto coroutine = resume(op.io.get_executor(), op, end);
  coroutine.async_resume(asio::detached);
  op.run();
  CHECK(end.calls == 1);
  CHECK(end.error == op.ending());
}

template <class Operation> void check_deferred() {
  Operation op(course::prompt);
  told end;
  auto later = op.begin(tokens::deferred);
  op.run();
  CHECK(end.calls == 0);
  std::move(later)(end.handler());
  op.run();
  CHECK(end.calls == 1);
  CHECK(end.error == op.ending());
}

template <class Operation> void check_group() {
  Operation op(course::stuck);
  asio::steady_timer now(op.io, asio::steady_timer::time_point::min());
  std::error_code error;
  asio::experimental::make_parallel_group([&](auto token) { return op.begin(std::move(token)); },
                                          [&](auto token) { return now.async_wait(std::move(token)); })
      .async_wait(asio::experimental::wait_for_one(), [&](const auto& order, const auto&... values) {
        CHECK(order[0] == 1);
        error = error_of(values...);
      });
  op.run();
  CHECK(error == op.cancelled());
}

#if ASIO_VERSION >= 102500
template <class Operation> void check_promise() {
  Operation op(course::prompt);
  auto promise = op.begin(asio::experimental::use_promise);
  op.run();
  CHECK(promise.completed());
  told end;
  promise(end.handler());
  op.run();
  CHECK(end.error == op.ending());
}

template <class Operation> void check_any_handler() {
  check_handler<Operation>([](auto handler) {
    return asio::any_completion_handler<typename Operation::signature>(std::move(handler));
  });
}
#endif

/// Serves one request, all on the token of the socket's executor.
using default_socket = asio::use_awaitable_t<>::as_default_on_t<tcp::socket>;
static_assert(wsproxy::readiness_stream<default_socket>);
asio::awaitable<wsproxy::forward_result> serve(default_socket socket, wsproxy::upstream to) {
  // g++ 12 destroys braced temporaries of a co_await twice: they are variables here.
  std::string none, answer;
  auto read = co_await wsproxy::async_read_head(socket, none, wsproxy::read_head_options());
  wsproxy::exchange what{.head = std::move(read.head), .early = std::move(read.early)};
  auto result = co_await wsproxy::async_forward(socket, to, std::move(what));
  answer = wsproxy::make_response(result.status, "", wsproxy::fields(), true);
  co_await wsproxy::async_send(socket, std::move(answer), wsproxy::send_options());
  wsproxy::exchange again, last;
  co_await wsproxy::async_forward(socket, to, std::move(again), wsproxy::edge_dialer());
  co_await wsproxy::async_forward(std::move(socket), to, std::move(last));
  co_return result;
}

}  // namespace

TEST_CASE("where no completion token is given, the stream's own is taken") {
  bench both(course::prompt);
  auto served =
      asio::co_spawn(both.io, serve(default_socket(std::move(both.near)), both.to), asio::use_future);
  both.far->send(handshake());
  both.run();
  CHECK(both.far->read_until("\r\n") == "HTTP/1.1 502 Bad Gateway\r\n");
  CHECK(served.get().error == errc::connect_failed);
}

#if ASIO_VERSION >= 103100
TEST_CASE("where nobody knows of a completion token, it is asio::deferred") {
  bench both(course::prompt);
  std::error_code error;
  auto probe = wsproxy::async_probe(both.io.get_executor(), both.address(), {});
  std::move(probe)([&](const wsproxy::probe_result& result) { error = result.error; });
  both.run();
  CHECK(error == errc::connect_failed);
}
#endif

TEMPLATE_LIST_TEST_CASE("an operation takes every completion token", "", operations) {
  SECTION("a callback") {
    check_handler<TestType>([](auto handler) { return handler; });
  }
  SECTION("bind_executor") { check_executor<TestType>(); }
  SECTION("bind_cancellation_slot") { check_slot<TestType>(); }
  SECTION("bind_allocator") { check_allocator<TestType>(); }
  SECTION("detached") { check_detached<TestType>(); }
  SECTION("use_future") { check_future<TestType>(); }
  SECTION("use_awaitable") { check_awaitable<TestType>(asio::use_awaitable); }
  SECTION("as_tuple") { check_awaitable<TestType>(tokens::as_tuple(asio::use_awaitable)); }
  SECTION("deferred") { check_deferred<TestType>(); }
  SECTION("append") {
    check_handler<TestType>([](auto handler) { return tokens::append(std::move(handler), 7); });
  }
  SECTION("prepend") {
    check_handler<TestType>([](auto handler) { return tokens::prepend(std::move(handler), 7); });
  }
  // This and use_promise are for results that can be made from nothing, as connected streams cannot.
  if constexpr (!requires(TestType op) { op.dial; }) {
    SECTION("experimental::use_coro") { check_coro<TestType>(); }
  }
  SECTION("experimental::make_parallel_group") { check_group<TestType>(); }
#if ASIO_VERSION >= 102500
  SECTION("consign") {
    check_handler<TestType>(
        [](auto handler) { return asio::consign(std::move(handler), std::string("kept")); });
  }
  if constexpr (!requires(TestType op) { op.dial; }) {
    SECTION("experimental::use_promise") { check_promise<TestType>(); }
  }
  SECTION("any_completion_handler") { check_any_handler<TestType>(); }
#endif
#if ASIO_VERSION >= 103100
  SECTION("cancel_after") {
    check_called_off<TestType>([](auto handler) { return asio::cancel_after(1ms, std::move(handler)); });
  }
  SECTION("cancel_at") {
    check_called_off<TestType>(
        [](auto handler) { return asio::cancel_at(clock::now(), std::move(handler)); });
  }
#endif
}

TEMPLATE_LIST_TEST_CASE("an operation's overloads take completion tokens as it does", "", overloads) {
  SECTION("a callback") {
    check_handler<TestType>([](auto handler) { return handler; });
  }
  SECTION("bind_cancellation_slot") { check_slot<TestType>(); }
  SECTION("use_future") { check_future<TestType>(); }
#if ASIO_VERSION >= 103100
  SECTION("cancel_after") {
    check_called_off<TestType>([](auto handler) { return asio::cancel_after(1ms, std::move(handler)); });
  }
#endif
}
