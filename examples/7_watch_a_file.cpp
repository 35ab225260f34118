// A reverse proxy whose backends stand in a file, one "HOST:PORT [weight=N]" per line: change the file, and
// the proxy follows. Tunnels of a backend that leaves are drained; every backend is probed and left out while
// it fails.
//
//   7_watch_a_file 127.0.0.1:8080 backends.txt
//
// Left out: inotify. The file is looked at once in a while, which works on every file system.

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <wsproxy/wsproxy.hpp>

using namespace std::chrono_literals;
using backend_list = std::vector<wsproxy::backend_options>;

backend_list read_backends(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  backend_list list;
  std::string line, word;
  for (int number = 1; std::getline(file, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    wsproxy::backend_options one;
    if (!(words >> one.name)) continue;
    while (words >> word) {
      std::istringstream value(word.starts_with("weight=") ? word.substr(7) : "");
      if (!(value >> one.weight) || !value.eof())
        throw std::runtime_error(path + ":" + std::to_string(number) + ": \"" + word + "\" is not weight=N");
    }
    list.push_back(std::move(one));
  }
  return list;
}

// What any source of backends looks like: it tells the whole list whenever that has changed.
class file_watch : public wsproxy::discovery {
 public:
  file_watch(asio::io_context& context, std::string path) : timer_(context), path_(std::move(path)) {}

  void start(sink to) override {
    to_ = std::move(to);
    look();
  }

 private:
  void look() {
    std::error_code gone;
    const auto changed = std::filesystem::last_write_time(path_, gone);
    if (gone || changed != seen_) tell();
    seen_ = changed;
    timer_.expires_after(200ms);
    timer_.async_wait([this](std::error_code error) {
      if (!error) look();
    });
  }
  void tell() {
    try {
      to_.found(read_backends(path_));
    } catch (const std::runtime_error& error) {
      to_.failed(error.what());
    }
  }

  asio::steady_timer timer_;
  const std::string path_;
  std::filesystem::file_time_type seen_{};
  sink to_;
};

int main(int argc, char** argv) {
  try {
    if (argc != 3) {
      std::cerr << "usage: 7_watch_a_file LISTEN FILE\n";
      return 2;
    }
    const wsproxy::upstream backends(read_backends(argv[2]), wsproxy::consistent_hash());
    asio::io_context context(1);
    wsproxy::gateway gateway(context.get_executor(),
                             [&](const wsproxy::inbound&) { return wsproxy::pass{backends}; });
    std::cout << "listening on " << gateway.listen(argv[1]) << std::endl;

    wsproxy::follow_options how;
    how.removed = {
        .tunnels = wsproxy::removal::kind::drain, .sessions = {gateway.sessions()}, .how = {.spread = 2s}};
    how.on_change = [](const wsproxy::backend_changes& what) {
      for (const auto& each : what.added) std::cout << each->name() << " came" << std::endl;
      for (const auto& each : what.removed) std::cout << each->name() << " left" << std::endl;
    };
    how.on_failure = [](std::string_view why) { std::cout << "kept the old list: " << why << std::endl; };
    std::optional<wsproxy::follower> follows;
    follows.emplace(backends, std::make_unique<file_watch>(context, argv[2]), how);

    wsproxy::health_check_options checks{.probe = {.how = wsproxy::probe_options::kind::tcp}, .interval = 1s};
    checks.on_change = [](const wsproxy::health_change& now) {
      std::cout << now.which->name() << (now.healthy ? " is up" : " is down: " + now.last.error.message())
                << std::endl;
    };
    std::optional<wsproxy::health_checker> health;
    health.emplace(context.get_executor(), backends, checks);

    asio::signal_set signals(context, SIGINT, SIGTERM);
    signals.async_wait([&](std::error_code, int) {
      follows.reset();
      health.reset();
      gateway.drain({.deadline = 10s});
    });
    context.run();
  } catch (const std::exception& error) {
    std::cerr << "7_watch_a_file: " << error.what() << '\n';
    return 1;
  }
}
