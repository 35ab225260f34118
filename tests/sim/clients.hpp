// Many clients of one upstream, who answer a Close as they must, or do not.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/proxy/session_registry.hpp>
#include <wsproxy/upstream/upstream.hpp>

#include "actors.hpp"
#include "world.hpp"

namespace sim {

struct clients {
  struct one {
    explicit one(stream s) : down(std::move(s)) {}
    stream down;
    std::shared_ptr<peer> who{};
    std::optional<wsproxy::forward_result> result{};
    std::optional<std::uint16_t> close_code{};
    time_point closed_at{};
  };

  clients(const std::vector<std::string>& backends, std::shared_ptr<wsproxy::balancer> method)
      : group(list(backends), std::move(method)) {}
  ~clients() { w.destroy_context(); }

  /// A list of these backends, which accept WebSockets from now on.
  std::vector<wsproxy::backend_options> list(const std::vector<std::string>& backends) {
    std::vector<wsproxy::backend_options> options;
    for (const auto& each : backends) {
      options.push_back({.name = each});
      w.at(each).on_accept = answering([](peer& self, const wsproxy::request_head& head) {
        self.send(accepting(head));
        self.received.clear();
        self.on_receive = [](peer& again) {
          const auto seen = read_frames(again.received);
          if (seen.frames.empty() || seen.frames.back().code != wsproxy::opcode::close || again.over())
            return;
          again.on_receive = nullptr;
          if (seen.frames.back().close_code() != 0)
            again.send(close_frame(1000, wsproxy::frame_sender::server));
          again.fin();
        };
      });
    }
    return options;
  }

  void open(std::size_t count) {
    for (; count != 0; --count) open_one();
    w.run_for(duration(500));
  }
  /// Its address is its number in `all`, from 1.
  void open_one() {
    auto [down, who] = w.connect<stream>();
    auto& it = all.emplace_back(std::move(down));
    it.who = who;
    who->on_receive = [this, &it](peer& self) {
      const auto head = self.received.find("\r\n\r\n");
      if (head == std::string::npos || it.close_code) return;
      const auto seen = read_frames(std::string_view(self.received).substr(head + 4));
      if (seen.frames.empty() || seen.frames.back().code != wsproxy::opcode::close) return;
      it.close_code = seen.frames.back().close_code();
      it.closed_at = w.now();
      if (!answer) return;
      self.send(close_frame(*it.close_code, wsproxy::frame_sender::client));
      self.fin();
      if (come_again) open_one();
    };
    wsproxy::exchange what;
    what.head = read_request(websocket_request());
    what.client = "192.0.2." + std::to_string(all.size());
    what.sessions = live;
    what.how = how;
    what.world = &w;
    wsproxy::async_forward(it.down, group, std::move(what), sim::dialer(w),
                           [&it](wsproxy::forward_result result) { it.result = std::move(result); });
  }

  /// Live tunnels by backend.
  std::map<std::string, int> spread() const {
    std::map<std::string, int> counts;
    for (const auto& each : live.sessions()) ++counts[each.backend()->name()];
    return counts;
  }
  /// Clients that got this code.
  std::size_t told(std::uint16_t code) const {
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [&](const one& each) { return each.close_code == code; }));
  }

  std::size_t ended() const {
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [](const one& each) { return each.result.has_value(); }));
  }

  world w;
  wsproxy::session_registry live;
  wsproxy::upstream group;
  std::deque<one> all;
  std::shared_ptr<const wsproxy::route> how =
      wsproxy::route::make({.tunnel = {.timeouts = {.idle = duration::zero()}}});
  bool come_again = false;
  bool answer = true;  ///< a Close
};

}  // namespace sim
