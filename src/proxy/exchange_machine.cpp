#include <wsproxy/proxy/detail/exchange_machine.hpp>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <wsproxy/http/rewrite.hpp>
#include <wsproxy/websocket/frame.hpp>

#include "../http/characters.hpp"
#include "retry_rules.hpp"

namespace wsproxy::detail {

namespace {

constexpr std::string_view crlf = "\r\n";
constexpr std::size_t most_leftover = 16 * 1024;

std::string_view text(std::span<const char> bytes) { return {bytes.data(), bytes.size()}; }

}  // namespace

exchange_machine::exchange_machine(exchange&& what, upstream backends, bool stop_at_verdict)
    : what_(std::move(what)), backends_(std::move(backends)), stop_at_verdict_(stop_at_verdict) {}

void exchange_machine::start(std::uint32_t random, time_point now) {
  random_ = random;
  result_.begun = now;
  result_.at = stage::head;
  if (const auto error = check_request(what_.head)) return refuse(error);
  const auto verdict = detect_upgrade(what_.head, what_.how->upgrade);
  kind_ = verdict.kind;
  if (kind_ == request_kind::refused) return refuse(verdict.error);
  std::error_code error;
  request_body_ = request_framing(what_.head, error);
  if (error) return refuse(error);
  const auto& bounds = what_.how->tunnel.limits;
  if (bounds.request_body != 0 && request_body_.how == body_framing::kind::length &&
      request_body_.length > bounds.request_body)
    return refuse(errc::body_too_large);
  if (kind_ == request_kind::websocket && bounds.early_bytes != 0 && what_.early.size() > bounds.early_bytes)
    return refuse(errc::early_bytes_too_large);
  request_reader_ = body_reader(request_body_);
  if (kind_ == request_kind::plain)
    if (const auto bad = keep_for_attempts(std::exchange(what_.early, {}))) return refuse(bad);
  if (stop_at_verdict_ && !request_complete())
    return refuse(errc::upgrade_with_body);  // nobody would send it
  expects_continue_ = !request_reader_.done() && what_.early.empty() &&
                      what_.head.version == http_version::http_1_1 &&
                      what_.head.fields.has_token("Expect", "100-continue");
  next_attempt(now);
}

// Of what was read before a backend listens, the body's part goes up with every attempt, and the rest is left
// over.
std::error_code exchange_machine::keep_for_attempts(std::string_view in) {
  std::string_view rest = in;
  while (!rest.empty() && !request_complete()) {
    const auto piece = request_reader_.feed(rest);
    if (piece.error) return piece.error;
    rest.remove_prefix(piece.consumed);
  }
  if (body_over_limit()) return errc::body_too_large;
  what_.early.append(in.substr(0, in.size() - rest.size()));
  result_.leftover.append(rest);
  return {};
}

// Calls a function of the host's. False: it threw, which ends the exchange.
template <class F> bool exchange_machine::ask_host(F f) try {
  f();
  return true;
} catch (...) {
  finish(end_cause::failed, errc::bad_rewrite, side::local, status_for(errc::bad_rewrite));
  return false;
}

bool exchange_machine::body_over_limit() const noexcept {
  const auto most = what_.how->tunnel.limits.request_body;
  return most != 0 && request_reader_.size() > most;
}

void exchange_machine::next_attempt(time_point now) {
  result_.at = stage::pick;
  const std::string_view key = what_.hash_key ? *what_.hash_key : what_.client;
  const pick_for wanted{.head = &what_.head, .client = what_.client, .hash_key = key, .random = random_};
  if (!ask_host([&] { lease_ = backends_.pick(wanted, picks_, now); })) return;
  if (!lease_) return finish(end_cause::failed, lease_.error(), side::upstream, status_for(lease_.error()));
  ++result_.attempts;
  result_.backend = lease_.backend();
  if (const auto& tell = what_.how->on_attempt; tell && !ask_host([&] { tell(what_, *result_.backend); }))
    return;
  result_.at = stage::connect;
  phase_ = step::dialing;
  connected_ = false;
  upstream_mute_ = false;
  up_out_.clear();
  up_stalled_ = time_point::max();
  response_parser_.emplace(head_parser::kind::response, what_.how->response_limits);
  since_ = now;
}

// The request can be sent again only while all of it is here, and nobody has heard of an answer.
bool exchange_machine::may_retry(unsigned condition, time_point now) const noexcept {
  const request_progress request{what_.head.method, request_begun_, result_.attempts, result_.begun};
  return !result_.committed && !body_streamed_ &&
         permits(what_.how->failover, condition, request, backends_.tries(), now) &&
         backends_.allows_retry(now);
}

void exchange_machine::attempt_failed(std::error_code error, unsigned condition, time_point now) {
  // As in nginx, a 403 or 404 sends the request on, but is no failure of the backend's.
  if ((condition & (retry::http_403 | retry::http_404)) != 0) lease_.succeeded(now);
  else lease_.failed(now);
  connected_ = false;
  if (may_retry(condition, now)) {
    lease_ = {};
    return next_attempt(now);
  }
  const auto cause = error == wsproxy::condition::timed_out ? end_cause::timeout : end_cause::failed;
  finish(cause, error, side::upstream, status_for(error));
}

void exchange_machine::on_dialed(time_point now) {
  connected_ = true;
  phase_ = step::asking;
  result_.at = stage::handshake;
  since_ = body_since_ = now;
  send_request(now);
}

void exchange_machine::on_dial_failed(std::error_code error, time_point now) {
  if (lacks_resources(error)) return finish(end_cause::failed, error, side::local, 500);
  attempt_failed(errc::connect_failed, retry::error, now);
}

void exchange_machine::send_request(time_point) {
  const bool made = ask_host([&] {
    request_rewrite rewrite;
    if (what_.how->rewrite_request) what_.how->rewrite_request(what_, *lease_.backend(), rewrite);
    sent_ = make_upstream_request(what_.head, kind_, request_body_, rewrite);
    set_ = std::move(rewrite.set);
    serialize(sent_, up_out_);
  });
  if (!made) return up_out_.clear();
  request_begun_ = true;
  if (std::exchange(expects_continue_, false)) down_out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  if (kind_ == request_kind::websocket) return;
  request_reader_ = body_reader(request_body_);
  for (std::string_view early = what_.early; !early.empty();) {
    slices piece;
    relay_request_body(early, piece);
    for (const auto& part : piece.view()) up_out_.append(part.data, part.size);
  }
}

// One piece of the request's body. False: it is over, or bad.
bool exchange_machine::relay_request_body(std::string_view& in, slices& out) {
  const auto piece = request_reader_.feed(in);
  in.remove_prefix(piece.consumed);
  if (piece.error) {
    refuse(piece.error);
    return false;
  }
  if (body_over_limit()) {
    refuse(errc::body_too_large);
    return false;
  }
  const bool chunked = request_body_.how == body_framing::kind::chunked;
  if (!piece.data.empty() && !upstream_mute_) {
    std::array<char, 18> header;
    if (chunked) out.copy({header.data(), chunk_header(piece.data.size(), header.data())});
    out.borrow(piece.data);
    if (chunked) out.copy(crlf);
  }
  if (request_complete() && chunked && !upstream_mute_) {
    up_giving_ = last_chunk(trailers_for_upstream());
    out.borrow(up_giving_);
  }
  return !request_complete();
}

// Behind the body nobody may say again what the head says, nor in a spelling that a backend takes for it:
// unusual names are dropped here even where heads keep them.
fields exchange_machine::trailers_for_upstream() const {
  fields trailers = request_reader_.trailers();
  trailers.erase_if([&](const field& line) {
    return sent_.fields.find(line.name) || set_.find(line.name) ||
           characters::skip(line.name, 0, characters::usual) != line.name.size();
  });
  return trailers;
}

bool exchange_machine::wants_read(side from) const noexcept {
  if (from == side::upstream) return connected_ && (phase_ == step::asking || phase_ == step::relaying);
  if (downstream_ended_ || phase_ >= step::switched) return false;
  if (!request_complete()) return connected_;
  const auto& waiting = kind_ == request_kind::websocket ? what_.early : result_.leftover;
  const auto most = kind_ == request_kind::websocket && what_.how->tunnel.limits.early_bytes != 0
                        ? what_.how->tunnel.limits.early_bytes
                        : most_leftover;
  return waiting.size() < most;
}

void exchange_machine::take_output(side to, slices& out) {
  auto& from = to == side::upstream ? up_out_ : down_out_;
  auto& giving = to == side::upstream ? up_giving_ : down_giving_;
  giving = std::move(from);
  from.clear();
  out.borrow(giving);
}

std::size_t exchange_machine::on_read(side from, std::span<const char> in, slices& out, time_point now) {
  if (from == side::downstream && phase_ != step::done) return on_request_body(in, out, now);
  if (phase_ == step::asking) {
    since_ = now;
    return on_response_head(in, out, now);
  }
  if (phase_ == step::relaying) {
    since_ = now;
    return on_response_body(in, out);
  }
  // The response is whole. What a stream read by itself meanwhile may be the next request.
  if (from == side::downstream && request_complete()) result_.leftover.append(text(in));
  return in.size();
}

std::size_t exchange_machine::on_request_body(std::span<const char> in, slices& out, time_point now) {
  body_since_ = now;
  if (kind_ == request_kind::websocket) {
    what_.early.append(text(in));
    return in.size();
  }
  if (!connected_) {  // a read that was pending when the backend before failed: nobody is there to take it
    if (const auto bad = keep_for_attempts(text(in))) refuse(bad);
    return in.size();
  }
  std::string_view rest = text(in);
  while (!rest.empty() && !request_complete()) {
    if (!out.room()) return in.size() - rest.size();
    body_streamed_ = true;
    if (!relay_request_body(rest, out) && phase_ == step::done) return in.size();
    if (request_complete()) since_ = now;  // from here on the answer is awaited
  }
  result_.leftover.append(rest);
  return in.size();
}

std::size_t exchange_machine::on_response_head(std::span<const char> in, slices& out, time_point now) {
  std::string_view rest = text(in);
  while (!rest.empty() && phase_ == step::asking && connected_) {
    const auto parsed = response_parser_->feed(rest);
    rest.remove_prefix(parsed.consumed);
    if (parsed.error) {
      attempt_failed(errc::bad_response, retry::invalid_header, now);
      return in.size();
    }
    if (!parsed.done) break;
    response_ = response_parser_->take_response();
    const auto verdict = check_response(sent_, kind_, response_);
    switch (verdict.is) {
    case response_verdict::kind::interim:
      if (response_.status != 100 && what_.head.version == http_version::http_1_1)
        serialize(make_downstream_response(response_, {}, true, what_.head.version), down_out_);
      break;
    case response_verdict::kind::broken:
      attempt_failed(verdict.error, retry::invalid_header, now);
      return in.size();
    case response_verdict::kind::switched:
      lease_.succeeded(now);
      phase_ = step::switched;
      result_.at = stage::tunnel;
      result_.established = now;
      rsv_ = negotiated_rsv(response_.fields);
      if (!stop_at_verdict_) begin_response(now);
      break;
    case response_verdict::kind::final: on_final_head(now); break;
    }
  }
  if (phase_ == step::done || !connected_) return in.size();
  down_giving_ = std::exchange(down_out_, {});
  out.borrow(down_giving_);
  if (phase_ == step::relaying && response_reader_.done()) end_response(out);
  return in.size() - rest.size();
}

void exchange_machine::on_final_head(time_point now) {
  const unsigned condition = retry_condition(response_.status);
  const bool listed = (what_.how->failover.on & condition) != 0;
  if (listed && may_retry(condition, now)) return attempt_failed(errc::bad_response, condition, now);
  std::error_code error;
  response_body_ = response_framing(response_, what_.head.method, error);
  if (error) return attempt_failed(errc::bad_response, retry::invalid_header, now);
  // As in nginx, an answer that is passed on is no failure, whatever its status.
  lease_.succeeded(now);
  response_reader_ = body_reader(response_body_);
  if (stop_at_verdict_) {
    phase_ = step::answered;
    return;
  }
  phase_ = step::relaying;
  result_.at = stage::response;
  begin_response(now);
}

bool exchange_machine::client_keeps_alive() const noexcept {
  const auto& fields = what_.head.fields;
  const bool ended =
      downstream_ended_ && result_.leftover.empty();  // else a request may be among what is left
  if (what_.close || fields.has_token("Connection", "close") || ended) return false;
  return what_.head.version == http_version::http_1_1 || fields.has_token("Connection", "keep-alive");
}

// What the host makes of the response head. Throws what its function throws, and where the new status would
// be framed in another way than the old one.
response_head exchange_machine::rewritten() {
  response_head head = std::move(response_);
  if (!what_.how->rewrite_response) return head;
  strip_hop_by_hop(head.fields);  // else the backend could name fields that the host is about to set
  what_.how->rewrite_response(what_, head);
  const auto framing = [](int status) {
    return status < 200 || status == 204 || status == 304 ? status : 200;
  };
  if (framing(head.status) != framing(response_.status)) throw std::invalid_argument("framed otherwise");
  return head;
}

// The response head goes down: from here on the exchange is committed.
void exchange_machine::begin_response(time_point) {
  result_.committed = true;
  result_.status = response_.status;
  body_framing down = response_body_;
  if (phase_ == step::switched) {
    down = {};
  } else {
    using kind = body_framing::kind;
    const bool speaks_chunked = what_.head.version == http_version::http_1_1;
    if (down.how == kind::chunked || down.how == kind::until_close)
      down.how = speaks_chunked ? kind::chunked : kind::until_close;
    chunk_down_ = down.how == kind::chunked;
    // Bytes that were meant for a tunnel, or the rest of a body nobody reads, are no request.
    const bool refused_with_bytes = kind_ == request_kind::websocket && !what_.early.empty();
    result_.keep_alive =
        client_keeps_alive() && request_complete() && down.how != kind::until_close && !refused_with_bytes;
  }
  const auto sent_before = down_out_.size();
  try {
    serialize(make_downstream_response(rewritten(), down, result_.keep_alive, what_.head.version), down_out_);
  } catch (...) {
    down_out_.resize(sent_before);
    result_.committed = false;
    finish(end_cause::failed, errc::bad_rewrite, side::local, status_for(errc::bad_rewrite));
  }
}

std::size_t exchange_machine::on_response_body(std::span<const char> in, slices& out) {
  std::string_view rest = text(in);
  while (!rest.empty() && !response_reader_.done()) {
    if (!out.room()) return in.size() - rest.size();
    const auto piece = response_reader_.feed(rest);
    rest.remove_prefix(piece.consumed);
    if (piece.error) {
      finish(end_cause::failed, piece.error, side::upstream, 0);
      return in.size();
    }
    if (piece.data.empty()) continue;
    std::array<char, 18> header;
    if (chunk_down_) out.copy({header.data(), chunk_header(piece.data.size(), header.data())});
    out.borrow(piece.data);
    if (chunk_down_) out.copy(crlf);
  }
  if (response_reader_.done()) end_response(out);
  return in.size();  // what follows a response is nobody's: the connection is not used again
}

void exchange_machine::end_response(slices& out) {
  if (chunk_down_) {
    down_giving_ = last_chunk(response_reader_.trailers());
    out.borrow(down_giving_);
  }
  if (!request_complete() || (kind_ == request_kind::websocket && !what_.early.empty()))
    result_.keep_alive = false;
  finish(end_cause::complete, {}, side::none, 0);
}

void exchange_machine::on_eof(side from, slices& out, time_point now) {
  if (from == side::downstream) {
    downstream_ended_ = true;
    if (result_.leftover.empty()) result_.keep_alive = false;
    if (phase_ != step::done && !request_complete())
      finish(end_cause::closed, errc::body_truncated, side::downstream, 0);
    return;
  }
  if (phase_ == step::asking) return attempt_failed(errc::upstream_closed, retry::error, now);
  if (phase_ != step::relaying) return;
  if (const auto error = response_reader_.end_of_input())
    return finish(end_cause::failed, error, side::upstream, 0);
  end_response(out);
}

void exchange_machine::on_broken(side which, std::error_code, time_point now) {
  if (which == side::downstream)
    return finish(end_cause::reset, errc::downstream_closed, side::downstream, 0);
  if (phase_ == step::asking) return attempt_failed(errc::upstream_closed, retry::error, now);
  finish(end_cause::failed, errc::body_truncated, side::upstream, 0);
}

void exchange_machine::on_write_error(side to, std::error_code error, time_point now) {
  if (to == side::downstream) return on_broken(to, error, now);
  // It may have answered before it stopped reading: that answer, or its end, comes by the read.
  upstream_mute_ = true;
  up_stalled_ = time_point::max();
}

void exchange_machine::on_backlog(side to, bool waiting, time_point now) {
  (to == side::upstream ? up_stalled_ : down_stalled_) = waiting ? now : time_point::max();
  if (!waiting) (to == side::upstream ? body_since_ : since_) = now;
  if (to == side::upstream && !waiting) since_ = now;
}

// Which wait is on now. One place decides; deadline() and on_tick() only read it.
time_point exchange_machine::deadline() const noexcept {
  const auto& t = what_.how->tunnel.timeouts;
  time_point first = time_point::max();
  auto wait = [&](time_point since, duration length) {
    if (length > duration::zero() && since != time_point::max()) first = std::min(first, since + length);
  };
  wait(down_stalled_, t.send_stall);
  if (phase_ >= step::switched) return first;
  wait(up_stalled_, t.upstream_send_stall);
  if (phase_ == step::dialing) wait(since_, t.connect);
  const bool body_awaited = connected_ && !request_complete() && up_stalled_ == time_point::max();
  if (body_awaited) wait(body_since_, t.client_body);
  const bool answer_awaited = request_complete() || phase_ == step::relaying;
  if (connected_ && answer_awaited && up_stalled_ == time_point::max() && down_stalled_ == time_point::max())
    wait(since_, t.response);
  return first;
}

void exchange_machine::on_tick(time_point now) {
  if (now < deadline()) return;
  const auto& t = what_.how->tunnel.timeouts;
  auto due = [&](time_point since, duration length) {
    return since != time_point::max() && length > duration::zero() && now >= since + length;
  };
  if (due(down_stalled_, t.send_stall))
    return finish(end_cause::timeout, errc::send_stall_timeout, side::downstream, 0);
  if (phase_ == step::dialing) return attempt_failed(errc::connect_timeout, retry::timeout, now);
  if (due(up_stalled_, t.upstream_send_stall)) {
    if (phase_ == step::asking) return attempt_failed(errc::send_stall_timeout, retry::timeout, now);
    return finish(end_cause::timeout, errc::send_stall_timeout, side::upstream, 0);
  }
  if (!request_complete() && due(body_since_, t.client_body))
    return finish(end_cause::timeout, errc::client_body_timeout, side::downstream,
                  status_for(errc::client_body_timeout));
  if (phase_ == step::asking) return attempt_failed(errc::response_timeout, retry::timeout, now);
  finish(end_cause::timeout, errc::response_timeout, side::upstream, 0);
}

void exchange_machine::abort(std::error_code error) { finish(end_cause::aborted, error, side::local, 503); }

void exchange_machine::finish(end_cause cause, std::error_code error, side who, int status) {
  if (phase_ == step::done && settled_) return;
  const bool at_once = cause == end_cause::aborted || cause == end_cause::reset || cause == end_cause::closed;
  settled_ = phase_ == step::done || at_once || (error && result_.committed);
  phase_ = step::done;
  connected_ = false;
  result_.cause = cause;
  result_.error = error;
  result_.who = who;
  if (result_.committed) {
    if (error) result_.keep_alive = false;
    return;
  }
  // The host can answer, unless an interim response stays cut off; and go on, if the request was read whole.
  const bool cut_off = settled_ && down_stalled_ != time_point::max();
  result_.status = cut_off ? 0 : status;
  result_.keep_alive = !cut_off && who == side::upstream && request_complete() && client_keeps_alive() &&
                       !(kind_ == request_kind::websocket && !what_.early.empty());
}

}  // namespace wsproxy::detail
