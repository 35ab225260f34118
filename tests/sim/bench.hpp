// An operation in a world: started, watched, and looked over when it has ended.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <asio/cancellation_signal.hpp>

#include <wsproxy/proxy/exchange.hpp>
#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/proxy/read_head.hpp>
#include <wsproxy/proxy/session.hpp>
#include <wsproxy/proxy/tunnel.hpp>
#include <wsproxy/upstream/upstream.hpp>

#include "tests/support/allocator.hpp"

#include "actors.hpp"
#include "world.hpp"

namespace sim {

using test::allocations;
using test::counting_allocator;

/// What is seen of one operation from outside, and what it is called off with.
struct watch_base {
  explicit watch_base(world& in) : where(in) {}
  world& where;
  allocations memory{};
  asio::cancellation_signal stop{};
  std::optional<asio::any_io_executor> executor{};  ///< the handler's own
  int calls = 0;
  bool initiating = false;
  time_point at{};
  std::vector<std::string> faults{};                     ///< promises broken at the call
  std::shared_ptr<int> token = std::make_shared<int>();  ///< held by the handler
  bool handler_lives() const { return token.use_count() > 1; }
  bool ended() const { return calls != 0; }
};
template <class Result> struct watch : watch_base {
  using watch_base::watch_base;
  std::optional<Result> result{};
};

/// A completion handler that has everything a handler can have: it cannot be copied, and brings an executor,
/// an allocator and a cancellation slot.
template <class Result> class probe {
 public:
  using executor_type = asio::any_io_executor;
  using allocator_type = counting_allocator<std::byte>;
  using cancellation_slot_type = asio::cancellation_slot;

  explicit probe(watch<Result>& by) : watch_(&by), token_(by.token) {}
  probe(probe&&) noexcept = default;
  probe& operator=(probe&&) noexcept = default;

  executor_type get_executor() const noexcept {
    return watch_->executor ? *watch_->executor : watch_->where.executor();
  }
  allocator_type get_allocator() const noexcept { return allocator_type(watch_->memory); }
  cancellation_slot_type get_cancellation_slot() const noexcept { return watch_->stop.slot(); }

  void operator()(Result result) {
    auto& w = *watch_;
    ++w.calls;
    w.at = w.where.now();
    if (w.initiating) w.faults.push_back("called inside the initiating call");
    if (w.memory.live != 0) w.faults.push_back("called before its memory was freed");
    if (w.stop.slot().has_handler()) w.faults.push_back("called with its cancellation slot in use");
    if (w.executor && !w.where.other().get_executor().running_in_this_thread())
      w.faults.push_back("called on another executor than its own");
    w.result.emplace(std::move(result));
  }

 private:
  watch<Result>* watch_;
  std::shared_ptr<int> token_;
};

/// Which tier of streams each side has: three of the four combinations are compiled.
enum class tiers { readiness, async, async_downstream };

/// async_forward, and all around it.
struct bench {
  explicit bench(std::uint64_t seed = 1) : w(seed), end(w) {}
  ~bench();

  // To be set before start().
  world w;
  tiers streams = tiers::readiness;
  wsproxy::route how{};
  std::vector<wsproxy::backend_options> backends{{.name = "b1:1000"}};
  link_options client_link{};
  std::string request = websocket_request();  ///< a head, and what the host has read behind it
  bool watch_session = true;                  ///< with an on_established that keeps the handle
  std::function<void(wsproxy::session_handle)> on_established{};  ///< without watch_session
  bool on_other_executor = false;
  sabotage fault = sabotage::none;
  wsproxy::session_registry live{};

  // Afterwards.
  watch<wsproxy::forward_result> end;
  std::shared_ptr<peer> client;
  std::optional<wsproxy::upstream> group;  ///< of `backends`, unless the test has set one
  std::vector<wsproxy::session_handle> sessions;
  time_point begun{};
  bool down_closed = false;  ///< the host closed its stream
  bool tunnelled() const { return end.result && end.result->established != time_point{}; }

  listener& b1() { return w.at("b1:1000"); }
  listener& b2() { return w.at("b2:1000"); }
  peer& backend(std::size_t connection = 0, const char* at = "b1:1000") {
    return *w.at(at).accepted.at(connection);
  }
  const wsproxy::forward_result& result() const { return end.result.value(); }
  duration lasted() const { return std::chrono::duration_cast<duration>(end.at - begun); }

  void start();
  /// start(), and everything that follows from it.
  void run() {
    start();
    w.run();
  }
  /// What the host does when it has the result.
  void close_client();
  void destroy_context();
  /// Every promise that holds for any ended exchange; empty if all were kept.
  std::vector<std::string> faults();

 private:
  std::optional<stream> ready_;
  std::optional<completion_stream> async_;
};

/// The other operations with a probe, compiled once.
void read_head(stream&, std::string buffered, const wsproxy::read_head_options&,
               watch<wsproxy::read_head_result>&);
void read_head(completion_stream&, std::string buffered, const wsproxy::read_head_options&,
               watch<wsproxy::read_head_result>&);
void send(stream&, std::string bytes, const wsproxy::send_options&, watch<std::error_code>&);
void send(completion_stream&, std::string bytes, const wsproxy::send_options&, watch<std::error_code>&);
void handshake(const wsproxy::upstream&, wsproxy::exchange, watch<wsproxy::handshake_result<stream>>&);
void handshake(const wsproxy::upstream&, wsproxy::exchange,
               watch<wsproxy::handshake_result<completion_stream>>&);
void tunnel(stream&, wsproxy::switched<stream>, std::string early, watch<wsproxy::forward_result>&);
void tunnel(completion_stream&, wsproxy::switched<completion_stream>, std::string early,
            watch<wsproxy::forward_result>&);
void relay(stream&, std::string, stream, std::string, const wsproxy::tunnel_policy&,
           watch<wsproxy::forward_result>&);
void relay(completion_stream&, std::string, completion_stream, std::string, const wsproxy::tunnel_policy&,
           watch<wsproxy::forward_result>&);

/// A backend with every default.
wsproxy::backend_options at(std::string name);

}  // namespace sim
