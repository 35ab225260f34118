// nginx's variables: $host, $http_NAME, those of map and set, captures; and texts that hold them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <wsproxy/http/message.hpp>
#include <wsproxy/proxy/exchange.hpp>

#include "diagnostics.hpp"
#include "syntax.hpp"
#include "uri.hpp"

namespace wsproxy_gateway {

/// What is kept of a request for as long as variables may be asked for: until its response was sent.
struct request_state {
  std::string client;  ///< [$remote_addr]
  std::string local;   ///< [$server_addr]
  std::uint16_t client_port = 0;
  std::uint16_t local_port = 0;
  std::uint64_t connection = 0;
  std::uint64_t request = 0;  ///< its number on the connection
  std::string host;           ///< [$host]
  std::string server_name;    ///< the chosen server's first [$server_name]
  request_uri uri{};
  std::string proxy_host{};
  std::string proxy_port{};
  std::string upstreams{};              ///< the backends' addresses, in the order they were tried
  std::vector<std::string> captures{};  ///< of the last regular expression that matched
  std::vector<std::optional<std::string>> assigned{};  ///< by set and by named captures; by slot
  std::string request_id{};                            ///< made when first asked for
};

class variable_table;

/// One moment at which variables are evaluated.
struct evaluation {
  const variable_table& variables;
  const wsproxy::request_head& head;
  request_state& state;
  const wsproxy::response_head* response = nullptr;  ///< null until there is one
  const wsproxy::forward_result* result = nullptr;   ///< null until the exchange ended
  unsigned depth = 0;                                ///< maps inside maps
};

/// All variables of a configuration. They may be used before they are defined: resolve() says which never
/// are.
class variable_table {
 public:
  using getter = std::function<void(evaluation&, std::string& out)>;

  /// The variable's number. Names compare without case.
  std::size_t slot(std::string_view name, const position& used_at);
  /// A variable that is computed. [map]
  void define(const word& name, getter value, diagnostics&);
  /// A variable that requests give values. [set, named captures]
  std::size_t assignable(std::string_view name, const position& at, diagnostics&);

  /// Reports every variable that was used and is none.
  void resolve(diagnostics&);
  std::size_t size() const noexcept { return entries_.size(); }

  /// Appends its value. Throws std::runtime_error on a cycle of maps.
  void append(std::size_t slot, evaluation&, std::string& out) const;

 private:
  struct entry {
    std::string name;
    position used_at;
    getter value{};
  };
  std::vector<entry> entries_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
};

/// "text $variable ${variable}text $1", compiled.
class text_template {
 public:
  text_template() = default;
  static text_template compile(const word& source, variable_table&, diagnostics&);

  bool constant() const noexcept {
    return parts_.empty() || (parts_.size() == 1 && parts_[0].is == kind::text);
  }
  std::string evaluate(evaluation&) const;
  void append(evaluation&, std::string& out) const;

 private:
  enum class kind { text, variable, capture };
  struct part {
    kind is;
    std::string text;
    std::size_t number = 0;
  };
  std::vector<part> parts_;
};

/// True if this text has a $ that begins a variable.
bool has_variable(std::string_view text);

/// What remains to be given once a regular expression matched: its named groups' slots.
using capture_slots = std::vector<std::pair<std::size_t, std::size_t>>;  // slot, group
class regex;
capture_slots declare_captures(const regex&, const position&, variable_table&, diagnostics&);
/// Matches, and on success stores numbered and named captures in the request.
bool match_and_capture(const regex&, const capture_slots&, std::string_view subject, request_state&);

/// The names of all variables that need no definition; those that end in _ are families.
std::vector<std::string_view> builtin_variables();

}  // namespace wsproxy_gateway
