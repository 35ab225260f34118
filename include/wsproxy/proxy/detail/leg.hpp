// One side of a relay as its driver sees it: reads in pieces, writes that are either taken at once or
// kept in order until they are. Two specialisations, one for each tier of streams.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>

#include <wsproxy/http/detail/slices.hpp>
#include <wsproxy/proxy/stream.hpp>

namespace wsproxy::detail {

/// Where reads of readiness streams land: one per thread, so an idle tunnel holds no buffer.
/// 32 KiB is near the best for bulk data under every congestion control.
inline constexpr std::size_t read_size = 32 * 1024;
inline std::span<char> scratch() {
  thread_local const std::unique_ptr<char[]> bytes(new char[read_size]);
  return {bytes.get(), read_size};
}

/// Bytes a peer has not taken yet. Holds no memory while empty.
class backlog {
 public:
  bool empty() const noexcept { return !kept_; }
  std::span<const char> unsent() const noexcept {
    if (!kept_) return {};
    return {kept_->bytes.data() + kept_->sent, kept_->bytes.size() - kept_->sent};
  }
  void append(std::span<const slice> parts, std::size_t skip) {
    for (auto part : parts) {
      const auto cut = std::min(skip, part.size);
      skip -= cut;
      if (part.size == cut) continue;
      if (!kept_) kept_ = std::make_unique<kept>();
      kept_->bytes.append(part.data + cut, part.size - cut);
    }
  }
  void sent(std::size_t n) {
    if (kept_ && (kept_->sent += n) == kept_->bytes.size()) clear();
  }
  void clear() noexcept { kept_.reset(); }

 private:
  struct kept {
    std::string bytes{};
    std::size_t sent = 0;
  };
  std::unique_ptr<kept> kept_;
};

/// The side that is not there: a handshake without a downstream.
struct no_stream {};

template <class Stream> class leg;

template <> class leg<no_stream> {
 public:
  static constexpr bool present = false;
};

template <readiness_stream Stream> class leg<Stream> {
 public:
  static constexpr bool present = true;
  using traits = stream_traits<Stream>;

  void attach(Stream& s) noexcept { stream_ = &s; }
  Stream& stream() noexcept { return *stream_; }
  bool idle() const noexcept { return unsent_.empty(); }
  /// Bytes that were written and are not taken yet.
  std::size_t waiting() const noexcept { return unsent_.unsent().size(); }
  void discard() noexcept { unsent_.clear(); }

  /// handler(error_code, size_t): then take_read.
  template <class Handler> void start_read(Handler&& handler) {
    traits::async_wait_read(*stream_, std::forward<Handler>(handler));
  }
  /// What is there: a view valid until the next read on this thread. Empty without error: nothing.
  std::span<const char> take_read(std::size_t, std::error_code& ec) {
    if (ec) return {};
    const auto into = scratch();
    const auto n = traits::try_read(*stream_, into, ec);
    forgive(ec);
    return into.first(n);
  }
  /// After a full read there is more, and asking again is cheaper than waiting.
  bool may_read_on(std::size_t got) const noexcept { return got == read_size; }

  /// Takes all of it: writes at once what the peer takes, keeps the rest. FIN follows what is the last.
  void write(const slices& out, std::error_code& ec, bool last = false) {
    std::size_t done = 0;
    if (unsent_.empty()) {
      done = out.view().size() == 1 ? try_one(out.view().front(), ec, last) : try_all(out.view(), ec, last);
      if (ec || done == out.total()) return;
    }
    unsent_.append(out.view(), done);
  }
  /// handler(error_code, size_t): then continue_write.
  template <class Handler> void start_write(Handler&& handler) {
    traits::async_wait_write(*stream_, std::forward<Handler>(handler));
  }
  /// Returns how much went out.
  std::size_t continue_write(std::size_t, std::error_code& ec) {
    if (ec || unsent_.empty()) return 0;
    const auto bytes = unsent_.unsent();
    const auto n = try_one({bytes.data(), bytes.size()}, ec);
    unsent_.sent(n);
    return n;
  }

 private:
  static void forgive(std::error_code& ec) {
    if (ec && (ec == asio::error::would_block || ec == asio::error::try_again)) ec.clear();
  }
  std::size_t try_one(const slice& part, std::error_code& ec, bool last = false) {
    const asio::const_buffer buffer(part.data, part.size);
    return try_write({&buffer, 1}, ec, last);
  }
  std::size_t try_all(std::span<const slice> parts, std::error_code& ec, bool last) {
    std::array<asio::const_buffer, 12> buffers;
    std::size_t count = 0;
    for (const auto& part : parts) buffers[count++] = {part.data, part.size};
    return try_write({buffers.data(), count}, ec, last);
  }
  std::size_t try_write(std::span<const asio::const_buffer> from, std::error_code& ec, bool last) {
    std::size_t n = 0;
    if constexpr (requires { traits::try_write_last(*stream_, from, ec); })
      n = last ? traits::try_write_last(*stream_, from, ec) : traits::try_write(*stream_, from, ec);
    else n = traits::try_write(*stream_, from, ec);
    forgive(ec);
    return n;
  }

  Stream* stream_ = nullptr;
  backlog unsent_;
};

template <async_stream Stream>
requires(!readiness_stream<Stream>) class leg<Stream> {
 public:
  static constexpr bool present = true;
  using traits = stream_traits<Stream>;

  void attach(Stream& s) noexcept { stream_ = &s; }
  Stream& stream() noexcept { return *stream_; }
  bool idle() const noexcept { return unsent_.empty() && flying_.empty(); }
  std::size_t waiting() const noexcept { return unsent_.unsent().size() + flying_.unsent().size(); }
  void discard() noexcept { unsent_.clear(); }  // what is flying belongs to the pending write

  template <class Handler> void start_read(Handler&& handler) {
    if (!into_) into_.reset(new char[read_size]);
    stream_->async_read_some(asio::buffer(into_.get(), read_size), std::forward<Handler>(handler));
  }
  std::span<const char> take_read(std::size_t n, std::error_code&) { return {into_.get(), n}; }
  bool may_read_on(std::size_t) const noexcept { return false; }

  void write(const slices& out, std::error_code&, bool = false) { unsent_.append(out.view(), 0); }
  template <class Handler> void start_write(Handler&& handler) {
    if (flying_.empty()) std::swap(flying_, unsent_);  // the buffer of a pending write must not move
    const auto bytes = flying_.unsent();
    stream_->async_write_some(asio::buffer(bytes.data(), bytes.size()), std::forward<Handler>(handler));
  }
  std::size_t continue_write(std::size_t n, std::error_code& ec) {
    if (ec) flying_.clear();
    else flying_.sent(n);
    return n;
  }

 private:
  Stream* stream_ = nullptr;
  std::unique_ptr<char[]> into_;
  backlog unsent_, flying_;
};

}  // namespace wsproxy::detail
