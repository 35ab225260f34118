// What a session_handle, its tunnel and its registry share. The handle's side may be on any thread; the
// tunnel's side is on the session's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <asio/any_io_executor.hpp>

#include <wsproxy/export.hpp>
#include <wsproxy/proxy/session.hpp>
#include <wsproxy/proxy/session_registry.hpp>

namespace wsproxy::detail {

/// When one session's turn in a drain comes: not before and not after, from now.
struct drain_order {
  duration earliest{};
  duration latest{};
  duration deadline{};  ///< zero: none
  std::uint16_t code = 1001;
  std::string reason{};
};

/// The tunnel, as a handle may command it. Called on the session's executor, but for numbers().
class session_target {
 public:
  virtual void drain_session(const drain_order&) = 0;
  virtual void close_session(std::uint16_t code, std::string_view reason) = 0;
  virtual void abort_session() = 0;
  /// From any thread.
  virtual session_stats numbers() const noexcept = 0;

 protected:
  ~session_target() = default;
};

/// Counts the sessions of one drain down.
class drain_count {
 public:
  drain_count(std::size_t matched, std::function<void()> done) : done_(std::move(done)) {
    progress_.matched = matched;
  }
  drain_progress progress() const noexcept {
    const std::lock_guard lock(mutex_);
    return progress_;
  }
  /// One has ended; what is to be called if it was the last.
  std::function<void()> ended(bool drained) noexcept {
    const std::lock_guard lock(mutex_);
    ++(drained ? progress_.drained : progress_.ended);
    return progress_.left() == 0 ? std::move(done_) : nullptr;
  }

 private:
  mutable std::mutex mutex_;
  drain_progress progress_;
  std::function<void()> done_;
};

/// What a session is known by.
struct session_identity {
  std::string client;
  std::shared_ptr<const wsproxy::backend> backend;
  std::shared_ptr<const wsproxy::route> route;
  time_point established;
};

class WSPROXY_EXPORT session_record : public std::enable_shared_from_this<session_record> {
 public:
  session_record(asio::any_io_executor executor, session_target& target, session_identity);

  /// A record of a tunnel that begins; with a registry it enters that.
  static std::shared_ptr<session_record> make(asio::any_io_executor executor, session_target& target,
                                              session_identity,
                                              const std::optional<session_registry>& registry);

  const std::uint64_t id;
  const session_identity about;

  bool alive() const noexcept;
  session_stats numbers() const noexcept;
  void post_drain(drain_order);
  void post_close(std::uint16_t code, std::string reason);
  void post_abort();
  /// The end of this session counts there. False if it has ended.
  bool count_in(const std::shared_ptr<drain_count>&);

  /// The tunnel has ended, by a drain or not: from now on nothing reaches it. On the session's executor.
  void detach(bool drained);
  /// The tunnel is being destroyed before its end, with its context.
  void abandon() noexcept;

 private:
  friend class session_table;
  template <class Command> void post(Command command);
  asio::any_io_executor leave(std::vector<std::shared_ptr<drain_count>>& counts) noexcept;

  std::shared_ptr<session_table> table_;
  session_record* next_ = nullptr;  // in its bucket of the table
  mutable std::mutex mutex_;
  asio::any_io_executor executor_;  // emptied at the end: nobody posts to a context that may be gone
  session_target* target_;          // changed with the lock held, on the session's executor
  std::vector<std::shared_ptr<drain_count>> counts_;
};

/// The sessions of a registry by id: a hash table whose nodes are the records.
class WSPROXY_EXPORT session_table {
 public:
  std::size_t count() const noexcept;
  std::shared_ptr<session_record> find(std::uint64_t id) const;
  std::vector<std::shared_ptr<session_record>> all() const;  ///< by id
  void enter(session_record&);
  void leave(session_record&) noexcept;

 private:
  std::size_t place(std::uint64_t id) const noexcept { return id & (buckets_.size() - 1); }
  void grow();
  mutable std::mutex mutex_;
  std::vector<session_record*> buckets_ = std::vector<session_record*>(16);  // a power of two
  std::size_t count_ = 0;
};

}  // namespace wsproxy::detail
