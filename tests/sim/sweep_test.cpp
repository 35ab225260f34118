// Every operation, interrupted in every way at every one of its steps.
#include "bench.hpp"

#include <cstdlib>
#include <future>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace sim;
using namespace wsproxy;

namespace {

const std::vector<std::string> none;
constexpr auto from_client = frame_sender::client;
constexpr auto from_server = frame_sender::server;
constexpr auto longest = 10min;  // no scenario's timers add up to more

// One operation in a world of its own, about to be started.
class trial {
 public:
  virtual ~trial() = default;
  virtual world& w() = 0;
  virtual watch_base& end() = 0;
  virtual void start() = 0;
  /// What came of it, as text: two runs that end alike say the same.
  virtual std::string outcome() = 0;
  /// Lets go of what the result holds; then everything that the operation opened is closed.
  virtual void drop() {}
  virtual std::size_t leases() { return 0; }
  /// Streams that are not the operation's to close, once it has completed; the borrowed one where it has not.
  virtual std::size_t streams_of_host() { return 0; }
  /// The request has been handed to a backend: total cancellation comes too late.
  virtual bool handed_over() { return false; }
  virtual std::vector<session_handle> sessions() { return {}; }
  virtual std::vector<std::shared_ptr<peer>> peers() = 0;
  bool borrows = true;

  std::vector<std::string> faults() {
    auto out = end().faults;
    auto expect = [&](bool holds, const char* what) {
      if (!holds) out.push_back(what);
    };
    drop();
    expect(!end().handler_lives(), "the handler was not destroyed");
    expect(w().timers() == 0, "a timer is left");
    expect(w().dials() == 0, "a dial is left");
    expect(leases() == 0, "a lease is left");
    const std::size_t borrowed = end().ended() || !borrows ? streams_of_host() : 1;
    expect(w().open_streams() <= borrowed, "a stream is left open");
    for (const auto& each : sessions()) expect(!each.alive(), "a session is alive");
    return out;
  }
};
using maker = std::function<std::unique_ptr<trial>()>;

int stride() {
  const char* scale = std::getenv("WSPROXY_TEST_SCALE");
  return scale != nullptr ? std::max(1, std::atoi(scale)) : 1;
}

// Runs `act` before step 0, 1, 2, … of fresh trials, then `judge`.
template <class Act, class Judge> void sweep(const maker& make, Act act, Judge judge) {
  auto natural = make();
  natural->start();
  int steps = 0;
  const auto limit = natural->w().now() + longest;
  while (natural->w().step(limit)) ++steps;
  REQUIRE(natural->end().calls == 1);
  const auto outcome = natural->outcome();
  REQUIRE(natural->faults() == none);
  CHECK(natural->end().memory.live == 0);
  CHECK(steps > 0);
  for (int k = 0; k <= steps; k += stride()) {
    CAPTURE(k, steps);
    auto t = make();
    if (k % 2 == 1) t->end().executor = t->w().other().get_executor();
    t->start();
    for (int i = 0; i != k; ++i) t->w().step();
    const bool ended = t->end().ended();
    const auto now = t->w().now();
    act(*t);
    CHECK(t->end().calls == (ended ? 1 : 0));  // nothing is called from within
    judge(*t, outcome, now, ended);
  }
}

void ends_in_peace(trial& t) {
  t.w().run(longest);
  CHECK(t.end().calls == 1);
  CHECK(t.faults() == none);
  CHECK(t.end().memory.live == 0);
}

void interrupt_everywhere(const maker& make) {
  using ct = asio::cancellation_type;
  for (const auto type : {ct::terminal, ct::terminal | ct::total, ct::terminal | ct::partial | ct::total}) {
    sweep(
        make, [type](trial& t) { t.end().stop.emit(type); },
        [](trial& t, const std::string&, time_point now, bool ended) {
          ends_in_peace(t);
          if (!ended) CHECK(t.end().at == now);
        });
  }
  // Destruction of the context: nothing is called, nothing is left.
  sweep(
      make, [](trial& t) { t.w().destroy_context(); },
      [](trial& t, const std::string&, time_point, bool ended) {
        CHECK(t.end().calls == (ended ? 1 : 0));
        CHECK(t.faults() == none);
      });
  // Peers that vanish.
  for (const int what : {0, 1, 2}) {
    sweep(
        make,
        [what](trial& t) {
          for (const auto& each : t.peers()) {
            if (what != 1) each->reset();
            else each->close();
            if (what == 0) break;
          }
        },
        [](trial& t, const std::string&, time_point, bool) { ends_in_peace(t); });
  }
}

// ---- async_forward

class forward_trial final : public trial {
 public:
  bench b;
  std::function<void(bench&)> script;

