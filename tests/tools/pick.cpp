// Prints which backends a balancing method picks. Reads from standard input, a word after the other:
//
//   method NAME                        a function's name: round_robin, consistent_hash, ...
//   backend NAME [weight=N] [max_conns=N] [max_fails=N] [fail_timeout=N] [backup] [down] [refuses]
//   request [KEY]                      one whole request: prints its attempts, "a:1, b:1"
//   hold [KEY]                         the same, but its lease lives on
//   release N                          ends the lease of the Nth `hold`, counted from 0
//
// An attempt on a backend that `refuses` fails, on any other it succeeds. The key is also the client's
// address.

#include <chrono>
#include <cstdint>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <wsproxy/upstream/consistent_hash.hpp>
#include <wsproxy/upstream/ip_hash.hpp>
#include <wsproxy/upstream/key_hash.hpp>
#include <wsproxy/upstream/least_connections.hpp>
#include <wsproxy/upstream/random.hpp>
#include <wsproxy/upstream/round_robin.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace {

using namespace wsproxy;

const std::map<std::string, std::function<std::shared_ptr<balancer>()>> methods = {
    {"round_robin", round_robin},
    {"least_connections", least_connections},
    {"ip_hash", ip_hash},
    {"key_hash", key_hash},
    {"random_choice", random_choice},
    {"random_choice_of_two", random_choice_of_two},
    {"consistent_hash", consistent_hash},
};

/// Time stands still: windows are tested elsewhere.
constexpr time_point now{std::chrono::hours(1)};

class script {
 public:
  void run(const std::string& line);

 private:
  void add_backend(std::istringstream& words);
  lease request(const std::string& key);

  std::shared_ptr<balancer> method_;
  std::vector<backend_options> backends_;
  std::set<std::string> refusing_;
  std::optional<upstream> group_;
  std::vector<lease> held_;
  std::mt19937 random_;
};

void script::run(const std::string& line) {
  std::istringstream words(line);
  std::string command, key;
  words >> command;
  if (command == "backend") return add_backend(words);
  words >> key;
  if (command == "method") method_ = methods.at(key)();
  else if (command == "request") request(key);
  else if (command == "hold") held_.push_back(request(key));
  else if (command == "release") held_.at(std::stoul(key)) = lease();
  else throw std::invalid_argument("what is \"" + line + "\"?");
}

void script::add_backend(std::istringstream& words) {
  backend_options options;
  words >> options.name;
  for (std::string word; words >> word;) {
    const auto equals = word.find('=');
    const auto name = word.substr(0, equals);
    const auto number = equals == word.npos ? 0u : static_cast<unsigned>(std::stoul(word.substr(equals + 1)));
    if (name == "weight") options.weight = number;
    else if (name == "max_conns") options.max_conns = number;
    else if (name == "max_fails") options.max_fails = number;
    else if (name == "fail_timeout") options.fail_timeout = std::chrono::seconds(number);
    else if (name == "backup") options.backup = true;
    else if (name == "down") options.down = true;
    else if (name == "refuses") refusing_.insert(options.name);
    else throw std::invalid_argument("what is \"" + word + "\"?");
  }
  backends_.push_back(std::move(options));
}

lease script::request(const std::string& key) {
  if (!group_) group_.emplace(backends_, method_);
  pick_state state;
  const char* separator = "";
  const auto pick = [&] {
    const auto number = static_cast<std::uint32_t>(random_());
    return group_->pick({.client = key, .hash_key = key, .random = number}, state, now);
  };
  auto got = pick();
  for (; got; got = pick()) {
    std::cout << std::exchange(separator, ", ") << got.backend()->name();
    if (!refusing_.contains(got.backend()->name())) {
      got.succeeded(now);
      break;
    }
    got.failed(now);
  }
  std::cout << '\n';
  return got;
}

}  // namespace

int main() try {
  script script;
  for (std::string line; std::getline(std::cin, line);) script.run(line);
} catch (const std::exception& error) {
  std::cerr << "pick: " << error.what() << '\n';
  return 1;
}
