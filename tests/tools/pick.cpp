// Prints which backends a balancing method picks. Reads from standard input, a word after the other:
//
//   method NAME                        round_robin, consistent_hash
//   backend NAME [weight=N] [max_conns=N] [max_fails=N] [fail_timeout=N] [backup] [down] [refuses]
//   request [KEY]                      one whole request: prints its attempts, "a:1, b:1"
//   hold [KEY]                         the same, but its lease lives on
//   release N                          ends the lease of the Nth `hold`, counted from 0
//
// An attempt on a backend that `refuses` fails, on any other it succeeds. The key is also the client's
// address.

#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <wsproxy/upstream/consistent_hash.hpp>
#include <wsproxy/upstream/round_robin.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace {

using namespace wsproxy;

const std::map<std::string, std::function<std::shared_ptr<balancer>()>> methods = {
    {"round_robin", round_robin},
    {"consistent_hash", consistent_hash},
};

/// Time stands still: windows are tested elsewhere.
constexpr time_point now{std::chrono::hours(1)};

class session {
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
};

void session::run(const std::string& line) {
  std::istringstream words(line);
  std::string command, key;
  words >> command;
  if (command == "backend") return add_backend(words);
  words >> key;
  if (command == "method")
    method_ = methods.at(key)();
  else if (command == "request")
    request(key);
  else if (command == "hold")
    held_.push_back(request(key));
  else if (command == "release")
    held_.at(std::stoul(key)) = lease();
  else
    throw std::invalid_argument("what is \"" + line + "\"?");
}

void session::add_backend(std::istringstream& words) {
  backend_options options;
  words >> options.name;
  for (std::string word; words >> word;) {
    const auto equals = word.find('=');
    const auto name = word.substr(0, equals);
    const auto number = equals == word.npos ? 0u : static_cast<unsigned>(std::stoul(word.substr(equals + 1)));
    if (name == "weight")
      options.weight = number;
    else if (name == "max_conns")
      options.max_conns = number;
    else if (name == "max_fails")
      options.max_fails = number;
    else if (name == "fail_timeout")
      options.fail_timeout = std::chrono::seconds(number);
    else if (name == "backup")
      options.backup = true;
    else if (name == "down")
      options.down = true;
    else if (name == "refuses")
      refusing_.insert(options.name);
    else
      throw std::invalid_argument("what is \"" + word + "\"?");
  }
  backends_.push_back(std::move(options));
}

lease session::request(const std::string& key) {
  if (!group_) group_.emplace(backends_, method_);
  pick_state state;
  const char* separator = "";
  auto got = group_->pick({.client = key, .hash_key = key}, state, now);
  for (; got; got = group_->pick({.client = key, .hash_key = key}, state, now)) {
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
  session session;
  for (std::string line; std::getline(std::cin, line);) session.run(line);
} catch (const std::exception& error) {
  std::cerr << "pick: " << error.what() << '\n';
  return 1;
}