  world& w() override { return b.w; }
  watch_base& end() override { return b.end; }
  void start() override {
    b.start();
    if (script) script(b);
  }
  std::string outcome() override {
    const auto& r = b.result();
    return std::to_string(r.error.value()) + '/' + std::string(to_string(r.cause)) + '/' +
           std::string(to_string(r.who)) + '/' + std::to_string(r.status) + '/' + std::to_string(r.attempts) +
           '/' + std::to_string(r.from_client.bytes) + '/' + std::to_string(r.from_upstream.bytes) + '/' +
           (r.keep_alive ? "k" : "-") + '/' + b.client->received;
  }
  std::size_t leases() override {
    std::size_t active = 0;
    for (const auto& each : b.group->backends()) active += each->active();
    return active;
  }
  std::size_t streams_of_host() override { return b.tunnelled() ? 0 : 1; }
  bool handed_over() override {
    for (const auto& each : backends())
      if (each->wire().written_by(0) != 0) return true;
    return false;
  }
  std::vector<session_handle> sessions() override { return b.sessions; }
  std::vector<std::shared_ptr<peer>> peers() override {
    auto all = backends();
    all.push_back(b.client);
    return all;
  }

 private:
  std::vector<std::shared_ptr<peer>> backends() {
    std::vector<std::shared_ptr<peer>> all;
    for (const char* at : {"b1:1000", "b2:1000", "b3:1000", "b4:1000"})
      for (const auto& each : b.w.at(at).accepted) all.push_back(each);
    return all;
  }
};

struct scenario {
  const char* name;
  std::function<void(bench&)> arrange;
  std::function<void(bench&)> script;
};

// Echoes a Close and ends.
void polite(peer& p, const request_head& head) {
  p.send(accepting(head) + frame(opcode::text, "welcome", from_server));
  p.on_receive = [](peer& self) {
    const auto seen = read_frames(self.received);
    if (seen.frames.empty() || seen.frames.back().code != opcode::close) return;
    self.send(close_frame(seen.frames.back().close_code(), from_server));
    self.fin();
    self.on_receive = nullptr;
  };
}

const std::vector<scenario> scenarios = {
    {"a WebSocket with early bytes, closed by the client",
     [](bench& b) {
       b.request += frame(opcode::text, "early", from_client);
       b.b1().on_accept = answering(polite);
     },
     [](bench& b) {
       b.client->send(frame(opcode::text, "early too", from_client));
       b.w.after(100ms, [&b] {
         b.client->send(frame(opcode::binary, sample(3000), from_client) + close_frame(1000, from_client));
         b.client->fin();
       });
     }},
    {"a WebSocket in small pieces, drained inside a frame",
     [](bench& b) {
       b.client_link.capacity = b.b1().link.capacity = 50;
       b.client_link.read_most = b.b1().link.read_most = 40;
       b.b1().on_accept = answering(polite);
     },
     [](bench& b) {
       const auto whole = frame(opcode::text, sample(300), from_client);
       b.client->send(whole.substr(0, 200));
       b.w.after(500ms, [&b] {
         for (const auto& each : b.sessions) each.drain();
       });
       b.w.after(600ms, [&b, whole] { b.client->send(whole.substr(200)); });
     }},
    {"a WebSocket with heartbeats that are not answered in the end",
     [](bench& b) {
       b.how.tunnel.heartbeat = {.interval = 10s, .timeout = 3s};
       b.b1().on_accept = answering(polite);
     },
     [](bench& b) { b.w.after(12s, [&b] { b.client->send(frame(opcode::text, "here", from_client)); }); }},
    {"a chunked request and a chunked response",
     [](bench& b) {
       b.request = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
       b.client_link.capacity = 100;
       b.b1().on_accept = answering([](peer& p, const request_head&) {
         p.on_receive = [](peer& self) {
           if (!self.received.ends_with("0\r\n\r\n")) return;
           self.on_receive = nullptr;
           self.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                     chunked(sample(400), 150, "X: y\r\n"));
         };
         p.notify();
       });
     },
     [](bench& b) { b.client->send("lo\r\n" + chunked(sample(300), 70)); }},
    {"four backends: refused, never connected, silent, well",
     [](bench& b) {
       b.backends = {at("b1:1000"), at("b2:1000"), at("b3:1000"), at("b4:1000")};
       b.how.tunnel.timeouts.connect = b.how.tunnel.timeouts.response = 2s;
       b.request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
       b.b1().does = listener::kind::refuses;
       b.b2().does = listener::kind::hangs;
       b.w.at("b3:1000").on_accept = [](peer&) {};
       b.w.at("b4:1000").on_accept = answering_with("HTTP/1.1 200 OK\r\n\r\nuntil the end", true);
     },
     {}},
    {"no backend answers",
     [](bench& b) { b.b1().on_accept = answering_with("HTTP/1.1 101 Switching Protocols\r\n\r\n"); },
     {}},
    {"a handshake that is refused",
     [](bench& b) { b.request = websocket_request("Sec-WebSocket-Key: again\r\n"); },
     {}},
    {"an interim response that the client takes slowly, then a failure",
     [](bench& b) {
       b.client_link.capacity = 7;
       b.request = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
       b.b1().on_accept = answering([](peer& p, const request_head&) { p.fin(); });
     },
     {}},
    {"a client that stops taking its response",
     [](bench& b) {
       b.client_link.capacity = 300;
       b.request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
       b.b1().on_accept = answering_with(make_response(200, sample(2000)));
     },
     [](bench& b) { b.w.after(10ms, [&b] { b.client->stall(); }); }},
};

