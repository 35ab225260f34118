// Configurations: any text is read, or refused with a message that names a place; and by what was read,
// a request is decided, rewritten and answered. Only the bytes given count: names of hosts are not looked up,
// and a text with `include` is passed over.
#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include <examples/gateway/directives.hpp>
#include <examples/gateway/loader.hpp>
#include <examples/gateway/router.hpp>

#include "fuzz.hpp"

namespace {

struct found {
  addrinfo info{};
  sockaddr_storage at{};
};

}  // namespace

// In the place of libc's: addresses are read, names are unknown.
extern "C" int getaddrinfo(const char* name, const char*, const addrinfo*, addrinfo** result) {
  auto one = std::make_unique<found>();
  auto* v4 = reinterpret_cast<sockaddr_in*>(&one->at);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&one->at);
  if (name != nullptr && inet_pton(AF_INET, name, &v4->sin_addr) == 1) one->at.ss_family = AF_INET;
  else if (name != nullptr && inet_pton(AF_INET6, name, &v6->sin6_addr) == 1) one->at.ss_family = AF_INET6;
  else return EAI_NONAME;
  one->info.ai_family = one->at.ss_family;
  one->info.ai_addr = reinterpret_cast<sockaddr*>(&one->at);
  one->info.ai_addrlen = one->at.ss_family == AF_INET ? sizeof *v4 : sizeof *v6;
  *result = &one.release()->info;
  return 0;
}
extern "C" void freeaddrinfo(addrinfo* list) {
  delete reinterpret_cast<found*>(list);  // `info` is its first member
}

namespace {

using namespace wsproxy;

// The backend's share of it, and the answer's, as far as there are any.
void follow(const wsproxy_gateway::router& router, const inbound& request) {
  const auto decided = router(request);
  if (const auto* to = std::get_if<pass>(&decided)) {
    exchange what;
    what.head = request.head;
    what.client = request.client;
    what.local = request.local;
    what.user = to->user;
    fuzz::require(!to->to.backends().empty(), "an upstream has a backend");
    try {
      if (to->how && to->how->on_attempt) to->how->on_attempt(what, *to->to.backends().front());
      request_rewrite rewrite;
      if (to->how && to->how->rewrite_request)
        to->how->rewrite_request(what, *to->to.backends().front(), rewrite);
      std::string bytes;
      serialize(make_upstream_request(request.head, request_kind::plain, {}, rewrite), bytes);
      response_head answer{200, "OK", http_version::http_1_1, {{"Location", "http://a.test/x"}}};
      if (to->how && to->how->rewrite_response) to->how->rewrite_response(what, answer);
      serialize(answer, bytes);
    } catch (const std::invalid_argument&) {  // what cannot be sent becomes a 500
    }
  }
  (void)router.error_answer(502, {}, request);
  const request_head unread;
  (void)router.error_answer(
      400, {},
      {unread, request.client, request.client_port, request.local, request.local_port, request.listener});
  (void)router.access_logs(request);
}

// ---- New inputs

constexpr std::string_view values[] = {"on",
                                       "off",
                                       "1",
                                       "0",
                                       "-1",
                                       "1k",
                                       "2m",
                                       "300ms",
                                       "1h 30m",
                                       "default",
                                       "''",
                                       "\"a $b\"",
                                       "/a/",
                                       "~ ^/(?<x>a)",
                                       "~*",
                                       "=",
                                       "!=",
                                       "!~",
                                       "^~",
                                       "$x",
                                       "$1",
                                       "${host}",
                                       "$http_x_kind",
                                       "$cookie_a",
                                       "$arg_d",
                                       "$uri",
                                       "$request_uri",
                                       "$args",
                                       "$proxy_add_x_forwarded_for",
                                       "$upstream_addr",
                                       "$status",
                                       "127.0.0.1:1",
                                       "[::1]:1",
                                       "unix:/a",
                                       "a.test",
                                       "*.test",
                                       "up",
                                       "http://up",
                                       "http://up/b/",
                                       "http://$x/c",
                                       "weight=2",
                                       "backup",
                                       "consistent",
                                       "always",
                                       "301",
                                       "204",
                                       "error",
                                       "timeout",
                                       "http_502",
                                       "interval=1s",
                                       "side=client",
                                       "spread=1s",
                                       "jitter=10%",
                                       "Host",
                                       "X-A"};

std::string_view one_of(std::span<const std::string_view> all, std::uint32_t random) {
  return all[random % all.size()];
}

/// A directive of the table with some arguments.
std::string any_directive(std::minstd_rand& random) {
  const auto all = wsproxy_gateway::rules();
  const auto& rule = all[random() % all.size()];
  std::string text(rule.name);
  const auto most = std::min(rule.most, rule.least + 2);
  for (auto left = rule.least + random() % (most - rule.least + 1); left > 0; --left)
    text.append(" ").append(one_of(values, static_cast<std::uint32_t>(random())));
  return text += rule.block ? " { }\n" : ";\n";
}

/// Where a word, a directive or a block may begin or end.
std::size_t boundary(std::string_view text, std::minstd_rand& random) {
  return std::min(text.find_first_of(" \n;{}", random() % (text.size() + 1)), text.size());
}

}  // namespace

