// What the load generator and the echo backend share: sockets, an epoll set, and frames.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {

/// The handshake of RFC 6455 section 1.3: one key and its answer are enough.
inline constexpr std::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";
inline constexpr std::string_view accept_value = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

[[noreturn]] inline void die(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

inline void raise_descriptor_limit() {
  ::rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

inline sockaddr_in loopback(int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

inline void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

inline void watch(int set, int fd, std::uint32_t events, void* what) {
  epoll_event interest{};
  interest.events = events;
  interest.data.ptr = what;
  if (::epoll_ctl(set, EPOLL_CTL_ADD, fd, &interest) != 0) die("epoll_ctl");
}

/// A frame's header as far as this load needs it.
struct header {
  std::uint64_t length = 0;
  std::size_t size = 0;  // of the header; 0: not complete
  unsigned char first = 0;
  bool close() const { return (first & 0xf) == 8; }
};

inline header parse(const char* at, std::size_t n) {
  const auto* b = reinterpret_cast<const unsigned char*>(at);
  if (n < 2) return {};
  const std::size_t mask = (b[1] & 0x80) != 0 ? 4 : 0;
  const unsigned code = b[1] & 0x7f;
  const std::size_t extra = code == 127 ? 8 : code == 126 ? 2 : 0;
  if (n < 2 + extra + mask) return {};
  std::uint64_t length = extra == 0 ? code : 0;
  for (std::size_t i = 0; i != extra; ++i) length = length << 8 | b[2 + i];
  return {length, 2 + extra + mask, b[0]};
}

/// A client's mask is zero here: what the backend sends back is then the same payload.
inline std::size_t make_header(char* out, unsigned char first, std::uint64_t length, bool masked) {
  std::size_t n = 0;
  const auto put = [&](std::uint64_t value) { out[n++] = static_cast<char>(value); };
  const unsigned mask = masked ? 0x80 : 0;
  put(first);
  if (length < 126) {
    put(mask | length);
  } else {
    const int extra = length < 65536 ? 2 : 8;
    put(mask | (extra == 2 ? 126u : 127u));
    for (int i = extra; i-- != 0;) put(length >> (8 * i) & 0xff);
  }
  for (int i = 0; masked && i != 4; ++i) put(0);
  return n;
}

}  // namespace bench
