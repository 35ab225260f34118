// Whatever happens, in whatever order: what must hold of every exchange, over many random ones.
#include "bench.hpp"

#include <cstdlib>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <catch2/catch_test_macros.hpp>

#include <wsproxy/http/body.hpp>

using namespace sim;
using namespace wsproxy;

namespace {

const std::vector<std::string> none;

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::strtoull(value, nullptr, 10) : otherwise;
}

// Calls `faults_of(seed)` for every seed; the first that has faults fails the test.
// WSPROXY_TEST_SEED is one seed to try alone.
template <class Faults> void for_each_seed(Faults faults_of) {
  if (const auto only = number("WSPROXY_TEST_SEED", 0)) {
    REQUIRE(faults_of(only) == none);
    return;
  }
  const auto seeds =
      std::max<std::uint64_t>(1, number("WSPROXY_TEST_SEEDS", 10'000) / number("WSPROXY_TEST_SCALE", 1));
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    std::vector<std::string> faults;
    try {
      faults = faults_of(seed);
    } catch (const std::exception& error) {
      faults.push_back(error.what());
    }
    INFO("to try it alone: WSPROXY_TEST_SEED=" << seed);
    REQUIRE(faults == none);
  }
}

// What a seed decides.
class dice {
 public:
  explicit dice(std::uint64_t seed) : random_(seed) {}
  std::uint64_t draw(std::uint64_t lowest, std::uint64_t highest) {
    return lowest + random_() % (highest - lowest + 1);
  }
  bool chance(unsigned per_cent) { return draw(1, 100) <= per_cent; }
  duration time(duration longest) { return duration(draw(0, static_cast<std::uint64_t>(longest.count()))); }
  template <class T> T one_of(std::initializer_list<T> all) { return all.begin()[draw(0, all.size() - 1)]; }

  link_options link() {
    link_options how;
    how.latency = time(20ms);
    how.jitter = one_of({0ms, 0ms, 5ms, 50ms});
    how.capacity = one_of<std::size_t>({10, 100, 1000, 10'000, 65'536});
    how.read_most = one_of<std::size_t>({1, 7, 100, link_options::all, link_options::all});
    how.write_most = one_of<std::size_t>({1, 7, 100, link_options::all, link_options::all});
    how.random_sizes = chance(30);
    how.spurious = one_of({0u, 0u, 10u, 50u});
    return how;
  }

 private:
  std::mt19937_64 random_;
};

// A link on which many bytes do not take very many steps.
bool carries_much(const link_options& how) {
  return how.read_most > 100 && how.capacity > 5000 && how.write_most > 100;
}

// One end of a tunnel: says what its dice tell it, and answers as a WebSocket endpoint may.
class talker : public std::enable_shared_from_this<talker> {
 public:
  talker(world& w, dice& d, std::shared_ptr<peer> who, frame_sender as, std::size_t largest)
      : w_(w), dice_(d), who_(std::move(who)), as_(as), largest_(largest) {}

  std::string expected;       // what must come out at the other end
  bool rude = false;          // it reset, stalled, or closed with something unread
  std::size_t tunnel_at = 0;  // where in peer::received the tunnel begins

  /// A few frames, as bytes that must come out.
  std::string some_frames() {
    std::string out;
    for (auto count = dice_.draw(0, 4); count != 0; --count) {
      const auto size = dice_.draw(0, dice_.chance(10) ? largest_ : std::min<std::size_t>(largest_, 200));
      if (dice_.chance(20)) {
        out += frame(dice_.chance(50) ? opcode::ping : opcode::pong, "abc", as_);
      } else if (dice_.chance(30)) {
        out += frame(opcode::text, sample(size, ++said_), as_, false);
        if (dice_.chance(50)) out += frame(opcode::ping, "abc", as_);
        out += frame(opcode::continuation, sample(size / 2, ++said_), as_, true);
      } else {
        out += frame(opcode::binary, sample(size, ++said_), as_);
      }
    }
    return out;
  }

  void begin(std::size_t from) {
    tunnel_at = parsed_ = from;
    who_->on_receive = [weak = weak_from_this()](peer&) {
      if (auto self = weak.lock()) self->listen();
    };
    answers_pings_ = dice_.chance(80);
    answers_close_ = dice_.chance(80);
    for (auto count = dice_.draw(0, 5); count != 0; --count)
      later([](talker& self) { self.say(self.some_frames()); });
    if (dice_.chance(90)) {
      const auto how = dice_.draw(0, 9);
      later([how](talker& self) { self.part(how); });
    }
    listen();
  }
  void say(const std::string& bytes) {
    if (closed_ || gone_) return;
    expected += bytes;
    who_->send(bytes);
  }
  peer& who() { return *who_; }

 private:
  template <class Action> void later(Action action) {
    w_.after(dice_.time(3s), [weak = weak_from_this(), action] {
      if (auto self = weak.lock()) action(*self);
    });
  }
  void close(std::uint16_t code) {
    if (closed_) return;
    say(close_frame(code, as_));
    closed_ = true;
  }
  void part(std::uint64_t how) {
    if (gone_) return;
    if (how <= 4) return close(1000);
    if (how <= 6) return leave();
    rude = true;
    if (how == 7) {
      gone_ = true;
      who_->reset();
    } else if (how == 8) {
      gone_ = true;
      who_->close();
    } else {
      who_->stall();
      later([](talker& self) { self.who_->resume(); });
    }
  }
  void leave() {
    gone_ = true;
    who_->fin();
  }
  void listen() {
    const auto seen = read_frames(std::string_view(who_->received).substr(parsed_));
    for (const auto& f : seen.frames) {
      parsed_ += f.bytes.size();
      if (f.code == opcode::ping && f.payload.size() == 8 && answers_pings_ && !closed_ && !gone_)
        who_->send(frame(opcode::pong, f.payload, as_));  // to be swallowed
      if (f.code == opcode::close && answers_close_) close(f.close_code());
    }
    if (who_->eof && !gone_ && dice_.chance(80))
      later([](talker& self) {
        if (!self.gone_) self.leave();
      });
  }

  world& w_;
  dice& dice_;
  std::shared_ptr<peer> who_;
  frame_sender as_;
  std::size_t largest_;
  std::size_t parsed_ = 0;
  std::uint64_t said_ = 0;
  bool answers_pings_ = true, answers_close_ = true;
  bool closed_ = false;  // it has sent Close
  bool gone_ = false;    // it has sent FIN or reset
};

bool is_prefix(std::string_view part, std::string_view whole) { return whole.substr(0, part.size()) == part; }

// The tunnel's bytes without our frames; theirs end with 1000, or echo a code of ours.
std::string passed(std::string_view received, const std::string& expected) {
  if (is_prefix(received, expected)) return std::string(received);
  std::string out;
  const auto seen = read_frames(received);
  for (const auto& f : seen.frames) {
    // A pong to one of our pings passes where more than four wait for theirs.
    const bool ours = ((f.code == opcode::ping || f.code == opcode::pong) && f.payload.size() == 8) ||
                      (f.code == opcode::close && !is_prefix(out + f.bytes, expected));
    if (!ours) out += f.bytes;
  }
  // A pong to one of our pings that is cut short by the end is not known for one, and passes.
  const bool cut_ours =
      !seen.rest.empty() && std::string_view("\x88\x89\x8a").find(seen.rest[0]) != std::string_view::npos;
  return cut_ours && !is_prefix(out + seen.rest, expected) ? out : out + seen.rest;
}

// The first response that is not an interim one, and where it begins.
std::pair<seen_response, std::size_t> final_response(const peer& client) {
  for (std::size_t at = 0;;) {
    auto seen = read_response(std::string_view(client.received).substr(at), "GET", client.over());
    const bool interim = seen.head.status >= 100 && seen.head.status < 200 && seen.head.status != 101;
    if (!interim) return {std::move(seen), at};
    at += seen.size;
  }
}

std::vector<std::string> one_websocket(std::uint64_t seed, sabotage fault = sabotage::none) {
  dice d(seed);
  bench b(seed);
  b.fault = fault;
  std::vector<std::string> faults;
  auto expect = [&](bool holds, std::string what) {
    if (!holds) faults.push_back(std::move(what));
  };
  b.streams = d.one_of({tiers::readiness, tiers::readiness, tiers::async, tiers::async_downstream});
  b.on_other_executor = d.chance(30);
  b.client_link = d.link();
  auto& t = b.how.tunnel.timeouts;
  t.connect = 2s;
  t.response = 5s;
  t.idle = t.half_close = d.one_of({5s, 60s});
  t.send_stall = t.upstream_send_stall = d.one_of({2s, 60s});
  if (d.chance(40))
    b.how.tunnel.heartbeat = {.interval = d.one_of({100ms, 1000ms}), .timeout = d.one_of({500ms, 5000ms})};
  if (d.chance(20)) t.max_lifetime = 2s;
  if (d.chance(20)) b.how.tunnel.slow_consumer.after = d.one_of({200ms, 2000ms});
  b.how.tunnel.frames = d.one_of({frames::off, frames::observe, frames::observe, frames::enforce});
  b.how.failover.on = d.chance(80) ? retry::error | retry::timeout | retry::invalid_header : 0u;

  bool much = carries_much(b.client_link);
  std::size_t largest = 300;
  std::shared_ptr<talker> client, server;
  std::string early_from_server;
  static const char* const names[] = {"b1:1000", "b2:1000", "b3:1000"};
  b.backends.clear();
  for (std::size_t i = 0; i <= d.draw(0, 2); ++i) {
    b.backends.push_back(at(names[i]));
    auto& backend = b.w.at(names[i]);
    backend.does = d.chance(80)   ? listener::kind::accepts
                   : d.chance(50) ? listener::kind::refuses
                                  : listener::kind::hangs;
    backend.delay = d.time(100ms);
    backend.link = d.link();
    much = much && carries_much(backend.link);
    const auto what = d.draw(0, 11);
    backend.on_accept = answering([&, what](peer& self, const request_head& head) {
      if (what <= 7) {
        auto who = self.shared_from_this();
        b.w.after(d.time(100ms), [&, who, head] {
          if (who->over()) return;
          server = std::make_shared<talker>(b.w, d, who, frame_sender::server, largest);
          if (d.chance(20)) who->send("HTTP/1.1 103 Early Hints\r\n\r\n");
          who->send(accepting(head));
          server->say(server->some_frames());
          server->begin(0);
        });
      } else if (what == 8) {
        self.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
      } else if (what == 9) {
        self.send(make_response(403, sample(500)));
      } else if (what == 10) {
        self.fin();
      } else {
        self.reset();
      }
    });
  }

  if (much) largest = 70'000;

  // The client speaks at once, in the request or right behind it, or when it has its 101.
  const bool early = d.chance(60);
  std::string in_request;
  talker scratch(b.w, d, nullptr, frame_sender::client, std::min<std::size_t>(largest, 10'000));
  if (early) in_request = scratch.some_frames();
  const auto cut = d.draw(0, in_request.size());
  b.request += in_request.substr(0, cut);
  b.start();
  client = std::make_shared<talker>(b.w, d, b.client, frame_sender::client, largest);
  client->expected = in_request;
  b.client->send(std::string_view(in_request).substr(cut));
  b.client->on_receive = [&](peer& self) {
    const auto [answer, at] = final_response(self);
    if (answer.head.status == 101) client->begin(at + answer.size);
  };

  // Somebody may interfere.
  const auto interference = d.draw(0, 11);
  bool interfered = false;
  b.w.after(d.time(4s), [&] {
    if (b.end.ended()) return;
    interfered = interference < 6;
    if (interference == 0) b.end.stop.emit(asio::cancellation_type::terminal);
    for (const auto& each : b.sessions) {
      if (interference == 1) each.drain();
      if (interference == 2) each.abort();
      if (interference == 3) each.drain({.code = 0});
      if (interference == 4) each.drain({.deadline = d.time(2s), .spread = d.time(3s), .code = 1012});
      if (interference == 5) each.close(1008, "policy");
    }
  });

  // Two that answer every ping may go on for ever.
  b.w.after(5min, [&] {
    if (b.end.ended()) return;
    client->rude = true;
    b.client->reset();
  });
  const auto limit = b.w.now() + 1h;
  while (b.w.step(limit)) {
    if (!server) continue;
    const auto lives = [](const connection& c) { return c.open(0) && c.open(1) && !c.fin_sent(0); };
    if (!lives(b.client->wire()) || !lives(server->who().wire()))
      continue;  // from then on bytes may be dropped
    const auto in = b.client->wire().read_by(0) + cut;
    const auto out = server->who().wire().written_by(0);
    const auto back_in = server->who().wire().read_by(0);
    const auto back_out = b.client->wire().written_by(0);
    if (in > out + 100'000 || back_in > back_out + 100'000) {
      expect(false, "too much is buffered");
      break;
    }
  }
  expect(b.end.ended(), "it never ends");
  if (!b.end.ended()) return faults;
  for (auto& each : b.faults()) faults.push_back(std::move(each));

  const auto& r = b.result();
  if (!b.tunnelled()) {
    const bool something = b.client->received.size() > final_response(*b.client).second;
    expect(r.committed || r.status == 0 || !something, "something was sent, and it is not committed");
    return faults;
  }
  expect(r.status == 101, "the status of a tunnel is not 101");
  expect(b.sessions.size() == 1, "established " + std::to_string(b.sessions.size()) + " times");
  const auto got_server = passed(server->who().received, client->expected);
  const auto got_client = passed(
      std::string_view(b.client->received).substr(std::min(client->tunnel_at, b.client->received.size())),
      server->expected);
  const bool begun = client->tunnel_at != 0;
  expect(is_prefix(got_server, client->expected), "the backend got what the client did not send");
  if (begun) expect(is_prefix(got_client, server->expected), "the client got what the backend did not send");
  const bool clean = r.cause == end_cause::closed && !r.error && t.max_lifetime == 0s &&
                     r.who != side::local && !client->rude && !server->rude && !interfered;
  if (clean) {
    expect(got_server == client->expected, "something of the client's is lost");
    expect(got_client == server->expected, "something of the backend's is lost");
  }
  if (r.cause == end_cause::aborted) expect(r.error == errc::cancelled, "aborted without saying so");
  if (b.streams == tiers::readiness) {
    expect(r.from_client.bytes == b.client->wire().read_by(0) + cut, "bytes of the client were not counted");
  }
  return faults;
}

// ---- Plain HTTP: many requests on one connection.

asio::awaitable<void> serve(world& w, stream down, upstream group, std::shared_ptr<const route> how,
                            std::vector<forward_result>& results) {
  std::string rest;
  for (;;) {
    auto read = co_await async_read_head(down, std::move(rest), {.world = &w}, asio::use_awaitable);
    if (read.error) co_return;
    exchange what;
    what.head = std::move(read.head);
    what.early = std::move(read.early);
    what.how = how;
    what.world = &w;
    auto result = co_await async_forward(down, group, std::move(what), sim::dialer(w), asio::use_awaitable);
    std::error_code error;
    if (!result.committed && result.status != 0) {
      auto answer = make_response(result.status, "from the proxy", {}, !result.keep_alive);
      const send_options options{.close = !result.keep_alive, .world = &w};
      co_await async_send(down, std::move(answer), options, asio::redirect_error(asio::use_awaitable, error));
    }
    const bool goes_on = result.keep_alive && !error;
    rest = result.leftover;
    results.push_back(std::move(result));
    if (!goes_on) co_return;
  }
}

std::vector<std::string> many_requests(std::uint64_t seed) {
  dice d(seed);
  world w(seed);
  std::vector<std::string> faults;
  auto expect = [&](bool holds, std::string what) {
    if (!holds) faults.push_back(std::move(what));
  };
  route how;
  auto& t = how.tunnel.timeouts;
  t.connect = 1s;
  t.response = t.client_body = 5s;
  how.failover.on = retry::error | retry::timeout | retry::http_503 | retry::non_idempotent;
  std::vector<backend_options> list;
  std::vector<std::string> request_bodies_wrong;
  const auto client_link = d.link();
  bool much = carries_much(client_link);
  for (const char* name : {"b1:1000", "b2:1000"}) {
    list.push_back({.name = name, .max_fails = 0});
    auto& backend = w.at(name);
    backend.link = d.link();
    much = much && carries_much(backend.link);
    backend.delay = d.time(50ms);
    backend.does = d.chance(85) ? listener::kind::accepts : listener::kind::refuses;
    // The target says what to answer, and how: /SEED/SIZE/FRAMING/BODY; the body's bytes follow from it too.
    backend.on_accept = answering([&](peer& self, const request_head& head) {
      unsigned long long id = 0, size = 0, framing = 0, body_size = 0;
      std::sscanf(head.target.c_str(), "/%llu/%llu/%llu/%llu", &id, &size, &framing, &body_size);
      if (d.chance(10)) return self.reset();
      const auto wanted = sample(body_size, id);
      const bool is_chunked = head.fields.has_token("Transfer-Encoding", "chunked");
      struct upload {
        body_reader reader;
        std::string body;
      };
      const auto coming = std::make_shared<upload>();
      coming->reader = body_reader(is_chunked ? body_framing{body_framing::kind::chunked}
                                              : body_framing{body_framing::kind::length, body_size});
      self.on_receive = [&, id, size, framing, wanted, coming](peer& again) {
        if (again.over()) return;
        for (std::string_view rest = again.received; !rest.empty() && !coming->reader.done();) {
          const auto piece = coming->reader.feed(rest);
          coming->body += piece.data;
          rest.remove_prefix(piece.consumed);
        }
        again.received.clear();
        if (!is_prefix(coming->body, wanted)) request_bodies_wrong.push_back(coming->body);
        if (!coming->reader.done()) return;
        again.on_receive = nullptr;
        if (framing == 4) return again.send(make_response(503, "busy"));
        const auto answer = sample(size, id + 1);
        if (d.chance(20)) again.send("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n");
        if (framing == 0) return again.send(make_response(200, answer));
        if (framing == 1)
          return again.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                            chunked(answer, d.draw(1, 500)));
        if (framing == 2) return again.send("HTTP/1.1 204 No Content\r\n\r\n");
        again.send("HTTP/1.1 200 OK\r\n\r\n" + answer);
        again.fin();
      };
      self.notify();
    });
  }
  upstream group(list);

  struct asked {
    std::uint64_t id, size, framing;
  };
  std::vector<asked> requests;
  std::string wire;
  for (auto count = d.draw(1, 6); count != 0; --count) {
    asked q{d.draw(1, 1000), d.draw(0, d.chance(10) && much ? 50'000 : 300), d.draw(0, 4)};
    const std::size_t body_size = d.chance(50) ? d.draw(0, d.chance(10) && much ? 30'000 : 200) : 0;
    const auto body = sample(body_size, q.id);
    const bool in_chunks = body_size != 0 && d.chance(50);
    wire += (body_size != 0 ? "POST /" : "GET /") + std::to_string(q.id) + '/' + std::to_string(q.size) +
            '/' + std::to_string(q.framing) + '/' + std::to_string(body_size) + " HTTP/1.1\r\nHost: a\r\n";
    if (in_chunks) wire += "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, d.draw(1, 300));
    else wire += "Content-Length: " + std::to_string(body_size) + "\r\n\r\n" + body;
    requests.push_back(q);
  }
  auto [down, client] = w.connect<stream>(client_link);
  std::vector<forward_result> results;
  bool ended = false;
  asio::co_spawn(w.executor(), serve(w, std::move(down), group, route::make(how), results),
                 [&](std::exception_ptr threw) {
                   ended = true;
                   expect(threw == nullptr, "the host threw");
                 });
  for (std::size_t at = 0; at != wire.size();) {
    const auto n = d.chance(50) ? wire.size() - at : d.draw(1, wire.size() - at);
    w.after(d.time(1s), [] {});
    w.run_for(d.time(200ms));
    client->send(wire.substr(at, n));
    at += n;
  }
  w.run_for(2min);
  client->fin();
  w.run(1h);

  expect(ended, "the host never ends");
  expect(w.timers() == 0 && w.dials() == 0 && w.open_streams() == 0, "something is left");
  expect(request_bodies_wrong.empty(), "a backend got what was not sent");
  for (const auto& each : group.backends()) expect(each->active() == 0, "a lease is left");
  // The answers, in their order: each right, or the proxy's own.
  std::string_view rest = client->received;
  std::size_t answered = 0;
  while (!rest.empty()) {
    const auto seen = read_response(rest, "GET", client->over());
    if (!seen.whole) {
      expect(answered < results.size() && (results[answered].error || client->broken),
             "half an answer, and no error");
      break;
    }
    rest.remove_prefix(seen.size);
    if (seen.head.status < 200) continue;
    if (answered == requests.size()) {
      expect(false, "more answers than questions");
      break;
    }
    const auto& q = requests[answered];
    if (seen.head.status == 200) expect(seen.body == sample(q.size, q.id + 1), "a wrong answer");
    else if (seen.head.status == 204) expect(q.framing == 2, "a 204 that was not asked for");
    else if (seen.head.status == 503)
      expect(q.framing == 4 && seen.body == "busy", "a 503 that was not asked for");
    else expect(seen.head.status == 502 && seen.body == "from the proxy", "a strange answer");
    ++answered;
  }
  // None is lost while the connection goes on.
  const bool went_on = !results.empty() && results.back().keep_alive;
  if (went_on) expect(answered == requests.size(), "a request was not answered");
  return faults;
}

}  // namespace

TEST_CASE("property: a WebSocket's bytes come out as they went in, and it always ends") {
  for_each_seed([](std::uint64_t seed) { return one_websocket(seed); });
}

TEST_CASE("property: a proxy with a fault is found out") {
  const auto first_seed_that_finds = [](sabotage fault, const char* name) {
    for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
      const auto faults = one_websocket(seed, fault);
      if (faults == none) continue;
      WARN(name << ": found by seed " << seed << ": " << faults.front());
      return seed;
    }
    return std::uint64_t{0};
  };
  CHECK(first_seed_that_finds(sabotage::close_inside_frame, "a Close inside a frame") != 0);
  CHECK(first_seed_that_finds(sabotage::lost_early_byte, "a lost early byte") != 0);
  CHECK(first_seed_that_finds(sabotage::deaf_after_fin, "a half-close that drops data") != 0);
}

TEST_CASE("property: every request on a connection gets its own answer, or the connection ends") {
  for_each_seed(many_requests);
}
