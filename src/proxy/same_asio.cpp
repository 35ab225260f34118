#include <wsproxy/proxy/detail/same_asio.hpp>

namespace wsproxy::detail {

template <> const char wsproxy_was_built_with_another_asio<ASIO_VERSION, asio_macros>::check = 0;

}  // namespace wsproxy::detail
