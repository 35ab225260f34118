#include <wsproxy/proxy/detail/operation.hpp>

#include <future>
#include <thread>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/read.hpp>
#include <asio/strand.hpp>
#include <asio/use_future.hpp>
#include <asio/write.hpp>
#include <catch2/catch_test_macros.hpp>

#include <wsproxy/proxy/read_head.hpp>
#include <wsproxy/proxy/tunnel.hpp>

using namespace std::chrono_literals;
using namespace wsproxy;

namespace {

using local_socket = asio::local::stream_protocol::socket;

// A context that two threads run, for sockets on strands.
class two_threads {
 public:
  two_threads() {
    for (auto& each : threads_) each = std::thread([this] { io_.run(); });
  }
  ~two_threads() {
    work_.reset();
    for (auto& each : threads_) each.join();
  }
  /// Ours, on a strand of its own, and the other end.
  std::pair<local_socket, local_socket> connect() {
    local_socket ours(asio::make_strand(io_)), theirs(other_);
    asio::local::connect_pair(ours, theirs);
    return {std::move(ours), std::move(theirs)};
  }
  asio::io_context& context() { return io_; }

 private:
  asio::io_context io_, other_;
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  std::thread threads_[2];
};

const std::string request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

}  // namespace

TEST_CASE("an operation may be begun on any thread") {
  two_threads threads;
  for (int i = 0; i != 200; ++i) {
    auto [ours, theirs] = threads.connect();
    auto head = async_read_head(ours, i % 2 == 0 ? request : std::string(), {}, asio::use_future);
    asio::write(theirs, asio::buffer(request));
    CHECK_FALSE(head.get().error);
    auto sent = async_send(ours, "answer", {.close = true}, asio::use_future);
    std::string answer(6, '\0');
    asio::read(theirs, asio::buffer(answer));
    theirs.close();
    CHECK_NOTHROW(sent.get());
    CHECK(answer == "answer");
  }
}

TEST_CASE("a timer may fire on another thread than the operation's, just as that ends") {
  two_threads threads;
  for (int i = 0; i != 200; ++i) {
    auto [ours, theirs] = threads.connect();
    auto head = async_read_head(ours, "GET", {.head = 1ms}, asio::use_future);
    if (i % 2 == 0) std::this_thread::sleep_for(1ms);  // then either may come first
    const bool comes = i % 4 != 3;
    if (comes) asio::write(theirs, asio::buffer(request.substr(3)));
    const auto result = head.get();
    if (result.error || !comes) CHECK(result.error == errc::client_head_timeout);
    else CHECK(result.head.target == "/");
  }
}

TEST_CASE("a relay may be begun on any thread, over the two sides of a strand") {
  two_threads threads;
  for (int i = 0; i != 50; ++i) {
    auto [first, client] = threads.connect();
    local_socket second(first.get_executor()), backend(client.get_executor());
    asio::local::connect_pair(second, backend);
    auto ended = async_relay(first, "early", std::move(second), {}, tunnel_policy{}, asio::use_future);
    asio::write(client, asio::buffer(request));
    client.shutdown(local_socket::shutdown_send);
    std::string got(5 + request.size(), '\0');
    asio::read(backend, asio::buffer(got));
    CHECK(got == "early" + request);
    backend.close();
    const auto result = ended.get();
    CHECK(result.cause == end_cause::closed);
    CHECK(result.from_client.bytes == got.size());
  }
}
