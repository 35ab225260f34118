#include "serving.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iostream>
#include <optional>
#include <system_error>
#include <thread>

#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <fmt/format.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <wsproxy/proxy/discovery.hpp>
#ifdef __linux__
#include <wsproxy/proxy/edge_context.hpp>
#endif
#include <wsproxy/proxy/environment.hpp>

#include "logging.hpp"
#include "router.hpp"
#include "signals.hpp"

namespace wsproxy_gateway {
namespace {

/// Two descriptors per tunnel: as many as the system lets us have.
void raise_descriptor_limit() {
  ::rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // if not, the soft limit stays
}

/// Looks every second, and gives the memory of connections back to the system once most of those that were
/// open have ended.
class memory_keeper final : wsproxy::timer {
 public:
  memory_keeper(asio::any_io_executor executor, std::function<std::size_t()> open)
      : executor_(std::move(executor)), world_(wsproxy::environment_of(executor_)), open_(std::move(open)) {
    look();
  }
  ~memory_keeper() { world_.disarm(*this); }

 private:
  static constexpr std::size_t few = 500;

  void look() {
    const auto open = open_();
    most_ = std::max(most_, open);
    if (most_ >= few && open <= most_ / 2) {
      most_ = open;
#ifdef __GLIBC__
      ::malloc_trim(0);
#endif
    }
    world_.arm(*this, world_.now() + std::chrono::seconds(1));
  }
  void expired() override {
    asio::post(executor_, [this] { look(); });
  }

  const asio::any_io_executor executor_;
  wsproxy::environment& world_;
  const std::function<std::size_t()> open_;
  std::size_t most_ = 0;
};

bool is_unix(const listener& one) { return one.address.starts_with("unix:"); }

/// As nginx does: who may connect is for the rights of the folder to say.
void open_to_all(const std::string& address) {
  const auto path = address.substr(std::string_view("unix:").size());
  if (::chmod(path.c_str(), 0666) != 0) throw std::system_error(errno, std::system_category(), address);
}

#ifdef __linux__
using worker_context = wsproxy::edge_context;
#else
using worker_context = asio::io_context;
#endif

/// A thread's share: a context and a gateway of its own.
struct worker {
  worker_context context{};
  std::optional<wsproxy::gateway> gateway{};
  std::thread thread{};
};

class server {
 public:
  explicit server(std::shared_ptr<const configuration> config)
      : config_(std::move(config)), errors_(config_->error_log.value_or(std::string())), accesses_(*config_) {
    for (unsigned i = 0; i != config_->worker_processes; ++i) {
      auto& one = *workers_.emplace_back(std::make_unique<worker>());
      one.gateway = make_gateway(one.context);
    }
  }

  /// Opens every port; false if one cannot be opened, after all were tried.
  bool open() {
    if (workers_.size() > 1 && !probe()) return false;
    bool all = true;
    for (auto& one : workers_) {
      const bool first = &one == &workers_.front();
      for (const auto& port : config_->listeners) {
        if (!first && is_unix(port)) continue;  // they come last, so that the others keep their numbers
        auto options = port.options;
        options.reuse_port = options.reuse_port || (workers_.size() > 1 && !is_unix(port));
        const auto at = listen(*one->gateway, port, options);
        all = all && at;
        if (at && first) addresses_.push_back(*at);
      }
    }
    return all;
  }

  const std::vector<std::string>& addresses() const { return addresses_; }

  int run(const serving_options& options) {
    follow_names();
    const asio::any_io_executor first = workers_.front()->context.get_executor();
    const ending_signals signals(first, [this, &options] { end(options); });
    const memory_keeper memory(first, [this] { return connections(); });
    for (std::size_t i = 1; i != workers_.size(); ++i)
      workers_[i]->thread = std::thread([context = &workers_[i]->context] { context->run(); });
    workers_.front()->context.run();
    for (std::size_t i = 1; i != workers_.size(); ++i) workers_[i]->thread.join();
    return 0;
  }

