// What the tests of this folder share: a manual clock's times, backends in one line, whole requests.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <wsproxy/upstream/upstream.hpp>

namespace wsproxy::test {

/// So many milliseconds after some second of the clock.
inline time_point at(std::chrono::milliseconds since_start) {
  return time_point(std::chrono::seconds(5000) + since_start);
}
inline const time_point start = at(std::chrono::milliseconds(0));

inline backend_options server(std::string name, unsigned weight = 1) {
  return {.name = std::move(name), .weight = weight};
}

/// The name of the backend that a request of one attempt gets; "-" if there is none.
inline std::string pick_once(const upstream& from, std::string_view key = {}, time_point now = start) {
  pick_state state;
  const auto got = from.pick({.client = key, .hash_key = key}, state, now);
  return got ? got.backend()->name() : "-";
}

/// The names that `count` requests in a row get.
inline std::string picks(const upstream& from, int count, time_point now = start) {
  std::string all;
  for (int i = 0; i != count; ++i) all += (i == 0 ? "" : " ") + pick_once(from, {}, now);
  return all;
}

/// The names of all attempts of one request.
inline std::vector<std::string> attempts(const upstream& from, std::string_view key = {},
                                         time_point now = start) {
  pick_state state;
  std::vector<std::string> names;
  while (const auto got = from.pick({.client = key, .hash_key = key}, state, now))
    names.push_back(got.backend()->name());
  return names;
}

/// A request whose every attempt on `name` fails at `now`.
inline void fail_once(const upstream& from, std::string_view name, time_point now) {
  pick_state state;
  while (auto got = from.pick({}, state, now))
    if (got.backend()->name() == name) return got.failed(now);
}

}  // namespace wsproxy::test
