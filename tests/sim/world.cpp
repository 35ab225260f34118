#include "world.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace sim {

// ---- connection

bool connection::readable(int end) const noexcept {
  const auto& e = ends_[end];
  return !e.inbox.empty() || e.fin_arrived || e.broken;
}

bool connection::writable(int end) const noexcept {
  return ends_[1 - end].coming < how_.capacity || ends_[end].broken || ends_[end].fin_sent;
}

void connection::fire(callback<std::error_code>& waiter, std::error_code ec) {
  if (auto taken = std::move(waiter)) taken(ec);
}

void connection::wake(int end) {
  if (readable(end)) fire(ends_[end].reader, {});
  if (writable(end)) fire(ends_[end].writer, {});
}

std::size_t connection::draw(std::size_t most) {
  if (!how_.random_sizes) return most;
  return static_cast<std::size_t>(world_.draw(1, std::min<std::size_t>(most, 4096)));
}

// Whatever reaches the other end does so after all that was sent before.
template <class Action> void connection::send(int to, Action action) {
  auto& arrival = ends_[to].last_arrival;
  duration late = how_.latency;
  if (how_.jitter > duration::zero())
    late +=
        duration(static_cast<duration::rep>(world_.draw(0, static_cast<std::uint64_t>(how_.jitter.count()))));
  arrival = std::max(arrival, world_.now() + late);
  world_.after(arrival - world_.now(), [self = weak_from_this(), action = std::move(action)] {
    if (auto c = self.lock()) action(*c);
  });
}

std::size_t connection::read(int end, std::span<char> into, std::error_code& ec) {
  auto& e = ends_[end];
  ec.clear();
  if (!e.open) ec = asio::error::bad_descriptor;
  else if (e.broken) ec = asio::error::connection_reset;
  else if (end == 0 && fault_ == sabotage::deaf_after_fin && e.fin_sent) ec = asio::error::eof;
  else if (e.inbox.empty()) ec = e.fin_arrived ? std::error_code(asio::error::eof) : asio::error::would_block;
  if (ec) return 0;
  const auto n = std::min({into.size(), e.inbox.size(), draw(how_.read_most)});
  std::copy_n(e.inbox.data(), n, into.data());
  e.inbox.erase(0, n);
  e.read += n;
  send(1 - end, [end, n](connection& c) {
    c.ends_[end].coming -= n;
    c.wake(1 - end);
  });
  return n;
}

std::size_t connection::write(int end, std::span<const asio::const_buffer> from, std::error_code& ec,
                              bool last) {
  auto& e = ends_[end];
  ec.clear();
  if (!e.open) ec = asio::error::bad_descriptor;
  else if (e.broken) ec = asio::error::connection_reset;
  else if (e.fin_sent) ec = asio::error::broken_pipe;
  else if (!writable(end)) ec = asio::error::would_block;
  if (ec) return 0;
  auto room = std::min(how_.capacity - ends_[1 - end].coming, draw(how_.write_most));
  std::string bytes;
  for (const auto& buffer : from) {
    const auto n = std::min(room, buffer.size());
    bytes.append(static_cast<const char*>(buffer.data()), n);
    room -= n;
  }
  const auto n = bytes.size();
  if (n == 0) return 0;
  ends_[1 - end].coming += n;
  e.written += n;
  if (end == 0 && fault_ == sabotage::close_inside_frame) spoil_output(bytes);
  e.kept += bytes;
  if (!last) deliver_kept(end);
  return n;
}

void connection::deliver_kept(int end) {
  auto bytes = std::exchange(ends_[end].kept, {});
  if (bytes.empty()) return;
  send(1 - end, [end, bytes = std::move(bytes)](connection& c) {
    auto& to = c.ends_[1 - end];
    if (!to.open) {
      c.send(end, [end](connection& same) {
        same.ends_[end].broken = true;
        same.ends_[end].inbox.clear();
        same.wake(end);
      });
    } else if (!to.broken) {
      to.inbox += bytes;
      c.wake(1 - end);
    }
  });
}

