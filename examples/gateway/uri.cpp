#include "uri.hpp"

#include <algorithm>
#include <vector>

namespace wsproxy_gateway {
namespace {

std::optional<int> hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

std::optional<std::string> decode(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i != text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto high = hex(text[i + 1]);
    const auto low = hex(text[i + 2]);
    if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
    result += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return result;
}

/// Resolves "//", "/./" and "/../". Escaped slashes and dots count as such: they are decoded before.
std::optional<std::string> normalise(std::string_view path) {
  std::vector<std::string_view> kept;
  bool ends_in_slash = true;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const auto end = std::min(path.find('/'), path.size());
    const auto segment = path.substr(0, end);
    ends_in_slash = segment.empty() || segment == "." || segment == "..";
    if (segment == "..") {
      if (kept.empty()) return std::nullopt;
      kept.pop_back();
    } else if (!ends_in_slash) {
      kept.push_back(segment);
    }
    path.remove_prefix(end);
  }
  std::string result;
  for (const auto& segment : kept) result.append("/").append(segment);
  if (ends_in_slash) result += '/';
  return result;
}

std::string_view without_authority(std::string_view target) {
  const auto scheme = target.find("://");
  if (target.starts_with('/') || scheme == target.npos) return target;
  const auto path = target.find_first_of("/?", scheme + 3);
  return path == target.npos ? std::string_view{} : target.substr(path);
}

}  // namespace

std::optional<request_uri> parse_target(std::string_view target) {
  if (target == "*") return std::nullopt;  // nginx knows no such target
  request_uri result;
  result.raw = without_authority(target);
  if (result.raw.empty()) result.raw = "/";
  const auto text = std::string_view(result.raw).substr(0, result.raw.find('#'));
  const auto query = std::min(text.find('?'), text.size());
  if (query != text.size()) result.args = text.substr(query + 1);
  const auto path = text.substr(0, query);
  result.quoted = path.find('%') != path.npos;
  const auto decoded = decode(path);
  if (!decoded) return std::nullopt;
  auto normal = normalise(*decoded);
  if (!normal) return std::nullopt;
  result.path = std::move(*normal);
  return result;
}

std::string escape_path(std::string_view path) {
  static constexpr std::string_view special = " \"#%<>?\\^`{|}";
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string result;
  result.reserve(path.size());
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7F && special.find(c) == special.npos) {
      result += c;
    } else {
      result += '%';
      result += digits[byte >> 4];
      result += digits[byte & 15u];
    }
  }
  return result;
}

std::string replace_prefix(const request_uri& request, std::string_view location, std::string_view uri) {
  const auto rest = std::string_view(request.path).substr(std::min(location.size(), request.path.size()));
  std::string result(uri);
  if (request.quoted) result += escape_path(rest);
  else result += rest;
  if (!request.args.empty()) result.append("?").append(request.args);
  return result;
}

}  // namespace wsproxy_gateway