maker forwarding(const scenario& s, tiers streams) {
  return [&s, streams] {
    auto t = std::make_unique<forward_trial>();
    t->b.streams = streams;
    s.arrange(t->b);
    t->script = s.script;
    return t;
  };
}

template <class Visit> void each_scenario(Visit visit) {
  for (const auto& s : scenarios)
    for (const auto streams : {tiers::readiness, tiers::async, tiers::async_downstream}) {
      CAPTURE(s.name, static_cast<int>(streams));
      visit(forwarding(s, streams));
    }
}

// ---- The others

// A request that comes in two pieces.
template <class Stream> class read_head_trial final : public trial {
 public:
  read_head_trial() : end_(w_) {
    auto pair = w_.connect<Stream>();
    down_.emplace(std::move(pair.first));
    client_ = pair.second;
  }
  world& w() override { return w_; }
  watch_base& end() override { return end_; }
  void start() override {
    read_head(*down_, "GET / HT", {.first_byte = 30s}, end_);
    client_->send("TP/1.1\r\n");
    w_.after(1s, [this] { client_->send("Host: a\r\n\r\nearly"); });
  }
  std::string outcome() override {
    return end_.result->error.message() + end_.result->head.target + end_.result->early;
  }
  std::size_t streams_of_host() override { return 1; }
  std::vector<std::shared_ptr<peer>> peers() override { return {client_}; }

 private:
  world w_;
  std::optional<Stream> down_;
  std::shared_ptr<peer> client_;
  watch<read_head_result> end_;
};

// An answer to a slow client, and the wait for its FIN.
template <class Stream> class send_trial final : public trial {
 public:
  send_trial() : end_(w_) {
    auto pair = w_.connect<Stream>({.capacity = 20});
    down_.emplace(std::move(pair.first));
    client_ = pair.second;
  }
  world& w() override { return w_; }
  watch_base& end() override { return end_; }
  void start() override {
    sim::send(*down_, make_response(400, "no", {}, true), {.close = true}, end_);
    client_->send("what is left of a request");
    w_.after(1s, [this] { client_->close(); });
  }
  std::string outcome() override { return end_.result->message() + client_->received; }
  std::vector<std::shared_ptr<peer>> peers() override { return {client_}; }

 private:
  world w_;
  std::optional<Stream> down_;
  std::shared_ptr<peer> client_;
  watch<std::error_code> end_;
};

