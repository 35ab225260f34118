// Which fields of a head concern one connection only. Private.
#pragma once

#include <string_view>
#include <vector>

#include <wsproxy/http/fields.hpp>

namespace wsproxy {

/// Knows them of one head, which must stay as it is meanwhile: those that a proxy never passes on, and those
/// that Connection names.
class hop_by_hop_fields {
 public:
  explicit hop_by_hop_fields(const fields& of);
  bool has(std::string_view name) const noexcept;

 private:
  std::vector<std::string_view> nominated_;  // sorted, without case
};

}  // namespace wsproxy
