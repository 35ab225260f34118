// wsproxy inside a libmicrohttpd server. It sends the 101 itself and then lends its socket, which it closes
// itself. So the handshake with a backend comes first, while the request is suspended; then its fields go
// into the server's own answer; then the socket is lent to the tunnel until the callback.
//
//   embed_libmicrohttpd 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002

#include <arpa/inet.h>
#include <microhttpd.h>
#include <signal.h>

#include <iostream>
#include <memory>

#include <wsproxy/gateway/adopt.hpp>
#include <wsproxy/websocket/upgrade.hpp>

namespace {

struct server {
  wsproxy::upstream chat;
  wsproxy::worker_pool pool{1};
};

/// Lives as long as a request.
struct request {
  std::string target;
  std::optional<wsproxy::ready_result> found;  // wsproxy: what the handshake gave
};

// ---- wsproxy: from here …

MHD_Result add_field(void* head, MHD_ValueKind, const char* name, const char* value) {
  static_cast<wsproxy::request_head*>(head)->fields.add(name, value != nullptr ? value : "");
  return MHD_YES;
}

/// The socket is ours from the 101 to the callback.
void upgraded(void* host, MHD_Connection*, void* context, const char* early, size_t size, MHD_socket socket,
              MHD_UpgradeResponseHandle* handle) {
  auto& found = *static_cast<request*>(context)->found;
  static_cast<server*>(host)->pool.adopt(wsproxy::descriptor::lent(socket), std::move(*found.accepted),
                                         {early, size}, [handle](const wsproxy::forward_result& end) {
                                           std::cout << "ended: " << to_string(end.cause) << std::endl;
                                           MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
                                         });
}

MHD_Result answer_upgrade(server& host, MHD_Connection* connection, request& of) {
  if (!of.found->accepted) {
    const auto status = static_cast<unsigned>(of.found->result.status);
    MHD_Response* const refusal = MHD_create_response_from_buffer(0, nullptr, MHD_RESPMEM_PERSISTENT);
    const auto queued = MHD_queue_response(connection, status, refusal);
    MHD_destroy_response(refusal);
    return queued;
  }
  MHD_Response* const answer = MHD_create_response_for_upgrade(upgraded, &host);
  for (const auto& field : of.found->accepted->response().fields)
    if (!wsproxy::iequals(field.name, "Connection"))  // the server's own
      MHD_add_response_header(answer, std::string(field.name).c_str(), std::string(field.value).c_str());
  const auto queued = MHD_queue_response(connection, MHD_HTTP_SWITCHING_PROTOCOLS, answer);
  MHD_destroy_response(answer);
  return queued;
}

/// True if the request is suspended until the handshake is over.
bool begin_upgrade(server& host, MHD_Connection* connection, const char* method, request& of) {
  wsproxy::request_head head{.method = method, .target = of.target};
  MHD_get_connection_values(connection, MHD_HEADER_KIND, add_field, &head);
  if (of.target != "/chat" || detect_upgrade(head).kind != wsproxy::request_kind::websocket) return false;
  MHD_suspend_connection(connection);
  host.pool.handshake(host.chat, {.head = std::move(head)}, [connection, &of](wsproxy::ready_result found) {
    of.found = std::move(found);
    MHD_resume_connection(connection);
  });
  return true;
}

// ---- … to here.

MHD_Result serve(void* host, MHD_Connection* connection, const char*, const char* method, const char*,
                 const char*, size_t*, void** context) {
  auto& of = *static_cast<request*>(*context);
  if (of.found) return answer_upgrade(*static_cast<server*>(host), connection, of);
  if (begin_upgrade(*static_cast<server*>(host), connection, method, of)) return MHD_YES;

  std::string body = "Nothing here.\n";
  if (of.target == "/") body = "Hello. The chat is at /chat.\n";
  else if (of.target == "/api") body = "{\"answer\": 42}\n";
  const unsigned status = of.target == "/" || of.target == "/api" ? MHD_HTTP_OK : MHD_HTTP_NOT_FOUND;
  MHD_Response* const answer =
      MHD_create_response_from_buffer(body.size(), body.data(), MHD_RESPMEM_MUST_COPY);
  const auto queued = MHD_queue_response(connection, status, answer);
  MHD_destroy_response(answer);
  return queued;
}

void* begin(void*, const char* target, MHD_Connection*) { return new request{target, {}}; }
void end(void*, MHD_Connection*, void** context, MHD_RequestTerminationCode) {
  delete static_cast<request*>(*context);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("usage: embed_libmicrohttpd LISTEN BACKEND...");
  std::vector<wsproxy::backend_options> backends;
  for (int i = 2; i != argc; ++i) backends.push_back({.name = argv[i]});
  server host{wsproxy::upstream(backends)};

  sigset_t until;
  sigemptyset(&until);
  sigaddset(&until, SIGTERM);
  sigaddset(&until, SIGINT);
  pthread_sigmask(SIG_BLOCK, &until, nullptr);

  const auto at = wsproxy::address::parse(argv[1]);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(at.port);
  if (::inet_pton(AF_INET, at.host.c_str(), &address.sin_addr) != 1)
    throw std::invalid_argument("not IPv4: " + at.host);
  MHD_Daemon* const daemon = MHD_start_daemon(
      MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE, at.port, nullptr, nullptr,
      serve, &host, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_URI_LOG_CALLBACK, begin, nullptr,
      MHD_OPTION_NOTIFY_COMPLETED, end, nullptr, MHD_OPTION_END);
  if (daemon == nullptr) throw std::runtime_error(std::string("cannot listen on ") + argv[1]);
  std::cout << "listening on " << at.host << ':'
            << MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port << std::endl;

  int which = 0;
  sigwait(&until, &which);
  // wsproxy: every socket must be back before the server ends.
  host.pool.drain({.deadline = std::chrono::seconds(5)});
  MHD_stop_daemon(daemon);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
