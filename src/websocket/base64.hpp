// Base64 with padding (RFC 4648 section 4).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace wsproxy {

std::string base64(std::span<const std::uint8_t> bytes);

/// True if the text has the form of 16 encoded bytes: 22 characters of the alphabet and "==".
bool is_base64_of_16_bytes(std::string_view text) noexcept;

}  // namespace wsproxy