// Bytes are changed as in any text; and as often directives and words are, which that seldom hits upon.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most,
                                               unsigned seed) {
  std::minstd_rand random(seed);
  if (size == 0 || random() % 2 == 0) return LLVMFuzzerMutate(data, size, most);
  std::string text(reinterpret_cast<const char*>(data), size);
  const auto at = std::max<std::size_t>(1, boundary(text, random));  // behind the choices
  const auto after = std::min(text.find_first_of(" \n;{}", at + 1), text.size());
  switch (random() % 4) {
  case 0:
  case 1:
    text.insert(std::min(text.size(), text.find_first_of(";{}", at)), ";\n" + any_directive(random));
    break;
  case 2:
    text.replace(at, after - at, " " + std::string(one_of(values, static_cast<std::uint32_t>(random()))));
    break;
  case 3: text.erase(at, after - at); break;
  }
  size = std::min(text.size(), most);
  std::ranges::copy_n(text.begin(), static_cast<std::ptrdiff_t>(size), data);
  return size;
}

// ---- The test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input from(data, size);
  const auto choices = from.choice();
  std::string text(from.rest());
  if (text.find("include") != text.npos) return -1;
  // A part of a file is as good as a whole one, and easier to find.
  if ((choices & 3) == 1) text = "events { }\nhttp {\n" + text + "\n}\n";
  if ((choices & 3) == 2)
    text =
        "events { }\nhttp { upstream up { server 127.0.0.1:1; server 127.0.0.1:2; }\nserver { listen "
        "127.0.0.1:80;\n" +
        text + "\n} }\n";
  if ((choices & 3) == 3)
    text = "events { }\nhttp { server { listen 127.0.0.1:80; location / { proxy_pass http://127.0.0.1:1/;\n" +
           text + "\n} } }\n";

  const auto loaded = wsproxy_gateway::load_text(text, "/nowhere/f.conf");
  const auto messages = loaded.report.sorted();
  fuzz::require(loaded.config != nullptr || !messages.empty(), "what is refused is told why");
  for (const auto& one : messages) fuzz::require(!one.to_string().empty(), "a message has words");
  if (!loaded.config || loaded.config->servers.empty()) return 0;
  const char* const targets[] = {"/", "/a/../b%20c?d=e", "/app/x.php", "http://A.test/y"};
  const request_head head{
      (choices & 4) != 0 ? "OPTIONS" : "GET",
      targets[(choices >> 3) % std::size(targets)],
      http_version::http_1_1,
      {{"Host", "a.test"}, {"Cookie", "a=b; c=d"}, {"Upgrade", "websocket"}, {"X-Kind", "phone"}}};
  follow(wsproxy_gateway::router(loaded.config), {head, "192.0.2.7", 50000, "127.0.0.1", 80, 0, 1, 1});
  return 0;
}
