// A gateway that no server can be configured to be. It knows its users by a token before it picks a backend,
// chooses the tenant's backends from a field, allows each user so many tunnels, closes a user's tunnels when
// told to, and tells its numbers.
//
//   embed_custom_gateway LISTEN ADMIN TENANT=BACKEND...
//
//   curl -N -H 'Authorization: Bearer alice-1' -H 'X-Tenant: blue' … http://LISTEN/  a tunnel of alice's
//   curl http://ADMIN/metrics                                                        the numbers
//   curl -X DELETE http://ADMIN/users/alice                                          closes her tunnels: 4001
//
// Left out: where tokens really come from. Here they are NAME-NUMBER.

#include <iostream>
#include <map>
#include <unordered_map>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <wsproxy/wsproxy.hpp>

namespace {

constexpr std::size_t tunnels_per_user = 2;
constexpr std::string_view bearer = "Bearer ";

wsproxy::respond say(int status, std::string body) { return {.status = status, .body = std::move(body)}; }

class tenants {
 public:
  void add(const std::string& name, std::vector<wsproxy::backend_options> backends) {
    upstreams_.emplace(name, wsproxy::upstream(std::move(backends)));
  }

  /// Which way a request goes. On the gateway's executor, as everything here: no lock.
  wsproxy::decision select(const wsproxy::inbound& request) {
    if (request.listener == 1) return administer(request);
    const auto user = user_of(request.head.fields.value_or_empty("Authorization"));
    if (user.empty()) return ++refused_, say(401, "Who are you?\n");
    const auto tenant = upstreams_.find(std::string(request.head.fields.value_or_empty("X-Tenant")));
    if (tenant == upstreams_.end()) return ++refused_, say(404, "No such tenant.\n");
    auto& account = users_[user];
    if (account.exchanges >= tunnels_per_user) return ++refused_, say(429, "Too many tunnels.\n");
    ++account.exchanges;
    return wsproxy::pass{
        .to = tenant->second,
        .how = without_token_,
        .hash_key = user,
        .on_established = [&account](const wsproxy::session_handle& s) { account.tunnels[s.id()] = s; },
        .on_end =
            [this, &account](const wsproxy::forward_result& end) {
              --account.exchanges;
              std::erase_if(account.tunnels, [](const auto& each) { return !each.second.alive(); });
              bytes_ += end.from_client.bytes + end.from_upstream.bytes;
            }};
  }

 private:
  struct user_account {
    std::size_t exchanges = 0;
    std::unordered_map<std::uint64_t, wsproxy::session_handle> tunnels;
  };

  static std::string user_of(std::string_view authorization) {
    if (!authorization.starts_with(bearer)) return {};
    const auto token = authorization.substr(bearer.size());
    return std::string(token.substr(0, std::min(token.find('-'), token.size())));
  }

  wsproxy::decision administer(const wsproxy::inbound& request) {
    constexpr std::string_view users = "/users/";
    if (request.head.method == "GET" && request.head.target == "/metrics") return say(200, metrics());
    if (request.head.method != "DELETE" || !request.head.target.starts_with(users)) return say(404, "");
    const auto found = users_.find(request.head.target.substr(users.size()));
    if (found == users_.end()) return say(404, "No such user.\n");
    for (const auto& [id, session] : found->second.tunnels) session.close(4001, "signed out");
    return say(200, std::to_string(found->second.tunnels.size()) + " tunnels are closing\n");
  }

  std::string metrics() const {
    std::string text =
        "refused_total " + std::to_string(refused_) + "\nbytes_total " + std::to_string(bytes_) + "\n";
    for (const auto& [name, account] : users_)
      text += "tunnels{user=\"" + name + "\"} " + std::to_string(account.tunnels.size()) + "\n";
    for (const auto& [name, upstream] : upstreams_)
      for (const auto& backend : upstream.backends())
        text += "active{tenant=\"" + name + "\",backend=\"" + backend->name() + "\"} " +
                std::to_string(backend->active()) + "\n";
    return text;
  }

  std::map<std::string, wsproxy::upstream> upstreams_;
  std::map<std::string, user_account> users_;  // what is in it stays where it is
  std::uint64_t refused_ = 0, bytes_ = 0;
  // The backends are told who it is, not how that is known.
  const std::shared_ptr<const wsproxy::route> without_token_ =
      wsproxy::route::make({.rewrite_request = [](const wsproxy::exchange& e, const wsproxy::backend&,
                                                  wsproxy::request_rewrite& r) {
        r.set.add("Authorization", "");
        r.set.add("X-User", *e.hash_key);
      }});
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4) throw std::invalid_argument("usage: embed_custom_gateway LISTEN ADMIN TENANT=BACKEND...");
  std::map<std::string, std::vector<wsproxy::backend_options>> all;
  for (int i = 3; i != argc; ++i) {
    const std::string_view text = argv[i];
    const auto equals = text.find('=');
    if (equals == text.npos) throw std::invalid_argument("not TENANT=BACKEND: " + std::string(text));
    all[std::string(text.substr(0, equals))].push_back({.name = std::string(text.substr(equals + 1))});
  }
  tenants known;
  for (auto& [name, backends] : all) known.add(name, std::move(backends));

  asio::io_context context(1);
  wsproxy::gateway gateway(context.get_executor(),
                           [&](const wsproxy::inbound& request) { return known.select(request); });
  std::cout << "listening on " << gateway.listen(argv[1]) << std::endl;
  std::cout << "administered on " << gateway.listen(argv[2]) << std::endl;
  asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([&](std::error_code error, int) {
    if (!error) gateway.drain({.deadline = std::chrono::seconds(10)});
  });
  context.run();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
