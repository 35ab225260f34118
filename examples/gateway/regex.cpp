#include "regex.hpp"

#include <stdexcept>

#include <fmt/format.h>

#ifdef WSPROXY_HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace wsproxy_gateway {
namespace {

const pcre2_code* code_of(const std::shared_ptr<const void>& code) {
  return static_cast<const pcre2_code*>(code.get());
}

std::vector<std::pair<std::string, std::size_t>> names_of(const pcre2_code* code) {
  std::uint32_t count = 0;
  std::uint32_t entry_size = 0;
  PCRE2_SPTR table = nullptr;
  pcre2_pattern_info(code, PCRE2_INFO_NAMECOUNT, &count);
  pcre2_pattern_info(code, PCRE2_INFO_NAMEENTRYSIZE, &entry_size);
  pcre2_pattern_info(code, PCRE2_INFO_NAMETABLE, &table);
  std::vector<std::pair<std::string, std::size_t>> names;
  for (std::uint32_t i = 0; i != count; ++i, table += entry_size) {
    // An entry is the group's number in two bytes, most significant first, and its name.
    const auto number = static_cast<std::size_t>(table[0] << 8 | table[1]);
    names.emplace_back(reinterpret_cast<const char*>(table + 2), number);
  }
  return names;
}

}  // namespace

regex::regex(std::string_view pattern, bool ignore_case) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                             ignore_case ? PCRE2_CASELESS : 0u, &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    throw std::invalid_argument(fmt::format(R"(regular expression "{}": {} at character {})", pattern,
                                            reinterpret_cast<const char*>(message), offset + 1));
  }
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p))); });
  names_ = names_of(code);
}

bool regex::match(std::string_view subject, std::vector<std::string>& captures) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code_of(code_), nullptr), pcre2_match_data_free);
  const int groups = pcre2_match(code_of(code_), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(),
                                 0, 0, data.get(), nullptr);
  if (groups < 0) return false;  // no match, or a limit of PCRE's was reached
  const auto* offsets = pcre2_get_ovector_pointer(data.get());
  captures.assign(pcre2_get_ovector_count(data.get()), {});
  for (std::size_t i = 0; i != static_cast<std::size_t>(groups); ++i)
    if (offsets[2 * i] != PCRE2_UNSET)
      captures[i] = subject.substr(offsets[2 * i], offsets[2 * i + 1] - offsets[2 * i]);
  return true;
}

}  // namespace wsproxy_gateway

#else

namespace wsproxy_gateway {

regex::regex(std::string_view pattern, bool) {
  throw std::invalid_argument(
      fmt::format(R"(regular expression "{}": this wsproxy-gateway was built without PCRE2)", pattern));
}
bool regex::match(std::string_view, std::vector<std::string>&) const { return false; }

}  // namespace wsproxy_gateway

#endif
