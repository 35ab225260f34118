// Where an upstream's list of backends comes from, when it does not stand still.
//
// `resolving` follows host names through the system's resolver. For anything else (Kubernetes, Consul, a
// file) derive from `discovery` and say what you found; a `follower` brings it to the upstream:
//
//   class from_consul : public wsproxy::discovery {
//     void start(sink to) override {
//       watch_ = consul_.watch("chat", [to](auto nodes) { to.found(backends_of(nodes)); });
//     }
//     ...
//   };
//   wsproxy::follower keeps_up(chat, std::make_unique<from_consul>(...));
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/ip/address.hpp>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/proxy/session.hpp>
#include <wsproxy/proxy/session_registry.hpp>
#include <wsproxy/upstream/backend.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace wsproxy {

/// What becomes of the live tunnels of a backend that has left the list.
struct removal {
  /// The ways there are.
  enum class kind {
    keep,                  ///< they live on, and end as all others do
    drain,                 ///< each gets a Close at a frame boundary, as `how` says
    close,                 ///< all at once: a Close where a frame boundary allows it now, and the end
  } tunnels = kind::keep;  ///< the one that is chosen
  /// Where they are: gateway::sessions() of every gateway that forwards to this upstream, or your own.
  std::vector<session_registry> sessions{};
  /// Of drain; code and reason also of close. 1012 is "service restart": clients may come again at once.
  drain_options how{.spread = std::chrono::seconds(10), .code = 1012, .reason = "the backend is gone"};
};

/// upstream::set_backends, and then ends the tunnels of those that are gone, as `then` says. Any thread. A
/// handshake with a removed backend that is under way is let be, and so is the tunnel that it becomes.
WSPROXY_EXPORT backend_changes replace_backends(upstream to, std::vector<backend_options> list,
                                                const removal& then);

/// A source of lists. Its destructor ends it.
class WSPROXY_EXPORT discovery {
 public:
  /// Both functions may be called on any thread, at any time, also when the receiver is gone (then nothing
  /// happens); copies are the same sink.
  struct sink {
    /// The whole list as it stands now. One that the upstream refuses is reported as a failure.
    std::function<void(std::vector<backend_options>)> found;
    /// The source cannot tell at present: the last list stays.
    std::function<void(std::string_view why)> failed;
  };
  virtual ~discovery() = default;
  /// Begins. Called once.
  virtual void start(sink to) = 0;
};

/// Looks up the addresses of a host: calls `done` once, on any thread, with an error or with what it found.
using lookup = std::function<void(const std::string& host,
                                  std::function<void(std::error_code, std::vector<asio::ip::address>)> done)>;

/// How names are looked up.
struct resolving_options {
  duration interval =
      std::chrono::seconds(30);  ///< from one answer to the next question, of each name by itself
  double jitter = 0.1;           ///< plus or minus this share of it: 0 … 1
  bool ipv4 = true;              ///< addresses of this kind are used
  bool ipv6 = true;              ///< and of this
  /// Who is asked. Empty: the system's resolver (getaddrinfo, on Asio's resolver thread), which knows no TTL.
  /// A resolver of your own replaces it.
  wsproxy::lookup lookup{};
  environment* world = nullptr;  ///< null: that of the executor's context
};

/// Backends given by host names: every address of a name is a backend with that name's options, found anew at
/// each interval; they share the name, as nginx has it. Addresses and Unix sockets in the list are passed on
/// as they are. An answer that fails, or is empty, keeps that name's last good one; a name that never had one
/// stays a name, which each dial looks up for itself. [server NAME resolve]
///
/// Questions and answers are handled on a strand of `executor`; looking up never blocks it. Destroy it before
/// the executor's context.
class WSPROXY_EXPORT resolving final : public discovery {
 public:
  /// Throws std::invalid_argument: an address that cannot be read, an interval that is not above zero, a
  /// jitter beyond 1.
  resolving(asio::any_io_executor executor, std::vector<backend_options> names,
            resolving_options options = {});
  ~resolving() override;
  void start(sink to) override;

 private:
  class state;
  std::shared_ptr<state> state_;
};

/// What a follower does beside keeping the list.
struct follow_options {
  removal removed{};  ///< what becomes of the tunnels of those that are gone
  /// After each list that changed something, on the source's thread. May destroy the follower if the source
  /// allows it.
  std::function<void(const backend_changes&)> on_change{};
  /// The source failed, or told a list that the upstream refuses; the last good list stays.
  std::function<void(std::string_view why)> on_failure{};
};

/// Keeps an upstream's list as a source says, for as long as it lives. No callback runs after its end.
class WSPROXY_EXPORT follower {
 public:
  /// Starts the source, which is the follower's from now on. Throws std::invalid_argument where there is
  /// none.
  follower(upstream to, std::unique_ptr<discovery> from, follow_options options = {});
  follower(follower&&) noexcept = default;         ///< the other follows nothing afterwards
  follower& operator=(follower&& other) noexcept;  ///< the same; ends what this one followed
  ~follower();

 private:
  class state;
  void end() noexcept;
  std::shared_ptr<state> state_;
  std::unique_ptr<discovery> source_;
};

}  // namespace wsproxy
