#include <wsproxy/gateway/adopt.hpp>
#include <wsproxy/gateway/gateway.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <set>

#include <wsproxy/proxy/edge_context.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/proxy/forward.hpp>

#include "tests/support/gateway.hpp"
#include "tests/support/process.hpp"

// Hosts that fork. (Gateways that are made in a child are those of descriptors_test.cpp.)

using namespace test;

namespace {

std::set<int> open_descriptors() {
  std::set<int> all;
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) fail_with_errno("opendir");
  while (const dirent* entry = ::readdir(directory))
    if (entry->d_name[0] != '.') all.insert(std::stoi(entry->d_name));
  all.erase(::dirfd(directory));
  ::closedir(directory);
  return all;
}

wsproxy::exchange upgrade() {
  wsproxy::head_parser parser(wsproxy::head_parser::kind::request);
  parser.feed(handshake());
  return {.head = parser.take_request()};
}

void check_echo(peer& client, peer& backend) {
  client.send(client_frame(text, "up"));
  CHECK(read_frame(backend).payload == "up");
  backend.send(server_frame(text, "down"));
  CHECK(read_frame(client).payload == "down");
}

/// Accepts for a handshake, and grants it.
peer grant(listener& backend) {
  auto up = backend.accept();
  read_head(up);
  up.send(switching());
  return up;
}

/// A host with a pool.
struct host {
  /// A client whose connection is the pool's.
  peer adopted() {
    auto client = peer::connect(door.port());
    pool.adopt(wsproxy::descriptor::given(::fcntl(door.accept().descriptor(), F_DUPFD_CLOEXEC, 0)), to,
               upgrade());
    return client;
  }
  listener door, backend;
  wsproxy::upstream to{{{.name = backend.name()}}};
  wsproxy::worker_pool pool{1};
};

}  // namespace

TEST_CASE("what is opened is closed on exec: listeners, clients, backends, and what waits for them") {
  const auto before = open_descriptors();
  proxy front;
  auto through_gateway = front.open();

  host h;
  auto adopted = h.adopted();
  auto behind_pool = grant(h.backend);

  auto forwarded = peer::connect(h.door.port());
  auto ours = h.door.accept();
  background loop;
  asio::generic::stream_protocol::socket socket(loop.context, asio::generic::stream_protocol(AF_INET, 0),
                                                ::fcntl(ours.descriptor(), F_DUPFD_CLOEXEC, 0));
  mailbox<wsproxy::forward_result> results;
  loop.call([&] {
    wsproxy::async_forward(socket, h.to, upgrade(), [&](auto end) { results.put(std::move(end)); });
  });
  auto behind_forward = grant(h.backend);
  read_head(adopted);
  read_head(forwarded);

  // The test's own.
  std::set<int> known = before;
  for (const auto* own : {&through_gateway.client, &through_gateway.backend, &adopted, &behind_pool,
                          &forwarded, &ours, &behind_forward})
    known.insert(own->descriptor());
  for (const auto* own : {&front.backend, &h.door, &h.backend}) known.insert(own->descriptor());
  for (const int number : open_descriptors()) {
    CAPTURE(number);
    if (!known.contains(number)) CHECK((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
  }
  for (auto* end : {&adopted, &behind_pool, &forwarded, &behind_forward}) end->close();
  results.take();
}

TEST_CASE("a child that only ends leaves the tunnels of its parent alone") {
  proxy front;
  auto first = front.open();
  host h;
  auto second = h.adopted();
  auto behind_pool = grant(h.backend);
  read_head(second);

  for (int i = 0; i != 3; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    check_echo(first.client, first.backend);
    check_echo(second, behind_pool);
    int status = -1;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
    check_echo(first.client, first.backend);
    check_echo(second, behind_pool);
  }
}

TEST_CASE("a tunnel ends for its peers though a child has copies of its sockets") {
  proxy front;
  auto tunnel = front.open();
  const pid_t pid = front.loop.call([&] {
    const pid_t made = ::fork();
    while (made == 0) ::pause();
    return made;
  });
  REQUIRE(pid > 0);
  const std::shared_ptr<const void> last(nullptr, [pid](const void*) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  });
  tunnel.client.send(client_frame(close_frame, close_payload(1000)));
  CHECK(read_frame(tunnel.backend).code == close_frame);
  tunnel.backend.send(server_frame(close_frame, close_payload(1000)));
  tunnel.backend.shutdown_send();
  CHECK(read_frame(tunnel.client).code == close_frame);
  CHECK(tunnel.client.end() == ending::fin);
  CHECK(tunnel.backend.end() == ending::fin);
}

TEMPLATE_TEST_CASE("a child of a process draws other numbers than its parent", "", asio::io_context,
                   wsproxy::edge_context) {
  TestType context;
  auto& world = wsproxy::environment_of(context.get_executor());
  world.random();  // some more are in store now
  child other([&](peer& parent) {
    context.notify_fork(asio::execution_context::fork_child);
    parent.send(std::to_string(world.random()) + "\n");
  });
  const auto theirs = other.control.read_until("\n");
  CHECK(theirs != std::to_string(world.random()) + "\n");
  CHECK(other.wait() == 0);
}
