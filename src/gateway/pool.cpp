#include "pool.hpp"

#include <algorithm>
#include <csignal>

namespace wsproxy {

namespace detail {

// From here on only the worker's thread has it: what it is made of must not end on another.
void pool_state::add(std::shared_ptr<job> work) {
  const auto state = work->state();
  {
    const std::lock_guard lock(mutex);
    ++live;
    ++state->where->live;
  }
  {
    const std::lock_guard lock(state->mutex);
    state->work = work;
  }
  state->where->post([work = std::move(work)] { work->enter(); });
}

void pool_state::drain_all() {
  for (const auto& each : workers)
    each->post([each = each.get()] {
      for (auto* work : each->jobs) work->drain();
    });
}

void pool_state::stop_all() {
  for (const auto& each : workers)
    each->post([each = each.get()] {
      std::vector<std::shared_ptr<job>> all;
      for (auto* work : each->jobs) all.push_back(work->shared_from_this());
      for (const auto& work : all) work->stop();
    });
}

}  // namespace detail

namespace {

/// While it lives, new threads are born with every signal blocked but those of their own faults.
class signals_blocked {
 public:
  signals_blocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
      sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

worker_pool::worker_pool(unsigned threads) : state_(std::make_shared<detail::pool_state>()) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  const signals_blocked during;
  try {
    for (unsigned i = 0; i != threads; ++i) {
      state_->workers.push_back(std::make_shared<detail::worker>());
      state_->workers.back()->start();
    }
  } catch (...) {
    for (const auto& each : state_->workers) each->end();
    throw;
  }
}

worker_pool::~worker_pool() {
  stop();
  {
    std::unique_lock lock(state_->mutex);
    state_->ended.wait(lock, [&] { return state_->live == 0; });
  }
  for (const auto& each : state_->workers) each->end();
}

unsigned worker_pool::threads() const noexcept { return static_cast<unsigned>(state_->workers.size()); }

std::size_t worker_pool::live() const noexcept {
  const std::lock_guard lock(state_->mutex);
  return state_->live;
}

bool worker_pool::drain(const drain_options& options) {
  auto& pool = *state_;
  std::unique_lock lock(pool.mutex);
  if (!pool.draining) {
    pool.how = options;
    pool.how.deadline = duration::zero();  // that of all is watched here
    pool.draining = true;
  }
  lock.unlock();
  pool.drain_all();
  const auto nothing_left = [&] { return pool.live == 0; };
  lock.lock();
  const auto deadline = std::min(options.deadline, longest_time);
  if (deadline > duration::zero() && !pool.ended.wait_for(lock, deadline, nothing_left)) {
    lock.unlock();
    stop();
    lock.lock();
    pool.ended.wait(lock, nothing_left);
    return false;
  }
  pool.ended.wait(lock, nothing_left);
  return true;
}

void worker_pool::stop() {
  state_->stopped = true;
  state_->stop_all();
}

}  // namespace wsproxy
