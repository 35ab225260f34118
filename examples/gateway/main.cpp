// wsproxy-gateway: serves an nginx configuration.
#include <csignal>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <wsproxy/version.hpp>

#include "demo.hpp"
#include "directives.hpp"
#include "loader.hpp"
#include "serving.hpp"

namespace {

using namespace wsproxy_gateway;

constexpr std::string_view usage = R"(usage: wsproxy-gateway [-c FILE] [-t]

Serves an nginx configuration: WebSockets and plain HTTP to backends. Without -c it serves a demonstration: a page
and two WebSocket echo servers, on port 8080.

  -c FILE         the configuration
  -t              check it and say everything that is wrong with it
  --listen ADDR   where the demonstration listens: a port, HOST:PORT or [IPV6]:PORT
  --directives    list the directives that are understood, ignored and refused
  -v, -V          the version
  -h, --help      this text

It stays in the foreground and logs to standard error. SIGTERM, SIGINT and SIGQUIT end it when its connections have
ended, or after worker_shutdown_timeout; a second one ends it at once. WebSockets get a Close frame where the file
says websocket_drain, else they are left to end by themselves, as nginx leaves them on SIGQUIT.
Exit status: 0 it ended as asked; 1 it cannot serve; 2 wrong usage.
)";

struct arguments {
  std::optional<std::string> file;
  std::optional<std::string> listen;
  bool test = false;
};

int wrong_usage(std::string_view why) {
  std::cerr << "wsproxy-gateway: " << why << "\n\n" << usage;
  return 2;
}

void print(const diagnostics& report) {
  for (const auto& one : report.sorted()) std::cerr << one.to_string() << "\n";
}

/// What the demonstration's address is called in a browser.
std::string url_of(std::string at) {
  for (const std::string_view any : {"0.0.0.0:", "[::]:"})
    if (at.starts_with(any)) at.replace(0, any.size(), "localhost:");
  return fmt::format("http://{}/", at);
}

int run_file(const arguments& given) {
  auto loaded = load_file(*given.file);
  print(loaded.report);
  if (!loaded.config) {
    std::cerr << "wsproxy-gateway: " << *given.file << ": " << loaded.report.errors()
              << (loaded.report.errors() == 1 ? " error\n" : " errors\n");
    return 1;
  }
  if (given.test) {
    std::cerr << "wsproxy-gateway: " << *given.file << " is fine\n";
    return 0;
  }
  if (loaded.config->servers.empty()) {
    std::cerr << "wsproxy-gateway: " << *given.file << ": there is no server in it\n";
    return 1;
  }
  serving_options options;
  options.on_ready = [](const std::vector<std::string>& addresses) {
    for (const auto& one : addresses) std::cerr << "wsproxy-gateway: listening on " << one << "\n";
  };
  return serve(loaded.config, options);
}

int run_demo(const arguments& given) {
  demo backends;
  const auto listen = given.listen.value_or("8080");
  auto loaded = load_text(backends.configuration(listen), "(demonstration)");
  if (!loaded.config)
    return wrong_usage(fmt::format(R"(--listen takes a port, HOST:PORT or [IPV6]:PORT, not "{}")", listen));
  if (given.test) return 0;
  serving_options options{.close_code = 1001};
  options.on_ready = [](const std::vector<std::string>& addresses) {
    std::cerr << "wsproxy-gateway: the demonstration is at " << url_of(addresses.front()) << "\n";
  };
  return serve(loaded.config, options);
}

}  // namespace

int main(int count, char** values) {
  std::signal(SIGPIPE, SIG_IGN);  // who reads a log may go
  const std::vector<std::string_view> words(values + 1, values + count);
  arguments given;
  for (std::size_t i = 0; i != words.size(); ++i) {
    const auto word = words[i];
    if (word == "-h" || word == "--help") return std::cout << usage, 0;
    if (word == "-v" || word == "-V") return std::cout << "wsproxy-gateway " << wsproxy::version() << "\n", 0;
    if (word == "--directives") return std::cout << describe_directives(), 0;
    if (word == "-t") {
      given.test = true;
    } else if (word == "-c" || word == "--listen") {
      if (i + 1 == words.size()) return wrong_usage(fmt::format("{} needs a value", word));
      (word == "-c" ? given.file : given.listen) = words[++i];
    } else {
      return wrong_usage(fmt::format(R"(unknown argument "{}")", word));
    }
  }
  if (given.file && given.listen)
    return wrong_usage("--listen is for the demonstration; a file says listen itself");
  try {
    return given.file ? run_file(given) : run_demo(given);
  } catch (const std::exception& error) {  // the system has no memory, thread or descriptor left
    std::cerr << "wsproxy-gateway: " << error.what() << "\n";
    return 1;
  }
}
