// What a session_handle and its tunnel share. The handle's side may be on any thread; the tunnel's side is
// on the session's executor.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include <asio/any_io_executor.hpp>

#include <wsproxy/proxy/session.hpp>

namespace wsproxy::detail {

/// The tunnel, as a handle may command it. Called on the session's executor.
class session_target {
 public:
  virtual void drain_session(std::uint16_t code, std::string_view reason) = 0;
  virtual void abort_session() = 0;

 protected:
  ~session_target() = default;
};

class session_record : public std::enable_shared_from_this<session_record> {
 public:
  session_record(asio::any_io_executor executor, session_target& target, std::string client,
                 std::shared_ptr<const wsproxy::backend> backend, time_point established);

  const std::uint64_t id;
  const std::string client;
  const std::shared_ptr<const wsproxy::backend> backend;
  const time_point established;
  std::atomic<std::uint64_t> bytes_from_client{0};
  std::atomic<std::uint64_t> bytes_from_upstream{0};
  std::atomic<time_point::rep> last_heard;

  bool alive() const noexcept;
  void post_drain(std::uint16_t code, std::string reason);
  void post_abort();
  /// The tunnel is ending: from now on nothing reaches it. On the session's executor.
  void detach() noexcept;

 private:
  template <class Command> void post(Command command);
  mutable std::mutex mutex_;
  asio::any_io_executor executor_;  // emptied by detach: nobody posts to a context that may be gone
  session_target* target_;          // read and cleared on the session's executor only
};

}  // namespace wsproxy::detail
