#include <wsproxy/proxy/session.hpp>

#include <algorithm>
#include <atomic>
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

session_record::session_record(asio::any_io_executor executor, session_target& target, session_identity who)
    : id(next_id()), about(std::move(who)), executor_(std::move(executor)), target_(&target) {}

std::shared_ptr<session_record> session_record::make(asio::any_io_executor executor, session_target& target,
                                                     session_identity who,
                                                     const std::optional<session_registry>& registry) {
  auto made = std::make_shared<session_record>(std::move(executor), target, std::move(who));
  if (registry) {
    registry->table_->enter(*made);
    made->table_ = registry->table_;
  }
  return made;
}

bool session_record::alive() const noexcept {
  const std::lock_guard lock(mutex_);
  return target_ != nullptr;
}

session_stats session_record::numbers() const noexcept {
  const std::lock_guard lock(mutex_);  // while it is held, the tunnel cannot go
  return target_ != nullptr ? target_->numbers() : session_stats{};
}

template <class Command> void session_record::post(Command command) {
  const std::lock_guard lock(mutex_);
  if (target_ == nullptr) return;
  asio::post(executor_, [self = shared_from_this(), command = std::move(command)] {
    if (self->target_ != nullptr) command(*self->target_);
  });
}

void session_record::post_drain(drain_order order) {
  order.latest = std::min(order.latest, longest_time);
  order.deadline = std::min(order.deadline, longest_time);
  post([order = std::move(order)](session_target& tunnel) { tunnel.drain_session(order); });
}

void session_record::post_close(std::uint16_t code, std::string reason) {
  post([code, reason = std::move(reason)](session_target& tunnel) { tunnel.close_session(code, reason); });
}

void session_record::post_abort() {
  post([](session_target& tunnel) { tunnel.abort_session(); });
}

bool session_record::count_in(const std::shared_ptr<drain_count>& count) {
  const std::lock_guard lock(mutex_);
  if (target_ == nullptr) return false;
  counts_.push_back(count);
  return true;
}

asio::any_io_executor session_record::leave(std::vector<std::shared_ptr<drain_count>>& counts) noexcept {
  if (const auto table = std::exchange(table_, nullptr)) table->leave(*this);
  const std::lock_guard lock(mutex_);
  target_ = nullptr;
  counts.swap(counts_);
  return std::exchange(executor_, asio::any_io_executor());
}

void session_record::detach(bool drained) {
  std::vector<std::shared_ptr<drain_count>> counts;
  const auto executor = leave(counts);
  for (const auto& each : counts)
    if (auto done = each->ended(drained)) asio::post(executor, std::move(done));
}

void session_record::abandon() noexcept {
  std::vector<std::shared_ptr<drain_count>> counts;
  leave(counts);
  for (const auto& each : counts) each->ended(false);
}

}  // namespace detail

bool session_handle::alive() const noexcept { return record_ && record_->alive(); }

std::uint64_t session_handle::id() const noexcept { return record_ ? record_->id : 0; }

std::string session_handle::client() const { return record_ ? record_->about.client : std::string(); }

time_point session_handle::established() const noexcept {
  return record_ ? record_->about.established : time_point();
}

std::shared_ptr<const wsproxy::backend> session_handle::backend() const {
  return record_ ? record_->about.backend : nullptr;
}

std::shared_ptr<const wsproxy::route> session_handle::route() const {
  return record_ ? record_->about.route : nullptr;
}

session_stats session_handle::stats() const { return record_ ? record_->numbers() : session_stats{}; }

void session_handle::drain(const drain_options& how) const {
  if (record_) record_->post_drain({duration::zero(), how.spread, how.deadline, how.code, how.reason});
}

void session_handle::close(std::uint16_t code, std::string_view reason) const {
  if (record_) record_->post_close(code, std::string(reason));
}

void session_handle::abort() const {
  if (record_) record_->post_abort();
}

}  // namespace wsproxy
