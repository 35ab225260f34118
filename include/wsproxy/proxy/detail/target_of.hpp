// What an any_io_executor holds. Older Asio (1.22 is one) has a target() that does not look at the type.
#pragma once

#include <typeinfo>

#include <asio/any_io_executor.hpp>

namespace wsproxy::detail {

/// Null if it holds another type.
template <class Executor> const Executor* target_of(const asio::any_io_executor& from) noexcept {
  return from && from.target_type() == typeid(Executor) ? from.target<Executor>() : nullptr;
}

}  // namespace wsproxy::detail
