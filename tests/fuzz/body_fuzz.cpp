// Bodies: any cuts give the same data, the same end and the same error; and a chunked body that is relayed is
// the same body again.
#include <string>

#include <wsproxy/http/body.hpp>

#include "fuzz.hpp"

namespace {

using namespace wsproxy;

struct result {
  std::size_t consumed = 0;
  bool done = false;
  std::error_code error{};
  std::string data{};
  wsproxy::fields trailers{};

  bool operator==(const result&) const = default;
};

// `relayed` gets what a proxy would pass on.
result read(body_framing framing, std::string_view bytes, std::uint8_t seed, std::string& relayed) {
  body_reader reader(framing);
  result seen;
  fuzz::in_pieces(bytes, seed, [&](std::string_view piece) {
    const std::string copy(piece);
    std::string_view rest = copy;
    while (!rest.empty() && !reader.done()) {
      const auto step = reader.feed(rest);
      fuzz::require(step.consumed <= rest.size(), "no more is consumed than there is");
      fuzz::require(step.consumed != 0 || step.error, "every step goes on");
      rest.remove_prefix(step.consumed);
      seen.consumed += step.consumed;
      seen.data += step.data;
      char header[18];
      if (!step.data.empty())
        relayed.append(header, chunk_header(step.data.size(), header)).append(step.data).append("\r\n");
      if (step.error) {
        seen.error = step.error;
        return false;
      }
    }
    return !reader.done();
  });
  fuzz::require(reader.size() == seen.data.size(), "the size is that of the data");
  seen.done = reader.done();
  if (seen.done) {
    seen.trailers = reader.trailers();
    relayed += last_chunk(seen.trailers);
  }
  if (!seen.error && !seen.done) seen.error = reader.end_of_input();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input from(data, size);
  const auto choice = from.choice();
  const auto seed = from.choice();
  using kind = body_framing::kind;
  body_framing framing{kind::chunked};
  if (choice % 8 == 1) framing = {kind::length, choice};
  if (choice % 8 == 2) framing = {kind::until_close};
  if (choice % 8 == 3) framing = {kind::none};

  std::string relayed, ignored;
  const auto whole = read(framing, from.rest(), 0, relayed);
  fuzz::require(read(framing, from.rest(), seed, ignored) == whole, "cuts change nothing");
  fuzz::require(read(framing, from.rest(), 255, ignored) == whole, "single bytes change nothing");
  if (framing.how != kind::chunked || !whole.done) return 0;
  ignored.clear();
  const auto again = read(framing, relayed, seed, ignored);
  fuzz::require(again.done && again.consumed == relayed.size(), "what is relayed is one body");
  fuzz::require(again.data == whole.data && again.trailers == whole.trailers,
                "what is relayed is the same body");
  return 0;
}
