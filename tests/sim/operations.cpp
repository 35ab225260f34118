#include <wsproxy/proxy/read_head.hpp>
#include <wsproxy/proxy/tunnel.hpp>

#include "bench.hpp"

namespace sim {

using namespace wsproxy;

namespace {

// What a handler may not see: a call from within the call that began the operation.
template <class Result, class Begin> void initiate(watch<Result>& by, Begin begin) {
  by.initiating = true;
  begin(probe<Result>(by));
  by.initiating = false;
}

template <class Stream>
void do_read_head(Stream& from, std::string buffered, read_head_options options,
                  watch<read_head_result>& by) {
  options.world = &by.where;
  initiate(by,
           [&](auto handler) { async_read_head(from, std::move(buffered), options, std::move(handler)); });
}
template <class Stream>
void do_send(Stream& to, std::string bytes, send_options options, watch<std::error_code>& by) {
  options.world = &by.where;
  initiate(by, [&](auto handler) { async_send(to, std::move(bytes), options, std::move(handler)); });
}
template <class Stream>
void do_handshake(const upstream& with, exchange what, watch<handshake_result<Stream>>& by) {
  what.world = &by.where;
  initiate(by, [&](auto handler) {
    async_handshake(by.where.executor(), with, std::move(what), basic_dialer<Stream>(by.where),
                    std::move(handler));
  });
}
template <class Stream>
void do_tunnel(Stream& down, switched<Stream> up, std::string early, watch<forward_result>& by) {
  initiate(by,
           [&](auto handler) { async_tunnel(down, std::move(up), std::move(early), std::move(handler)); });
}
template <class Stream>
void do_relay(Stream& first, std::string early_first, Stream second, std::string early_second,
              const tunnel_policy& policy, watch<forward_result>& by) {
  initiate(by, [&](auto handler) {
    async_relay(first, std::move(early_first), std::move(second), std::move(early_second), policy, &by.where,
                std::move(handler));
  });
}

}  // namespace

void read_head(stream& from, std::string buffered, const read_head_options& options,
               watch<read_head_result>& by) {
  do_read_head(from, std::move(buffered), options, by);
}
void read_head(completion_stream& from, std::string buffered, const read_head_options& options,
               watch<read_head_result>& by) {
  do_read_head(from, std::move(buffered), options, by);
}
void send(stream& to, std::string bytes, const send_options& options, watch<std::error_code>& by) {
  do_send(to, std::move(bytes), options, by);
}
void send(completion_stream& to, std::string bytes, const send_options& options, watch<std::error_code>& by) {
  do_send(to, std::move(bytes), options, by);
}
void handshake(const upstream& with, exchange what, watch<handshake_result<stream>>& by) {
  do_handshake(with, std::move(what), by);
}
void handshake(const upstream& with, exchange what, watch<handshake_result<completion_stream>>& by) {
  do_handshake(with, std::move(what), by);
}
void tunnel(stream& down, switched<stream> up, std::string early, watch<forward_result>& by) {
  do_tunnel(down, std::move(up), std::move(early), by);
}
void tunnel(completion_stream& down, switched<completion_stream> up, std::string early,
            watch<forward_result>& by) {
  do_tunnel(down, std::move(up), std::move(early), by);
}
void relay(stream& first, std::string early_first, stream second, std::string early_second,
           const tunnel_policy& policy, watch<forward_result>& by) {
  do_relay(first, std::move(early_first), std::move(second), std::move(early_second), policy, by);
}
void relay(completion_stream& first, std::string early_first, completion_stream second,
           std::string early_second, const tunnel_policy& policy, watch<forward_result>& by) {
  do_relay(first, std::move(early_first), std::move(second), std::move(early_second), policy, by);
}

}  // namespace sim
