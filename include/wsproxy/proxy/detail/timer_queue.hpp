// Armed timers, the earliest first: a binary heap of intrusive nodes. No clock, no lock, no I/O.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include <wsproxy/proxy/environment.hpp>

namespace wsproxy {

class timer_queue {
 public:
  bool empty() const noexcept { return heap_.empty(); }
  std::size_t size() const noexcept { return heap_.size(); }
  time_point earliest() const noexcept { return heap_.empty() ? time_point::max() : heap_.front()->at_; }

  void arm(timer& t, time_point at) {
    if (t.place_ == timer::unarmed) {
      heap_.push_back(&t);
      t.place_ = heap_.size() - 1;
    }
    t.at_ = at;
    rise(t.place_);
    sink(t.place_);
  }

  void disarm(timer& t) noexcept {
    if (t.place_ == timer::unarmed) return;
    const auto hole = std::exchange(t.place_, timer::unarmed);
    timer* const last = heap_.back();
    heap_.pop_back();
    if (last == &t) return;
    place(hole, last);
    rise(hole);
    sink(last->place_);
  }

  /// Takes out the earliest timer if it is due; null if none is.
  timer* take_due(time_point now) noexcept {
    if (heap_.empty() || heap_.front()->at_ > now) return nullptr;
    timer* const due = heap_.front();
    disarm(*due);
    return due;
  }

 private:
  void place(std::size_t at, timer* t) noexcept {
    heap_[at] = t;
    t->place_ = at;
  }
  void rise(std::size_t at) noexcept {
    timer* const t = heap_[at];
    for (; at != 0 && t->at_ < heap_[(at - 1) / 2]->at_; at = (at - 1) / 2) place(at, heap_[(at - 1) / 2]);
    place(at, t);
  }
  void sink(std::size_t at) noexcept {
    timer* const t = heap_[at];
    for (std::size_t child; (child = at * 2 + 1) < heap_.size(); at = child) {
      if (child + 1 < heap_.size() && heap_[child + 1]->at_ < heap_[child]->at_) ++child;
      if (heap_[child]->at_ >= t->at_) break;
      place(at, heap_[child]);
    }
    place(at, t);
  }

  std::vector<timer*> heap_;
};

}  // namespace wsproxy
