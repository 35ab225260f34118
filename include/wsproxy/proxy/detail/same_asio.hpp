// A program and the wsproxy it links must see the same Asio: its classes are compiled into both, and where
// they differ the program breaks without a word (the one-definition rule). What each sees is therefore part
// of a name that only the library defines: a difference is an undefined reference, whose name says what is
// wrong.
#pragma once

#include <asio/detail/config.hpp>
#include <asio/version.hpp>

#include <wsproxy/export.hpp>

namespace wsproxy::detail {

/// The macros that change what Asio's classes are made of, a bit each.
inline constexpr unsigned asio_macros = 0
#if defined(ASIO_HAS_STD_ALIGNED_ALLOC)
                                        | 1u << 0
#endif
#if defined(ASIO_DISABLE_THREADS)
                                        | 1u << 1
#endif
#if defined(ASIO_USE_TS_EXECUTOR_AS_DEFAULT)
                                        | 1u << 2
#endif
#if defined(ASIO_ENABLE_HANDLER_TRACKING)
                                        | 1u << 3
#endif
#if defined(ASIO_ENABLE_BUFFER_DEBUGGING)
                                        | 1u << 4
#endif
#if defined(ASIO_DISABLE_EPOLL)
                                        | 1u << 5
#endif
#if defined(ASIO_HAS_IO_URING)
                                        | 1u << 6
#endif
#if defined(ASIO_HAS_IO_URING_AS_DEFAULT)
                                        | 1u << 7
#endif
#if defined(ASIO_NO_EXCEPTIONS)
                                        | 1u << 8
#endif
#if defined(ASIO_DISABLE_SMALL_BLOCK_RECYCLING)
                                        | 1u << 9
#endif
    ;

/// "undefined reference" to this: the program is compiled with another Asio than the wsproxy library it links
/// (the first number is ASIO_VERSION, the second the macros above). Build both with the same.
template <int Version, unsigned Macros> struct WSPROXY_EXPORT wsproxy_was_built_with_another_asio {
  static const char check;
};
template <> const char wsproxy_was_built_with_another_asio<ASIO_VERSION, asio_macros>::check;

// Every object that includes this asks for it.
[[gnu::used]] inline const char* const same_asio =
    &wsproxy_was_built_with_another_asio<ASIO_VERSION, asio_macros>::check;

}  // namespace wsproxy::detail
