// Loads a WebSocket proxy and says what that cost it: processor time and memory of the proxy's processes.
//
//   load MODE PORT PID[,PID...] [name=value...]
//
//   echo        connections size seconds rate   messages there and back, one in flight per connection; with a
//                                               rate (per second, all together), sent when they are due
//   handshakes  connections count polite        connect, upgrade, close: with a Close frame (polite=1), or
//                                               with FIN alone
//   tunnels     connections                     memory: open, after a 64 KiB message through each, after all
//                                               of them came back at once, after the end
//   idle        connections seconds             open and silent but for pongs
//
// Prints one line of JSON. Every reply's length is checked; an error ends it with status 1.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>
#include <vector>

#include "net.hpp"

namespace {

using namespace bench;
using clock_type = std::chrono::steady_clock;
using std::chrono::duration;

double since(clock_type::time_point begin) { return duration<double>(clock_type::now() - begin).count(); }

// ---- The proxy's processes.

struct processes {
  std::vector<std::string> ids;

  /// Seconds of processor time, user and system, of all threads.
  double cpu() const {
    double total = 0;
    for (const auto& id : ids)
      for (const auto& thread : std::filesystem::directory_iterator("/proc/" + id + "/task")) {
        double nanoseconds = 0;
        std::ifstream(thread.path() / "schedstat") >> nanoseconds;
        total += nanoseconds / 1e9;
      }
    return total;
  }
  /// KiB that are resident.
  double memory() const {
    double total = 0;
    for (const auto& id : ids) {
      std::ifstream in("/proc/" + id + "/smaps_rollup");
      std::string line;
      while (std::getline(in, line))
        if (line.starts_with("Rss:")) total += std::stod(line.substr(4));
    }
    return total;
  }
};

// ---- Clients.

enum class state { closed, connecting, upgrading, idle, echoing, closing };

struct client {
  int fd = -1;
  state at = state::closed;
  bool writable = true;  // false: waits for EPOLLOUT
  std::size_t sent = 0, received = 0;
  clock_type::time_point begun{};
};

std::string message, upgrade;
std::size_t reply_size;
char input[256 * 1024];

void prepare_message(std::size_t size) {
  char head[14];
  const auto n = make_header(head, 0x82, size, true);
  message.assign(head, n).append(size, 'x');
  reply_size = n - 4 + size;
}

[[noreturn]] void fail(const client& c, const std::string& what) {
  static constexpr const char* doing[] = {"closed", "connecting", "upgrading", "idle", "echoing", "closing"};
  std::fprintf(stderr, "load: %s while %s\n", what.c_str(), doing[static_cast<int>(c.at)]);
  std::exit(1);
}

class clients {
 public:
  clients(int port, std::size_t count)
      : all(count), at_(loopback(port)), set_(::epoll_create1(EPOLL_CLOEXEC)) {
    upgrade =
        "GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load/1.0\r\nOrigin: http://127.0.0.1\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
        std::string(key) + "\r\n\r\n";
  }

  void connect(client& c) {
    c = {};
    c.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c.fd < 0) die("load: socket");
    no_delay(c.fd);
    c.at = state::connecting;
    c.begun = clock_type::now();
    if (::connect(c.fd, reinterpret_cast<const sockaddr*>(&at_), sizeof at_) != 0 && errno != EINPROGRESS)
      fail(c, std::strerror(errno));
    watch(set_, c.fd, EPOLLOUT, &c);
    c.writable = false;
  }
  void close(client& c) {
    ::close(c.fd);
    c = {};
  }
  void send_message(client& c) {
    c.at = state::echoing;
    c.sent = c.received = 0;
    c.begun = clock_type::now();
    send_more(c);
  }
  void send_close(client& c) {
    char frame[8];
    auto n = make_header(frame, 0x88, 2, true);
    frame[n++] = 0x03;
    frame[n++] = static_cast<char>(0xe8);
    c.at = state::closing;
    if (::send(c.fd, frame, n, MSG_NOSIGNAL) != static_cast<ssize_t>(n)) fail(c, std::strerror(errno));
  }

