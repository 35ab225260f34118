#include "bench.hpp"

#include <wsproxy/http/head_parser.hpp>

namespace sim {

using namespace wsproxy;

bench::~bench() { w.destroy_context(); }

void bench::start() {
  begun = w.now();
  auto c = w.make_connection(client_link);
  c->spoil(fault);
  client = std::make_shared<peer>(w, c);
  client->start();
  const bool readiness = streams == tiers::readiness;
  if (readiness) ready_.emplace(w.executor(), c);
  else async_.emplace(w.executor(), c);

  exchange what;
  head_parser parser(head_parser::kind::request);
  const auto parsed = parser.feed(request);
  if (!parsed.done) throw std::logic_error("the sample request is no request");
  what.head = parser.take_request();
  what.early = request.substr(parsed.consumed);
  if (fault == sabotage::lost_early_byte && !what.early.empty()) what.early.erase(0, 1);
  what.client = "192.0.2.1";
  what.how = route::make(how);
  what.world = &w;
  what.sessions = live;
  what.on_established = on_established;
  if (watch_session)
    what.on_established = [this](session_handle handle) { sessions.push_back(std::move(handle)); };
  if (on_other_executor) end.executor = w.other().get_executor();
  if (!group) group.emplace(backends);

  end.initiating = true;
  probe<forward_result> handler(end);
  switch (streams) {
  case tiers::readiness:
    async_forward(*ready_, *group, std::move(what), dialer(w), std::move(handler));
    break;
  case tiers::async:
    async_forward(*async_, *group, std::move(what), basic_dialer<completion_stream>(w), std::move(handler));
    break;
  case tiers::async_downstream:
    async_forward(*async_, *group, std::move(what), dialer(w), std::move(handler));
    break;
  }
  end.initiating = false;
}

void bench::close_client() {
  if (ready_) ready_->close();
  if (async_) async_->close();
  down_closed = true;
}

void bench::destroy_context() { w.destroy_context(); }

std::vector<std::string> bench::faults() {
  auto out = end.faults;
  auto expect = [&](bool holds, std::string what) {
    if (!holds) out.push_back(std::move(what));
  };
  expect(end.calls == 1, "completed " + std::to_string(end.calls) + " times");
  expect(!end.handler_lives(), "the handler was not destroyed");
  expect(end.memory.live == 0, "memory of the handler's allocator is left");
  expect(end.memory.made > 0, "the handler's allocator was not used");
  expect(w.timers() == 0, "a timer is left");
  expect(w.dials() == 0, "a dial is left");
  for (const auto& each : group->backends())
    expect(each->active() == 0, "a lease is left on " + each->name());
  expect(live.count() == 0, "a session is listed");
  for (const auto& each : sessions) expect(!each.alive(), "a session is alive");
  const std::size_t open = tunnelled() || down_closed ? 0 : 1;
  expect(w.open_streams() == open,
         std::to_string(w.open_streams()) + " streams are open, not " + std::to_string(open));
  return out;
}

backend_options at(std::string name) { return {.name = std::move(name)}; }

}  // namespace sim
