// The values that directives take: times, sizes, numbers, as nginx reads them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wsproxy_gateway {

/// "1m30s", "500ms", "60", "1d 12h": units in falling order, each once; a number alone is seconds.
/// Nothing for anything else. More than wsproxy::longest_time is that. [ngx_parse_time]
std::optional<std::chrono::milliseconds> parse_time(std::string_view text);
/// The same where whole seconds are kept: years and months are units too, milliseconds are not.
std::optional<std::chrono::seconds> parse_seconds(std::string_view text);
/// "8k", "1m", "1g", "512": bytes. [ngx_parse_offset]
std::optional<std::uint64_t> parse_size(std::string_view text);
/// Digits only. What an int cannot hold is the largest that it can.
std::optional<unsigned> parse_number(std::string_view text);

/// ASCII.
std::string to_lower(std::string_view text);

/// Visible ASCII, or a space.
constexpr bool is_printable(char c) noexcept { return c >= ' ' && c <= '~'; }
/// With \xNN in the place of every byte that is not to be kept.
std::string escape_bytes(std::string_view text, bool (*keep)(char));

/// The candidate that `text` was probably meant to be, or an empty view.
std::string_view closest(std::string_view text, const std::vector<std::string_view>& candidates);
/// The end of a message: "; did you mean "NAME"?", or nothing where `meant` is empty.
std::string did_you_mean(std::string_view meant);

}  // namespace wsproxy_gateway
