#include "fixture.hpp"

using namespace dialect_test;
using strings = std::vector<std::string>;

namespace {

strings in_upstream(std::string_view text, std::string_view before = {}) {
  return messages(wsproxy_gateway::load_text(
      with_http(std::string(before) + "upstream u { " + std::string(text) + " }"), "t.conf"));
}

const wsproxy_gateway::upstream_group& group(
    const std::shared_ptr<const wsproxy_gateway::configuration>& config) {
  return config->upstreams.at(config->find_upstream("u").value());
}

}  // namespace

TEST_CASE("a server's parameters become the backend's options") {
  const auto config = load(with_http(
      "upstream u { server 127.0.0.1:1 weight=3 max_conns=4 max_fails=5 fail_timeout=1m slow_start=1500ms;"
      " server 127.0.0.1:2 down; server 127.0.0.1:3 backup slow_start=2; }"));
  const auto all = group(config).group.status({});
  REQUIRE(all.size() == 3);
  CHECK(all[0].options.weight == 3);
  CHECK(all[0].options.max_conns == 4);
  CHECK(all[0].options.max_fails == 5);
  CHECK(all[0].options.fail_timeout == std::chrono::seconds(60));
  CHECK(all[0].options.slow_start == std::chrono::milliseconds(1500));
  CHECK(all[1].options.down);
  CHECK(all[2].options.backup);
  CHECK(all[2].options.slow_start == std::chrono::seconds(2));
}

TEST_CASE("slow_start and backup are refused with the methods that have none") {
  for (const std::string method :
       {"hash $remote_addr", "hash $remote_addr consistent", "ip_hash", "random"}) {
    for (const std::string parameter : {"slow_start=30s", "backup"}) {
      CAPTURE(method, parameter);
      const auto name = parameter == "backup" ? std::string("backups") : std::string("slow_start");
      CHECK(in_upstream(method + "; server 127.0.0.1:1; server 127.0.0.1:2 " + parameter + ";") ==
            strings{"t.conf:3:1: error: upstream \"u\": backend \"127.0.0.1:2\": the balancing method does "
                    "not support " +
                    name});
    }
  }
  for (const std::string method : {"", "least_conn;"})
    CHECK(in_upstream(method + "server 127.0.0.1:1 slow_start=30s; server 127.0.0.1:2 backup;").empty());
  CHECK(in_upstream("server 127.0.0.1:1 slow_start=soon;") ==
        strings{"t.conf:3:33: error: invalid parameter \"slow_start=soon\": it takes a time, 30s or 1m30s"});
}

TEST_CASE("resolve: a name is looked up while running, and needs not be found yet") {
  const auto config = load(with_http(
      "resolver 127.0.0.53 [::1]:53 valid=10s ipv6=off;"
      "upstream u { zone u 64k; server no-such-host.invalid:81 weight=2 resolve; server 127.0.0.1:82 resolve;"
      " server unix:/run/x; }"));
  const auto& u = group(config);
  REQUIRE(u.resolved.size() == 3);
  CHECK(u.resolved[0].name == "no-such-host.invalid:81");
  CHECK(u.resolved[0].at == wsproxy::address{wsproxy::address::family::name, "no-such-host.invalid", 81});
  CHECK(u.resolved[0].weight == 2);
  CHECK(u.resolved[1].at.kind == wsproxy::address::family::ip);
  CHECK(u.resolver.valid == std::chrono::seconds(10));
  CHECK(u.resolver.ipv4);
  CHECK_FALSE(u.resolver.ipv6);
  CHECK(u.group.backends().size() == 3);
}

TEST_CASE(
    "resolve: an upstream's own resolver comes before that of http; without resolve nothing is looked up "
    "again") {
  const auto own =
      load(with_http("resolver 127.0.0.1 valid=10s;"
                     "upstream u { zone u 64k; resolver 127.0.0.2 valid=3s; server a.invalid resolve; }"));
  CHECK(group(own).resolver.valid == std::chrono::seconds(3));
  const auto none = load(with_http("resolver 127.0.0.1; upstream u { zone u 64k; server localhost:1; }"));
  CHECK(group(none).resolved.empty());
  CHECK_FALSE(group(none).resolver.valid);
}

TEST_CASE("resolve: what nginx asks for is asked for") {
  CHECK(in_upstream("server a.invalid resolve;", "resolver 127.0.0.1 valid=1s;").back() ==
        "t.conf:3:49: error: resolving names at run time requires upstream \"u\" to be in shared memory: add "
        "\"zone u 64k\"");
  CHECK(in_upstream("zone u 64k; server a.invalid resolve;") ==
        strings{"t.conf:3:33: error: no resolver defined to resolve names at run time in upstream \"u\""});
  CHECK(in_upstream("zone u big; server 127.0.0.1:1;") ==
        strings{"t.conf:3:21: error: invalid size \"big\" of \"zone\": a size is 64k or 1m"});
}

TEST_CASE("resolver: the system's is used, and the file is told so once") {
  const auto of = [](std::string_view text) {
    return messages(wsproxy_gateway::load_text(with_http(text), "t.conf"));
  };
  CHECK(of("resolver 127.0.0.1 valid=5s;") == strings{"t.conf:3:1: warning: the addresses in \"resolver\" "
                                                      "are not asked: names are looked up by the system"});
  CHECK(of("resolver 127.0.0.1; upstream u { resolver 127.0.0.1; server 127.0.0.1:1; }").size() == 1);
  CHECK(of("resolver valid=5s;").at(0) ==
        "t.conf:3:1: error: no name servers defined in \"resolver\" directive");
  CHECK(of("resolver 127.0.0.1 valid=never;").at(1).find("invalid parameter \"valid=never\"") !=
        std::string::npos);
  CHECK(of("resolver 127.0.0.1 ipv4=off ipv6=off;").at(0).find("cannot both be off") != std::string::npos);
  CHECK(of("resolver 127.0.0.1:0x;").back().find("invalid port") != std::string::npos);
  CHECK(of("resolver_timeout 5s;").at(0).find("is ignored") != std::string::npos);
}