void connection::wait_read(int end, callback<std::error_code> waiter) {
  auto& e = ends_[end];
  if (e.reader) throw std::logic_error("two waits for reading");
  if (!e.open) return waiter(asio::error::bad_descriptor);
  e.reader = std::move(waiter);
  if (end == 0 && how_.spurious != 0 && world_.chance(how_.spurious)) fire(e.reader, {});
  else wake(end);
}

void connection::wait_write(int end, callback<std::error_code> waiter) {
  auto& e = ends_[end];
  if (e.writer) throw std::logic_error("two waits for writing");
  if (!e.open) return waiter(asio::error::bad_descriptor);
  e.writer = std::move(waiter);
  wake(end);
}

// What was written ends inside a frame of the tunnel: there a Close is put in, once.
void connection::spoil_output(std::string& bytes) {
  std::string_view rest = bytes;
  if (!head_.ends_with("\r\n\r\n")) {
    while (!rest.empty() && !head_.ends_with("\r\n\r\n")) {
      head_ += rest.front();
      rest.remove_prefix(1);
    }
    if (!head_.starts_with("HTTP/1.1 101") && head_.ends_with("\r\n\r\n")) head_.clear();
  }
  bool inside = false;
  while (!rest.empty()) {
    const auto step = sent_.next(rest);
    rest.remove_prefix(step.consumed);
    if (step.what == wsproxy::frame_tracker::event::illegal) return;
    inside = step.what != wsproxy::frame_tracker::event::end;
    if (step.what == wsproxy::frame_tracker::event::none && step.consumed == 0) break;
  }
  if (!inside) return;
  bytes += std::string_view("\x88\x02\x03\xe9", 4);
  fault_ = sabotage::none;
}

void connection::shutdown_send(int end, std::error_code& ec) {
  auto& e = ends_[end];
  ec.clear();
  if (!e.open) ec = asio::error::bad_descriptor;
  else if (e.broken) ec = asio::error::not_connected;
  if (ec || std::exchange(e.fin_sent, true)) return;
  deliver_kept(end);
  send(1 - end, [end](connection& c) {
    c.ends_[1 - end].fin_arrived = true;
    c.wake(1 - end);
  });
}

void connection::close(int end) {
  auto& e = ends_[end];
  if (!e.open) return;
  if (!e.inbox.empty()) return reset(end);
  std::error_code ignored;
  shutdown_send(end, ignored);
  e.open = false;
  cancel(end);
}

void connection::reset(int end) {
  auto& e = ends_[end];
  if (!e.open) return;
  e.open = false;
  e.inbox.clear();
  send(1 - end, [end](connection& c) {
    c.ends_[1 - end].broken = true;
    c.ends_[1 - end].inbox.clear();
    c.wake(1 - end);
  });
  cancel(end);
}

void connection::cancel(int end) {
  fire(ends_[end].reader, asio::error::operation_aborted);
  fire(ends_[end].writer, asio::error::operation_aborted);
}

void connection::abandon(std::vector<callback<std::error_code>>& into) {
  into.push_back(std::move(ends_[0].reader));
  into.push_back(std::move(ends_[0].writer));
}

// ---- peer

void peer::send(std::string_view bytes) {
  sent += bytes;
  unsent_ += bytes;
  pump_writes();
}

void peer::fin() {
  fin_wanted_ = true;
  pump_writes();
}

void peer::resume() {
  reading_ = true;
  pump_reads();
}

void peer::pump_writes() {
  std::error_code ec;
  while (!unsent_.empty() && !ec) {
    const asio::const_buffer buffer(unsent_.data(), unsent_.size());
    unsent_.erase(0, connection_->write(1, {&buffer, 1}, ec));
  }
  if (ec && ec != asio::error::would_block) unsent_.clear();
  if (unsent_.empty()) {
    if (std::exchange(fin_wanted_, false)) connection_->shutdown_send(1, ec);
  } else if (!std::exchange(write_pending_, true)) {
    connection_->wait_write(1, [weak = weak_from_this()](std::error_code) {
      if (auto self = weak.lock())
        self->world_.after(0ms, [weak] {
          if (auto again = weak.lock()) {
            again->write_pending_ = false;
            again->pump_writes();
          }
        });
    });
  }
}