  /// Handles what is there; calls opened(c), replied(c) and ended(c).
  template <class Events> void turn(Events& on, std::chrono::nanoseconds wait) {
    epoll_event events[256];
    const timespec time{wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
    const int n = ::epoll_pwait2(set_, events, 256, &time, nullptr);
    for (int i = 0; i < n; ++i) {
      auto& c = *static_cast<client*>(events[i].data.ptr);
      if ((events[i].events & EPOLLOUT) != 0) {
        if (c.at == state::connecting) start_upgrade(c);
        else send_more(c);
      }
      if (c.at != state::closed && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(c, on);
    }
  }

  std::vector<client> all;
  std::uint64_t pongs = 0;

 private:
  void want(client& c, bool to_write) {
    if (c.writable != to_write) return;
    c.writable = !to_write;
    epoll_event interest{};
    interest.events = to_write ? EPOLLIN | EPOLLOUT : EPOLLIN;
    interest.data.ptr = &c;
    ::epoll_ctl(set_, EPOLL_CTL_MOD, c.fd, &interest);
  }
  void start_upgrade(client& c) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) fail(c, std::strerror(error));
    want(c, false);
    c.at = state::upgrading;
    if (::send(c.fd, upgrade.data(), upgrade.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(upgrade.size()))
      fail(c, std::strerror(errno));
  }
  void send_more(client& c) {
    while (c.sent != message.size()) {
      const auto n =
          ::send(c.fd, message.data() + c.sent, message.size() - c.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno == EAGAIN) return want(c, true);
      if (n < 0) fail(c, std::strerror(errno));
      c.sent += static_cast<std::size_t>(n);
    }
    want(c, false);
  }
  template <class Events> void read(client& c, Events& on) {
    const auto got = ::recv(c.fd, input, sizeof input, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0 && c.at == state::closing) return on.ended(c);
    if (got <= 0) fail(c, got == 0 ? "end" : std::strerror(errno));
    const std::string_view bytes(input, static_cast<std::size_t>(got));
    switch (c.at) {
    case state::upgrading:
      if (!bytes.starts_with("HTTP/1.1 101 ") || !bytes.ends_with("\r\n\r\n"))
        fail(c, "the answer " + std::string(bytes.substr(0, bytes.find('\r'))));
      c.at = state::idle;
      return on.opened(c);
    case state::echoing:
      if (c.received == 0 && bytes[0] != message[0]) fail(c, "a frame that was not sent");
      c.received += bytes.size();
      if (c.received > reply_size) fail(c, "more than was sent");
      if (c.received < reply_size) return;
      c.at = state::idle;
      return on.replied(c);
    case state::idle: return answer_ping(c, bytes);
    case state::closing: return;
    default: fail(c, "bytes");
    }
  }
  void answer_ping(client& c, std::string_view bytes) {
    const auto h = parse(bytes.data(), bytes.size());
    if (h.size == 0 || h.first != 0x89 || h.size + h.length != bytes.size())
      fail(c, "bytes that are no ping");
    char pong[256];
    const auto n = make_header(pong, 0x8a, h.length, true);
    std::memcpy(pong + n, bytes.data() + h.size, static_cast<std::size_t>(h.length));
    if (::send(c.fd, pong, n + static_cast<std::size_t>(h.length), MSG_NOSIGNAL) < 0)
      fail(c, std::strerror(errno));
    ++pongs;
  }

  sockaddr_in at_;
  int set_;
};

// ---- Modes.

using numbers = std::map<std::string, double>;
constexpr auto patience = std::chrono::seconds(30);

struct nothing {
  void opened(client&) {}
  void replied(client&) {}
  void ended(client&) {}
};

/// Brings clients [from, to) to `done`, at most `at_once` on their way at a time.
template <class Begin> struct in_turn : nothing {
  clients& with;
  Begin begin;
  std::size_t next, to, finished;
  in_turn(clients& c, std::size_t from, std::size_t until, std::size_t at_once, Begin how)
      : with(c), begin(how), next(from), to(until), finished(from) {
    const auto started = clock_type::now();
    while (next != to && next - from < at_once) begin(with.all[next++]);
    while (finished != to) {
      with.turn(*this, std::chrono::milliseconds(100));
      if (clock_type::now() - started > patience) fail(with.all[from], "out of patience");
    }
  }
  void step() {
    ++finished;
    if (next != to) begin(with.all[next++]);
  }
  void opened(client&) { step(); }
  void replied(client&) { step(); }
};

void open_all(clients& c, std::size_t from, std::size_t to, std::size_t at_once = 64) {
  in_turn(c, from, to, at_once, [&](client& one) { c.connect(one); });
}

double at_rank(std::vector<float>& sorted, double rank) {
  return sorted.empty()
             ? 0
             : static_cast<double>(
                   sorted[static_cast<std::size_t>(rank * static_cast<double>(sorted.size() - 1))]);
}

numbers echo(const processes& proxy, int port, numbers& given) {
  const double seconds = given["seconds"], rate = given["rate"];
  clients c(port, static_cast<std::size_t>(given["connections"]));
  prepare_message(static_cast<std::size_t>(given["size"]));
  struct : nothing {
    clients* c;
    bool again;
    std::vector<float> times{};  // microseconds
    void replied(client& one) {
      times.push_back(static_cast<float>(since(one.begun) * 1e6));
      if (again) c->send_message(one);
    }
  } on{{}, &c, rate == 0};
  open_all(c, 0, c.all.size());

  clock_type::time_point begin = clock_type::now();
  double due = 0, cpu = 0, elapsed = 0;
  std::size_t next = 0;
  const double warm = std::min(0.3, seconds / 4);
  bool measuring = false;
  if (rate == 0)
    for (auto& one : c.all) c.send_message(one);
  for (;;) {
    elapsed = since(begin);
    if (!measuring && elapsed >= warm) {
      measuring = true;
      begin = clock_type::now();
      due = elapsed = 0;
      on.times.clear();
      cpu = proxy.cpu();
    }
    if (measuring && elapsed >= seconds) break;
    auto wait = std::chrono::nanoseconds(100'000'000);
    if (rate != 0) {
      for (; elapsed >= due; due += 1 / rate) {
        for (std::size_t i = 0; i != c.all.size() && c.all[next].at != state::idle; ++i)
          next = (next + 1) % c.all.size();
        if (c.all[next].at == state::idle) c.send_message(c.all[next]);
        next = (next + 1) % c.all.size();
      }
      wait = std::chrono::nanoseconds(static_cast<long>((due - elapsed) * 1e9));
    }
    c.turn(on, wait);
  }
  cpu = proxy.cpu() - cpu;
  std::sort(on.times.begin(), on.times.end());
  return {{"count", static_cast<double>(on.times.size())},
          {"cpu", cpu},
          {"seconds", elapsed},
          {"bytes", 2 * given["size"] * static_cast<double>(on.times.size())},
          {"p50", at_rank(on.times, .5)},
          {"p99", at_rank(on.times, .99)}};
}

numbers handshakes(const processes& proxy, int port, numbers& given) {
  const auto count = static_cast<std::size_t>(given["count"]);
  clients c(port, static_cast<std::size_t>(given["connections"]));
  struct : nothing {
    clients* c;
    bool polite;
    std::size_t left, open;
    void opened(client& one) {
      if (polite) return c->send_close(one);
      ended(one);
    }
    void ended(client& one) {
      c->close(one);
      if (left == 0) return void(--open);
      --left;
      c->connect(one);
    }
  } on{{}, &c, given["polite"] != 0, count, c.all.size()};
  const auto warm = std::min<std::size_t>(count, 500);
  double cpu = 0;
  auto begin = clock_type::now();
  const auto started = begin;
  bool measuring = false;
  on.left -= std::min(on.left, c.all.size());
  for (auto& one : c.all) c.connect(one);
  while (on.open != 0) {
    c.turn(on, std::chrono::milliseconds(100));
    if (!measuring && count - on.left >= warm) {
      measuring = true;
      on.left = count;
      begin = clock_type::now();
      cpu = proxy.cpu();
    }
    if (clock_type::now() - started > patience) fail(c.all[0], "out of patience");
  }
  const double elapsed = since(begin);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the last of them ends
  return {{"count", static_cast<double>(count)}, {"cpu", proxy.cpu() - cpu}, {"seconds", elapsed}};
}

double settled(const processes& proxy) {
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  return proxy.memory();
}

numbers tunnels(const processes& proxy, int port, numbers& given) {
  numbers found;
  found["base"] = proxy.memory();
  clients c(port, static_cast<std::size_t>(given["connections"]));
  const auto n = c.all.size(), few = n / 5;
  const auto per_tunnel = [&](double memory, double from) {
    return (memory - from) / static_cast<double>(n - few);
  };
  open_all(c, 0, few);
  const double at_few = settled(proxy);
  open_all(c, few, n);
  const double open = settled(proxy);
  found["open"] = per_tunnel(open, at_few);
  prepare_message(64 * 1024);
  in_turn(c, 0, n, 64, [&](client& one) { c.send_message(one); });
  found["burst"] = (settled(proxy) - open) / static_cast<double>(n);

  const double cpu = proxy.cpu();
  for (auto& one : c.all) c.close(one);
  const auto begin = clock_type::now();
  open_all(c, 0, n, n);
  found["storm"] = since(begin);
  found["storm_cpu"] = (proxy.cpu() - cpu) / static_cast<double>(n);
  found["after_storm"] = settled(proxy);
  for (auto& one : c.all) c.close(one);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  found["left"] = settled(proxy) - found["base"];
  return found;
}

numbers idle(const processes& proxy, int port, numbers& given) {
  clients c(port, static_cast<std::size_t>(given["connections"]));
  open_all(c, 0, c.all.size());
  nothing on;
  double cpu = proxy.cpu();
  const auto pongs = c.pongs;
  const auto begin = clock_type::now();
  while (since(begin) < given["seconds"]) c.turn(on, std::chrono::milliseconds(100));
  cpu = proxy.cpu() - cpu;
  return {{"count", static_cast<double>(c.pongs - pongs)}, {"cpu", cpu}, {"seconds", since(begin)}};
}

}  // namespace

int main(int count, char** values) {
  const std::map<std::string, numbers (*)(const processes&, int, numbers&)> modes{
      {"echo", echo}, {"handshakes", handshakes}, {"tunnels", tunnels}, {"idle", idle}};
  if (count < 4 || !modes.contains(values[1])) {
    std::fprintf(stderr, "usage: load echo|handshakes|tunnels|idle PORT PID[,PID...] [name=value...]\n");
    return 2;
  }
  raise_descriptor_limit();
  processes proxy;
  std::istringstream ids(values[3]);
  for (std::string id; std::getline(ids, id, ',');) proxy.ids.push_back(id);
  numbers given;
  for (int i = 4; i < count; ++i) {
    const std::string_view word = values[i];
    const auto equals = word.find('=');
    given[std::string(word.substr(0, equals))] = std::stod(std::string(word.substr(equals + 1)));
  }
  const char* separator = "{";
  for (const auto& [name, value] : modes.at(values[1])(proxy, std::atoi(values[2]), given)) {
    std::printf("%s\"%s\": %.9g", separator, name.c_str(), value);
    separator = ", ";
  }
  std::puts("}");
}
