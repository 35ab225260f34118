// asio::post and asio::dispatch for what we run ourselves, without a detour where the context is ours.
#pragma once

#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/dispatch.hpp>
#include <asio/post.hpp>

#ifdef __linux__
#include <wsproxy/proxy/detail/target_of.hpp>
#include <wsproxy/proxy/edge_context.hpp>
#endif

namespace wsproxy::detail {

/// Calls `f` later. any_io_executor would wrap a function for an edge_context in two allocations; this is
/// one.
template <class F> void post_on(const asio::any_io_executor& to, F f) {
#ifdef __linux__
  if (const auto* ours = target_of<edge_context::executor_type>(to))
    return ours->require(asio::execution::blocking.never).execute(std::move(f));
#endif
  asio::post(to, std::move(f));
}
/// Of a handler's own executor.
template <class Executor, class F> void post_on(const Executor& to, F f) { asio::post(to, std::move(f)); }

/// Calls `f` here and now if this is a thread of the executor's, else later.
template <class F> void dispatch_on(const asio::any_io_executor& to, F f) {
#ifdef __linux__
  if (const auto* ours = target_of<edge_context::executor_type>(to))
    return ours->require(asio::execution::blocking.possibly).execute(std::move(f));
#endif
  asio::dispatch(to, std::move(f));
}

}  // namespace wsproxy::detail
