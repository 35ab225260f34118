#include <wsproxy/proxy/session_registry.hpp>

#include <algorithm>
#include <utility>

#include <wsproxy/proxy/detail/session_record.hpp>

namespace wsproxy {

namespace detail {

std::size_t session_table::count() const noexcept {
  const std::lock_guard lock(mutex_);
  return count_;
}

std::shared_ptr<session_record> session_table::find(std::uint64_t id) const {
  const std::lock_guard lock(mutex_);
  for (auto* each = buckets_[place(id)]; each != nullptr; each = each->next_)
    if (each->id == id) return each->shared_from_this();
  return nullptr;
}

std::vector<std::shared_ptr<session_record>> session_table::all() const {
  std::vector<std::shared_ptr<session_record>> found;
  {
    const std::lock_guard lock(mutex_);
    found.reserve(count_);
    for (auto* first : buckets_)
      for (auto* each = first; each != nullptr; each = each->next_) found.push_back(each->shared_from_this());
  }
  std::ranges::sort(found, {}, [](const auto& each) { return each->id; });
  return found;
}

void session_table::enter(session_record& which) {
  const std::lock_guard lock(mutex_);
  if (count_ == buckets_.size()) grow();
  which.next_ = std::exchange(buckets_[place(which.id)], &which);
  ++count_;
}

// A record that is in the table is owned by its tunnel, which takes it out before it lets go.
void session_table::leave(session_record& which) noexcept {
  const std::lock_guard lock(mutex_);
  auto** at = &buckets_[place(which.id)];
  while (*at != nullptr && *at != &which) at = &(*at)->next_;
  if (*at == nullptr) return;
  *at = std::exchange(which.next_, nullptr);
  --count_;
}

void session_table::grow() {
  const auto old = std::exchange(buckets_, std::vector<session_record*>(buckets_.size() * 2));
  for (auto* first : old)
    while (first != nullptr) {
      auto* const each = std::exchange(first, first->next_);
      each->next_ = std::exchange(buckets_[place(each->id)], each);
    }
}

}  // namespace detail

drain_progress drain_watch::progress() const noexcept {
  return count_ ? count_->progress() : drain_progress{};
}

session_registry::session_registry() : table_(std::make_shared<detail::session_table>()) {}

std::size_t session_registry::count() const noexcept { return table_->count(); }

session_handle session_registry::find(std::uint64_t id) const { return session_handle(table_->find(id)); }

std::vector<session_handle> session_registry::sessions() const {
  std::vector<session_handle> found;
  for (auto& each : table_->all()) found.emplace_back(std::move(each));
  return found;
}

drain_watch session_registry::drain_if(const predicate& which, const drain_options& how,
                                       std::function<void()> done) const {
  auto chosen = sessions();
  std::erase_if(chosen, [&](const session_handle& each) { return !which(each); });
  const auto spread = std::min(how.spread, longest_time);
  const auto count = std::make_shared<detail::drain_count>(chosen.size(), done);
  if (chosen.empty() && done) done();
  // The i-th of n has the i-th part of the spread for its Close.
  const auto parts = static_cast<duration::rep>(chosen.size());
  for (duration::rep i = 0; i != parts; ++i) {
    auto& record = *chosen[static_cast<std::size_t>(i)].record_;
    if (record.count_in(count))
      record.post_drain({spread * i / parts, spread * (i + 1) / parts, how.deadline, how.code, how.reason});
    else if (auto last = count->ended(false)) last();
  }
  return drain_watch(count);
}

drain_watch session_registry::drain(const drain_options& how, std::function<void()> done) const {
  return drain_if([](const session_handle&) { return true; }, how, std::move(done));
}

std::size_t session_registry::close_if(const predicate& which, std::uint16_t code,
                                       std::string_view reason) const {
  std::size_t closed = 0;
  for_each([&](const session_handle& each) {
    if (!which(each)) return;
    each.close(code, reason);
    ++closed;
  });
  return closed;
}

}  // namespace wsproxy
