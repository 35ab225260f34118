#include <wsproxy/proxy/session.hpp>

#include <utility>

#include <asio/post.hpp>

#include <wsproxy/proxy/detail/session_record.hpp>

namespace wsproxy {

namespace {
std::uint64_t next_id() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}
}  // namespace

namespace detail {

session_record::session_record(asio::any_io_executor executor, session_target& target, std::string from,
                               std::shared_ptr<const wsproxy::backend> to, time_point now)
    : id(next_id()),
      client(std::move(from)),
      backend(std::move(to)),
      established(now),
      last_heard(now.time_since_epoch().count()),
      executor_(std::move(executor)),
      target_(&target) {}

bool session_record::alive() const noexcept {
  const std::lock_guard lock(mutex_);
  return static_cast<bool>(executor_);
}

template <class Command> void session_record::post(Command command) {
  const std::lock_guard lock(mutex_);
  if (!executor_) return;
  asio::post(executor_, [self = shared_from_this(), command = std::move(command)] {
    if (self->target_ != nullptr) command(*self->target_);
  });
}

void session_record::post_drain(std::uint16_t code, std::string reason) {
  post([code, reason = std::move(reason)](session_target& tunnel) { tunnel.drain_session(code, reason); });
}

void session_record::post_abort() {
  post([](session_target& tunnel) { tunnel.abort_session(); });
}

void session_record::detach() noexcept {
  target_ = nullptr;
  asio::any_io_executor gone;
  const std::lock_guard lock(mutex_);
  gone = std::move(executor_);
  executor_ = {};
}

}  // namespace detail

bool session_handle::alive() const noexcept { return record_ && record_->alive(); }

std::uint64_t session_handle::id() const noexcept { return record_ ? record_->id : 0; }

std::string session_handle::client() const { return record_ ? record_->client : std::string(); }

std::shared_ptr<const wsproxy::backend> session_handle::backend() const {
  return record_ ? record_->backend : nullptr;
}

session_stats session_handle::stats() const {
  if (!record_) return {};
  return {.bytes_from_client = record_->bytes_from_client.load(std::memory_order_relaxed),
          .bytes_from_upstream = record_->bytes_from_upstream.load(std::memory_order_relaxed),
          .established = record_->established,
          .last_heard = time_point(time_point::duration(record_->last_heard.load(std::memory_order_relaxed)))};
}

void session_handle::drain(std::uint16_t code, std::string_view reason) const {
  if (record_) record_->post_drain(code, std::string(reason));
}

void session_handle::abort() const {
  if (record_) record_->post_abort();
}

}  // namespace wsproxy