exchange a_handshake() {
  exchange what;
  what.head = read_request(websocket_request());
  what.client = "192.0.2.1";
  return what;
}

// The second backend accepts, or refuses with a body.
template <class Stream, bool accepts> class handshake_trial final : public trial {
 public:
  handshake_trial() : group_({at("b1:1000"), at("b2:1000")}), end_(w_) {
    borrows = false;
    w_.at("b1:1000").on_accept = [](peer& p) { p.reset(); };
    w_.at("b2:1000").on_accept = accepts ? websocket_backend(frame(opcode::text, "hi", from_server))
                                         : answering_with(make_response(403, sample(5000)));
  }
  world& w() override { return w_; }
  watch_base& end() override { return end_; }
  void start() override { handshake(group_, a_handshake(), end_); }
  std::string outcome() override {
    const auto& r = *end_.result;
    std::string out = r.result.error.message() + std::to_string(r.result.status);
    if (r.accepted) out += r.accepted->early();
    if (r.answer) out += std::to_string(r.answer->head.status) + r.answer->early;
    return out;
  }
  void drop() override { end_.result.reset(); }
  std::size_t leases() override {
    std::size_t active = 0;
    for (const auto& each : group_.backends()) active += each->active();
    return active;
  }
  bool handed_over() override {
    for (const auto& each : peers())
      if (each->wire().written_by(0) != 0) return true;
    return false;
  }
  std::vector<std::shared_ptr<peer>> peers() override {
    auto all = w_.at("b1:1000").accepted;
    for (const auto& each : w_.at("b2:1000").accepted) all.push_back(each);
    return all;
  }

 private:
  world w_;
  upstream group_;
  watch<handshake_result<Stream>> end_;
};

// A tunnel or relay whose two sides exchange a few bytes and part.
template <class Stream, bool is_websocket> class tunnel_trial final : public trial {
 public:
  tunnel_trial() : group_({at("b1:1000")}), shaken_(w_), end_(w_) {
    auto pair = w_.connect<Stream>({.capacity = 300});
    down_.emplace(std::move(pair.first));
    client_ = pair.second;
    if constexpr (is_websocket) {
      w_.at("b1:1000").on_accept = answering(polite);
      handshake(group_, a_handshake(), shaken_);
      w_.run_for(1s);
      backend_ = w_.at("b1:1000").accepted.at(0);
    } else {
      auto other = w_.connect<Stream>({.capacity = 300});
      second_.emplace(std::move(other.first));
      backend_ = other.second;
    }
  }
  world& w() override { return w_; }
  watch_base& end() override { return end_; }
  void start() override {
    const auto early = frame(opcode::text, "early", from_client);
    if constexpr (is_websocket) {
      tunnel(*down_, std::move(*shaken_.result->accepted), early, end_);
      shaken_.result.reset();
    } else {
      relay(*down_, early, std::move(*second_), "to the client", {}, end_);
      second_.reset();
      w_.after(2s, [this] {
        backend_->send("bye");
        backend_->fin();
      });
    }
    client_->send(frame(opcode::binary, sample(900), from_client));
    w_.after(1s, [this] {
      client_->send(close_frame(1000, from_client));
      client_->fin();
    });
  }
  std::string outcome() override {
    const auto& r = *end_.result;
    return r.error.message() + std::string(to_string(r.cause)) + client_->received + backend_->received;
  }
  std::size_t leases() override { return group_.backends()[0]->active(); }
  std::vector<std::shared_ptr<peer>> peers() override { return {client_, backend_}; }

 private:
  world w_;
  upstream group_;
  watch<handshake_result<Stream>> shaken_;
  std::optional<Stream> down_, second_;
  std::shared_ptr<peer> client_, backend_;
  watch<forward_result> end_;
};

template <class Trial> maker of() {
  return [] { return std::make_unique<Trial>(); };
}

}  // namespace

