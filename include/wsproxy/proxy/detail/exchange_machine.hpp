// An exchange up to its verdict, and plain HTTP to its end, as a machine: pick, connect, send the request,
// read the answer, and then switch, relay it, or ask the next backend. Events in, wishes out; no I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>

#include <wsproxy/export.hpp>
#include <wsproxy/http/body.hpp>
#include <wsproxy/http/detail/slices.hpp>
#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/proxy/exchange.hpp>
#include <wsproxy/upstream/upstream.hpp>
#include <wsproxy/websocket/detail/tunnel_machine.hpp>

namespace wsproxy::detail {

class WSPROXY_EXPORT exchange_machine {
 public:
  enum class step {
    dialing,   ///< a connection to target() is wanted
    asking,    ///< the request goes up, the response head is awaited
    relaying,  ///< the response's body goes down
    switched,  ///< 101 accepted: a tunnel takes over
    answered,  ///< stop_at_verdict: a final response head is there; its body is unread
    done,      ///< result() is final
  };

  /// `what.how` is not null. Nothing happens before start().
  exchange_machine(exchange&& what, upstream backends, bool stop_at_verdict);

  /// `random` is for the pick.
  void start(std::uint32_t random, time_point now);

  // Events. `out` of a read is bound for the other side.
  void on_dialed(time_point now);
  void on_dial_failed(std::error_code error, time_point now);
  std::size_t on_read(side from, std::span<const char> in, slices& out, time_point now);
  void on_eof(side from, slices& out, time_point now);
  void on_broken(side which, std::error_code error, time_point now);
  void on_write_error(side to, std::error_code error, time_point now);
  void on_backlog(side to, bool waiting, time_point now);
  void on_tick(time_point now);
  void abort(std::error_code error);

  // Wishes.
  step phase() const noexcept { return phase_; }
  const backend& target() const noexcept { return *lease_.backend(); }
  /// Counts the attempts: a connection made for an earlier one is to be closed.
  unsigned attempt() const noexcept { return result_.attempts; }
  bool connected() const noexcept { return connected_; }
  bool wants_read(side from) const noexcept;
  bool has_output(side to) const noexcept { return !(to == side::upstream ? up_out_ : down_out_).empty(); }
  /// The bytes listed are valid until the next event.
  void take_output(side to, slices& out);
  time_point deadline() const noexcept;
  /// Nothing has gone upstream yet.
  bool unsent() const noexcept { return !request_begun_; }

  // What came of it.
  const exchange& what() const noexcept { return what_; }
  exchange& what() noexcept { return what_; }
  /// The request is a WebSocket handshake, or wants to be one.
  bool wished() const noexcept { return kind_ != request_kind::plain; }
  bool downstream_ended() const noexcept { return downstream_ended_; }
  /// The reserved bits that the 101 leaves to extensions: negotiated_rsv().
  std::uint8_t rsv() const noexcept { return rsv_; }
  /// Of an exchange that stops at its verdict.
  const response_head& response() const noexcept { return response_; }
  response_head take_response() noexcept { return std::move(response_); }
  lease take_lease() noexcept { return std::move(lease_); }
  forward_result take_result() noexcept {
    result_.from_client.bytes = request_reader_.size();
    result_.from_upstream.bytes = response_reader_.size();
    return std::move(result_);
  }
  /// Done, and not worth waiting for a client that has not taken all that was sent to it.
  bool settled() const noexcept { return settled_; }

 private:
  std::error_code keep_for_attempts(std::string_view in);
  template <class F> bool ask_host(F f);
  bool body_over_limit() const noexcept;
  void next_attempt(time_point now);
  bool may_retry(unsigned condition, time_point now) const noexcept;
  void attempt_failed(errc error, unsigned condition, time_point now) {
    attempt_failed(make_error_code(error), condition, now);
  }
  void attempt_failed(std::error_code error, unsigned condition, time_point now);
  void send_request(time_point now);
  std::size_t on_request_body(std::span<const char> in, slices& out, time_point now);
  bool relay_request_body(std::string_view& in, slices& out);
  fields trailers_for_upstream() const;
  std::size_t on_response_head(std::span<const char> in, slices& out, time_point now);
  std::size_t on_response_body(std::span<const char> in, slices& out);
  void on_final_head(time_point now);
  response_head rewritten();
  void begin_response(time_point now);
  void end_response(slices& out);
  bool client_keeps_alive() const noexcept;
  bool request_complete() const noexcept { return request_reader_.done(); }
  /// `status` is for the host, where nothing is committed.
  void finish(end_cause, std::error_code, side who, int status);
  void refuse(std::error_code error) {
    finish(end_cause::refused, error, side::downstream, status_for(error));
  }

  exchange what_;
  upstream backends_;
  forward_result result_{};
  pick_state picks_{};
  lease lease_{};
  request_head sent_{};
  fields set_{};                                // by rewrite_request, those that it leaves out too
  std::optional<head_parser> response_parser_;  // of the present attempt
  response_head response_{};
  body_framing request_body_{};
  body_reader request_reader_{};
  body_framing response_body_{};
  body_reader response_reader_{};
  std::string up_out_, down_out_;        // bytes of ours not yet listed
  std::string up_giving_, down_giving_;  // bytes of ours listed last
  time_point since_{};                   // the present wait: dial, response, body
  time_point body_since_{};
  time_point up_stalled_ = time_point::max();
  time_point down_stalled_ = time_point::max();
  std::uint32_t random_ = 0;
  std::uint8_t rsv_ = 0;
  step phase_ = step::dialing;
  request_kind kind_ = request_kind::plain;
  bool stop_at_verdict_;
  bool connected_ = false;
  bool chunk_down_ = false;     // the response's body goes down chunked
  bool request_begun_ = false;  // the request has been handed to a connection
  bool body_streamed_ = false;  // body bytes that cannot be sent again have gone up
  bool upstream_mute_ = false;  // it takes no more of the request; its answer is still read
  bool downstream_ended_ = false;
  bool expects_continue_ = false;
  bool settled_ = false;
};

}  // namespace wsproxy::detail
