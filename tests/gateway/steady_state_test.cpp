// A message through an open tunnel allocates nothing.
#include <cstddef>
#include <cstdlib>
#include <future>
#include <new>
#include <thread>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <wsproxy/gateway/gateway.hpp>
#include <wsproxy/proxy/edge_context.hpp>

#include "tests/support/messages.hpp"
#include "tests/support/socket.hpp"

namespace {
thread_local std::size_t allocations = 0;
}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

/// A gateway on a thread of its own, whose allocations are counted.
template <class Context> class counted_gateway {
 public:
  explicit counted_gateway(const wsproxy::upstream& to, wsproxy::route how)
      : gateway_(context_.get_executor(),
                 [to, how = wsproxy::route::make(std::move(how))](const wsproxy::inbound&) {
                   return wsproxy::pass{.to = to, .how = how};
                 }) {
    const auto at = gateway_.listen("127.0.0.1:0");
    port = static_cast<std::uint16_t>(std::stoul(at.substr(at.rfind(':') + 1)));
    thread_ = std::thread([this] { context_.run(); });
  }
  ~counted_gateway() {
    gateway_.stop();
    thread_.join();
  }

  /// Up to now, on its thread.
  std::size_t count() {
    std::promise<std::size_t> found;
    auto future = found.get_future();
    asio::post(context_, [&found] { found.set_value(allocations); });
    return future.get();
  }

  std::uint16_t port = 0;

 private:
  Context context_{};
  wsproxy::gateway gateway_;
  std::thread thread_;
};

/// Through the tunnel and back, whole and in two pieces.
void exchange_messages(test::peer& client, test::peer& backend, int times) {
  const auto question = test::client_frame(1, "how are you?");
  const auto answer = test::server_frame(2, std::string(5000, 'x'));
  for (int i = 0; i != times; ++i) {
    client.send(question);
    CHECK(backend.read(question.size()) == question);
    client.send(question.substr(0, 1));
    client.await_delivery();
    client.send(question.substr(1));
    CHECK(backend.read(question.size()) == question);
    backend.send(answer);
    CHECK(client.read(answer.size()) == answer);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a message through an open tunnel allocates nothing", "", asio::io_context,
                   wsproxy::edge_context) {
  for (const auto mode : {wsproxy::frames::off, wsproxy::frames::observe, wsproxy::frames::enforce}) {
    test::listener listening;
    counted_gateway<TestType> gateway(wsproxy::upstream({{.name = listening.name()}}),
                                      {.tunnel = {.frames = mode}});
    const auto at_first = gateway.count();
    auto client = test::peer::connect(gateway.port);
    client.send(test::handshake());
    auto backend = listening.accept();
    test::read_head(backend);
    backend.send(test::switching());
    test::read_head(client);
    exchange_messages(client, backend, 5);
    const auto before = gateway.count();
    CHECK(before > at_first);  // a handshake may
    exchange_messages(client, backend, 200);
    CHECK(gateway.count() == before);
  }
}