TEST_CASE("sweep: async_forward, interrupted at every step") { each_scenario(interrupt_everywhere); }

TEST_CASE("sweep: async_read_head, interrupted at every step") {
  interrupt_everywhere(of<read_head_trial<stream>>());
  interrupt_everywhere(of<read_head_trial<completion_stream>>());
}

TEST_CASE("sweep: async_send, interrupted at every step") {
  interrupt_everywhere(of<send_trial<stream>>());
  interrupt_everywhere(of<send_trial<completion_stream>>());
}

TEST_CASE("sweep: async_handshake, interrupted at every step") {
  interrupt_everywhere(of<handshake_trial<stream, true>>());
  interrupt_everywhere(of<handshake_trial<stream, false>>());
  interrupt_everywhere(of<handshake_trial<completion_stream, true>>());
  interrupt_everywhere(of<handshake_trial<completion_stream, false>>());
}

TEST_CASE("sweep: async_tunnel, interrupted at every step") {
  interrupt_everywhere(of<tunnel_trial<stream, true>>());
  interrupt_everywhere(of<tunnel_trial<completion_stream, true>>());
}

TEST_CASE("sweep: async_relay, interrupted at every step") {
  interrupt_everywhere(of<tunnel_trial<stream, false>>());
  interrupt_everywhere(of<tunnel_trial<completion_stream, false>>());
}

TEST_CASE("sweep: total cancellation is honoured until the request is handed over, partial never") {
  using ct = asio::cancellation_type;
  const auto emitting = [](ct type) { return [type](trial& t) { t.end().stop.emit(type); }; };
  bool was_handed_over = false;
  const auto total = [&](const maker& make) {
    sweep(
        make,
        [&](trial& t) {
          was_handed_over = t.handed_over();
          t.end().stop.emit(ct::total);
        },
        [&](trial& t, const std::string& natural, time_point now, bool ended) {
          t.w().run(longest);
          if (ended || was_handed_over) CHECK(t.outcome() == natural);
          else CHECK(t.end().at == now);
          ends_in_peace(t);
        });
  };
  const auto partial = [&](const maker& make) {
    sweep(make, emitting(ct::partial), [](trial& t, const std::string& natural, time_point, bool) {
      t.w().run(longest);
      CHECK(t.outcome() == natural);
      ends_in_peace(t);
    });
  };
  each_scenario(total);
  each_scenario(partial);
  for (const auto& make :
       {of<handshake_trial<stream, true>>(), of<handshake_trial<completion_stream, false>>()}) {
    total(make);
    partial(make);
  }
  for (const auto& make : {of<tunnel_trial<stream, true>>(), of<tunnel_trial<completion_stream, false>>()}) {
    sweep(make, emitting(ct::total | ct::partial),
          [](trial& t, const std::string& natural, time_point, bool) {
            t.w().run(longest);
            CHECK(t.outcome() == natural);
            ends_in_peace(t);
          });
  }
}

TEST_CASE("sweep: a session is aborted or drained at every step") {
  for (const bool politely : {false, true})
    for (std::size_t i = 0; i != 3; ++i)  // the tunnels among the scenarios
      for (const auto streams : {tiers::readiness, tiers::async}) {
        CAPTURE(politely, scenarios[i].name, static_cast<int>(streams));
        sweep(
            forwarding(scenarios[i], streams),
            [politely](trial& t) {
              for (const auto& each : t.sessions()) {
                if (politely) each.drain({.code = 1012, .reason = "restart"});
                else each.abort();
              }
            },
            [politely](trial& t, const std::string&, time_point now, bool ended) {
              const bool live = !t.sessions().empty() && !ended;
              ends_in_peace(t);
              if (live && !politely) CHECK(t.end().at == now);
              if (live && politely) CHECK(t.end().at <= now + 5s + 5s + 5s + 1s);
            });
      }
}

