#include <wsproxy/proxy/edge_context.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <mutex>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

#include "edge_environment.hpp"
#include "edge_loop.hpp"

namespace wsproxy {

namespace detail {

/// Tasks in their order.
class task_list {
 public:
  task_list() = default;
  task_list(task_list&& from) noexcept
      : first_(std::exchange(from.first_, nullptr)), last_(std::exchange(from.last_, nullptr)) {}
  task_list& operator=(task_list&&) = delete;

  bool empty() const noexcept { return first_ == nullptr; }
  const edge_task* last() const noexcept { return last_; }
  void push(edge_task* task) noexcept {
    (first_ != nullptr ? last_->next : first_) = task;
    last_ = task;
  }
  edge_task* pop() noexcept {
    edge_task* const task = first_;
    first_ = task->next;
    task->next = nullptr;
    return task;
  }
  void append(task_list from) noexcept {
    if (from.empty()) return;
    (first_ != nullptr ? last_->next : first_) = from.first_;
    last_ = from.last_;
  }
  void drop() noexcept {
    while (!empty()) {
      edge_task* const task = pop();
      task->finish(task, false);
    }
  }

 private:
  edge_task* first_ = nullptr;
  edge_task* last_ = nullptr;  // if there is a first
};

struct edge_queue {
  edge_queue() : bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (bell < 0) throw std::system_error(errno, std::system_category(), "eventfd");
  }
  ~edge_queue() { ::close(bell); }
  edge_queue(const edge_queue&) = delete;
  edge_queue& operator=(const edge_queue&) = delete;

  /// Ends the present or the next wait. From any thread.
  void ring() noexcept {
    if (rung.exchange(true)) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(bell, &one, sizeof one);
  }
  void push_from_elsewhere(edge_task* task) noexcept {
    {
      const std::lock_guard lock(mutex);
      elsewhere.push(task);
    }
    ring();
  }
  /// What other threads have brought joins the rest.
  void gather() noexcept {
    if (!rung.exchange(false)) return;
    const std::lock_guard lock(mutex);
    here.append(std::move(elsewhere));
  }
  void call_all() {
    const edge_task* const last = here.empty() ? nullptr : here.last();
    while (!here.empty()) {
      edge_task* const task = here.pop();
      const bool enough = task == last;  // what they posted comes after the next events
      task->finish(task, true);
      if (enough) break;
    }
  }
  void drop_all() noexcept {
    gather();
    const bool all = rung;
    here.drop();
    if (all) drop_all();
  }

  const int bell;                 // an eventfd
  std::atomic<bool> rung{false};  // since the last gather()
  std::atomic<bool> stopped{false};
  std::atomic<std::int64_t> work{0};  // executors that keep run() going
  task_list here;                     // of the running thread alone
  std::mutex mutex;                   // of the others'
  task_list elsewhere;
  edge_loop* sockets = nullptr;
  edge_environment* time = nullptr;
};

}  // namespace detail

namespace {

thread_local const edge_context* running = nullptr;

class running_mark {
 public:
  explicit running_mark(const edge_context* here) noexcept : before_(std::exchange(running, here)) {}
  ~running_mark() { running = before_; }
  running_mark(const running_mark&) = delete;
  running_mark& operator=(const running_mark&) = delete;

 private:
  const edge_context* before_;
};

/// For epoll_wait.
int timeout_of(duration wait) noexcept {
  if (wait == duration::max()) return -1;
  return static_cast<int>(std::clamp<std::int64_t>(wait.count(), 0, std::numeric_limits<int>::max()));
}

}  // namespace

edge_context::edge_context() : queue_(std::make_unique<detail::edge_queue>()) {
  auto& q = *queue_;
  q.sockets = &asio::make_service<detail::edge_loops>(*this).one_for_all();
  q.sockets->drive(q.bell);
  q.time = &asio::make_service<detail::edge_environment>(*this);
  q.time->on_change = [this] {
    if (!running_here()) queue_->ring();
  };
}

edge_context::~edge_context() {
  shutdown();
  const running_mark here(this);  // what the dropped handlers post in turn is dropped too
  queue_->drop_all();
  destroy();
}

void edge_context::run() {
  auto& q = *queue_;
  const running_mark here(this);
  for (;;) {
    q.gather();
    if (q.stopped) return;
    q.call_all();
    const auto next = q.time->fire();
    if (q.stopped) return;
    if (q.here.empty() && !q.rung && q.work == 0 && q.sockets->waiting() == 0 && q.time->idle()) return;
    q.sockets->turn(q.here.empty() && !q.rung ? timeout_of(next) : 0);
  }
}

void edge_context::stop() noexcept {
  queue_->stopped = true;
  queue_->ring();
}
bool edge_context::stopped() const noexcept { return queue_->stopped; }
void edge_context::restart() noexcept { queue_->stopped = false; }

void edge_context::post(detail::edge_task* task) noexcept {
  if (running_here()) queue_->here.push(task);
  else queue_->push_from_elsewhere(task);
}
bool edge_context::running_here() const noexcept { return running == this; }
void edge_context::work(int more) noexcept {
  if (queue_->work.fetch_add(more) + more == 0 && !running_here()) queue_->ring();
}

}  // namespace wsproxy