 private:
  /// [server … resolve] On the first thread; the upstreams are everybody's.
  void follow_names() {
    const auto executor = workers_.front()->context.get_executor();
    for (const auto& one : config_->upstreams) {
      if (one.resolved.empty()) continue;
      wsproxy::resolving_options how{.ipv4 = one.resolver.ipv4, .ipv6 = one.resolver.ipv6};
      if (one.resolver.valid) how.interval = *one.resolver.valid;
      wsproxy::follow_options then;
      then.on_failure = [this, name = one.name](std::string_view why) {
        errors_.message("warn", fmt::format(R"(upstream "{}": the last addresses stay: {})", name, why));
      };
      names_.emplace_back(one.group, std::make_unique<wsproxy::resolving>(executor, one.resolved, how), then);
    }
  }

  wsproxy::gateway make_gateway(worker_context& context) {
    const router routes(config_, [this](std::string_view text) { errors_.message("error", text); });
    wsproxy::gateway_options options;
    options.receive = [config = config_](const wsproxy::inbound& in) {
      return &config->hosts_at(in.listener, in.local).reception;
    };
    options.on_warning = [this](std::string_view text) { errors_.message("warn", text); };
    options.error_answer = [routes](int status, const std::error_code& why, const wsproxy::inbound& request) {
      return routes.error_answer(status, why, request);
    };
    if (!accesses_.empty())
      options.on_request = [this, routes](const wsproxy::inbound& request, int status, std::uint64_t sent,
                                          const wsproxy::forward_result* result) {
        accesses_.write(routes.access_logs(request), request, status, sent, result);
      };
    return {context.get_executor(), routes, std::move(options)};
  }

  /// With SO_REUSEPORT a second server would share a port unnoticed: it must be free first.
  bool probe() {
    worker_context context;
    bool all = true;
    auto trial = make_gateway(context);
    for (const auto& port : config_->listeners)
      if (!is_unix(port)) all = listen(trial, port, port.options).has_value() && all;
    trial.stop();
    context.run();
    return all;
  }

  std::optional<std::string> listen(wsproxy::gateway& where, const listener& port,
                                    const wsproxy::gateway::listen_options& options) const {
    try {
      auto at = where.listen(port.address, options);
      if (is_unix(port)) open_to_all(port.address);
      return at;
    } catch (const std::system_error& error) {
      std::cerr << "wsproxy-gateway: " << error.what() << "\n";
      return std::nullopt;
    }
  }

  /// At a signal.
  void end(const serving_options& options) {
    if (draining_) {
      for (auto& one : workers_) one->gateway->stop();
    } else {
      draining_ = true;
      drain(options);
    }
  }

  std::size_t connections() const {
    std::size_t open = 0;
    for (auto& one : workers_) open += one->gateway->stats().connections;
    return open;
  }

  void drain(const serving_options& options) {
    errors_.message("notice", fmt::format("ending; connections open: {}; a second signal closes them now",
                                          connections()));
    left_ = workers_.size();
    const wsproxy::gateway::drain_options how{
        .deadline = config_->worker_shutdown_timeout.value_or(wsproxy::duration::zero()),
        .code = options.close_code};
    for (auto& one : workers_)
      one->gateway->drain(how, [this] {
        if (--left_ == 0)
          for (auto& each : workers_) each->context.stop();
      });
  }

  const std::shared_ptr<const configuration> config_;
  const log_sink errors_;
  const access_logs accesses_;
  std::vector<std::string> addresses_;
  bool draining_ = false;
  std::atomic<std::size_t> left_{0};
  std::vector<std::unique_ptr<worker>> workers_;  // late: they use the rest until they end
  std::vector<wsproxy::follower> names_;          // last: they need a worker's context
};

}  // namespace

int serve(std::shared_ptr<const configuration> config, const serving_options& options) {
  raise_descriptor_limit();
  try {
    server all(std::move(config));
    if (!all.open()) return 1;
    if (options.on_ready) options.on_ready(all.addresses());
    return all.run(options);
  } catch (const std::system_error& error) {
    std::cerr << "wsproxy-gateway: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace wsproxy_gateway