TEST_CASE("sweep: two interruptions in a row are as good as one") {
  each_scenario([](const maker& make) {
    sweep(
        make,
        [](trial& t) {
          for (const auto& each : t.sessions()) each.abort();
          t.end().stop.emit(asio::cancellation_type::terminal);
          t.end().stop.emit(asio::cancellation_type::terminal);
          t.peers().back()->reset();
        },
        [](trial& t, const std::string&, time_point, bool) { ends_in_peace(t); });
  });
}

TEST_CASE("sweep: futures are fulfilled") {
  for (const auto streams : {0, 1}) {
    world w;
    w.at("b1:1000").on_accept = answering_with(make_response(200, "x"));
    upstream group({at("b1:1000")});
    exchange what;
    what.head = read_request("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    what.world = &w;
    auto ready = w.connect<stream>();
    auto late = w.connect<completion_stream>();
    auto future = streams == 0 ? async_forward(ready.first, group, what, sim::dialer(w), asio::use_future)
                               : async_forward(late.first, group, what, basic_dialer<completion_stream>(w),
                                               asio::use_future);
    CHECK(future.wait_for(0s) == std::future_status::timeout);
    w.run();
    REQUIRE(future.wait_for(1min) == std::future_status::ready);  // Asio fulfils it on a thread of its own
    CHECK(future.get().status == 200);
    CHECK(w.timers() == 0);
  }
}

namespace {

// A host: heads in, exchanges, answers of its own, until the connection ends.
asio::awaitable<void> serve(world& w, stream down, upstream group, std::vector<int>& statuses) {
  std::string rest;
  for (;;) {
    auto read = co_await async_read_head(down, std::move(rest), {.world = &w}, asio::use_awaitable);
    if (read.error) co_return;
    exchange what;
    what.head = std::move(read.head);
    what.early = std::move(read.early);
    what.world = &w;
    auto result = co_await async_forward(down, group, std::move(what), sim::dialer(w), asio::use_awaitable);
    statuses.push_back(result.status);
    if (!result.committed && result.status != 0) {
      auto answer = make_response(result.status, "sorry", {}, !result.keep_alive);
      std::error_code error;
      const send_options options{.close = !result.keep_alive, .world = &w};
      co_await async_send(down, std::move(answer), options, asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
    }
    if (!result.keep_alive) co_return;
    rest = std::move(result.leftover);
  }
}

struct served {
  world w;
  asio::cancellation_signal stop;
  std::vector<int> statuses;
  std::shared_ptr<peer> client;
  std::optional<upstream> group;
  bool ended = false;
  std::exception_ptr threw;

  void start() {
    group.emplace(std::vector{at("b1:1000")});
    int count = 0;
    w.at("b1:1000").on_accept = [count](peer& p) mutable {
      ++count;
      if (count == 2) p.reset();
      else answering_with(make_response(200, sample(300)))(p);
    };
    auto pair = w.connect<stream>({.capacity = 200});
    client = pair.second;
    asio::co_spawn(w.executor(), serve(w, std::move(pair.first), *group, statuses),
                   asio::bind_cancellation_slot(stop.slot(), [this](std::exception_ptr e) {
                     ended = true;
                     threw = e;
                   }));
    const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client->send(get + get + get);
    w.after(10s, [this] { client->fin(); });
  }
};

}  // namespace

TEST_CASE("sweep: a host written as a coroutine serves, and can be cancelled or destroyed at every step") {
  int steps = 0;
  {
    served s;
    s.start();
    while (s.w.step(s.w.now() + longest)) ++steps;
    CHECK(s.ended);
    CHECK(s.statuses == std::vector{200, 502, 200});
    CHECK(s.client->eof);
    CHECK(s.w.open_streams() == 0);
  }
  for (int k = 0; k <= steps; k += stride()) {
    for (const bool destroy : {false, true}) {
      CAPTURE(k, destroy);
      served s;
      s.start();
      for (int i = 0; i != k; ++i) s.w.step();
      const bool ended = s.ended;
      if (destroy) s.w.destroy_context();
      else s.stop.emit(asio::cancellation_type::terminal);
      s.w.run(longest);
      CHECK(s.ended == (ended || !destroy));
      CHECK(s.w.open_streams() == 0);
      CHECK(s.w.timers() == 0);
      CHECK(s.group->backends()[0]->active() == 0);
    }
  }
}