void peer::pump_reads() {
  if (read_pending_ || !reading_ || over() || !connection_->open(1)) return;
  read_pending_ = true;
  connection_->wait_read(1, [weak = weak_from_this()](std::error_code error) {
    auto self = weak.lock();
    if (!self || error) return;
    self->world_.after(0ms, [weak] {
      auto again = weak.lock();
      if (!again) return;
      again->read_pending_ = false;
      if (!again->reading_) return;
      std::array<char, 65536> into;
      std::error_code ec;
      const auto n = again->connection_->read(1, into, ec);
      again->received.append(into.data(), n);
      if (ec == asio::error::eof) again->eof = true;
      else if (ec && ec != asio::error::would_block) again->broken = true;
      if (again->over()) again->ended_at = again->world_.now();
      again->notify();
      again->pump_reads();
    });
  });
}

// ---- world

std::shared_ptr<connection> world::make_connection(link_options how) {
  auto c = std::make_shared<connection>(*this, how);
  connections_.push_back(c);
  return c;
}

void world::after(time_point::duration delay, callback<> what) {
  events_.emplace(now_ + delay, std::move(what));
}

bool world::step(time_point until) {
  if (++steps_ > 3'000'000) throw std::logic_error("the simulation does not come to rest");
  for (auto* each : {context_.get(), other_.get()}) {
    if (each == nullptr) continue;
    each->restart();
    if (each->poll_one() != 0) return true;
  }
  const auto when = next();
  if (when > until || when == time_point::max()) return false;
  now_ = std::max(now_, when);
  if (!events_.empty() && events_.begin()->first <= now_) {
    auto event = events_.extract(events_.begin());
    event.mapped()();
  } else if (auto* due = timers_.take_due(now_)) {
    due->expired();
  }
  return true;
}

void world::run_until(time_point until) {
  while (step(until)) {
  }
  now_ = std::max(now_, until);
}

void world::run(duration longest) {
  const auto limit = now_ + longest;
  while (step(limit)) {
  }
}

void world::destroy_context() {
  // Destroying a handler can destroy an operation, and with it a stream: take them all out first.
  std::vector<callback<std::error_code>> waiting;
  for (const auto& weak : connections_)
    if (auto c = weak.lock()) c->abandon(waiting);
  auto dials = std::move(dials_);
  dials_.clear();
  waiting.clear();
  dials.clear();
  context_.reset();
  other_.reset();
}

std::size_t world::open_streams() const {
  return static_cast<std::size_t>(
      std::count_if(connections_.begin(), connections_.end(), [](const auto& weak) {
        const auto c = weak.lock();
        return c && c->open(0);
      }));
}

std::uint64_t world::begin_dial(const std::string& to,
                                callback<std::error_code, std::shared_ptr<connection>> done) {
  const auto id = ++last_dial_;
  dials_.emplace(id, dial{to, std::move(done)});
  const auto found = listeners_.find(to);
  const bool refused = found == listeners_.end() || found->second.does == listener::kind::refuses;
  if (refused || found->second.does == listener::kind::accepts)
    after(found == listeners_.end() ? 0ms : found->second.delay, [this, id, refused] {
      end_dial(id, refused ? std::error_code(asio::error::connection_refused) : std::error_code());
    });
  return id;
}

void world::end_dial(std::uint64_t id, std::error_code ec) {
  auto found = dials_.extract(id);
  if (!found) return;
  auto& which = found.mapped();
  if (ec) return which.done(ec, nullptr);
  auto& to = listeners_.at(which.to);
  auto c = make_connection(to.link);
  auto who = std::make_shared<peer>(*this, c);
  to.accepted.push_back(who);
  if (to.on_accept) to.on_accept(*who);
  who->start();
  which.done({}, std::move(c));
}

}  // namespace sim
