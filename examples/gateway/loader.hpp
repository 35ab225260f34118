// From a file to a configuration, or to everything that is wrong with it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "configuration.hpp"
#include "diagnostics.hpp"

namespace wsproxy_gateway {

struct load_result {
  std::shared_ptr<const configuration> config;  ///< null if there are errors
  diagnostics report;
};

load_result load_file(const std::string& path);
/// The text of a configuration; `name` stands for its file in messages, and its folder for `include`.
load_result load_text(std::string_view text, const std::string& name);

}  // namespace wsproxy_gateway
