#include "connection.hpp"

#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <fmt/format.h>

#include <wsproxy/http/body.hpp>
#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/proxy/read_head.hpp>
#include <wsproxy/websocket/upgrade.hpp>
#ifdef __linux__
#include <wsproxy/proxy/edge_socket.hpp>
#endif

namespace wsproxy::detail {

namespace {

#ifdef __linux__
using backend_dialer = edge_dialer;
#else
using backend_dialer = socket_dialer;
#endif

respond plain_answer(int status, const std::error_code& why) {
  respond answer{.status = status, .extra = refusal_fields(why)};
  answer.extra.add("Content-Type", "text/plain; charset=utf-8");
  answer.body = fmt::format("{} {}\n", status, reason_phrase(status));
  if (why) answer.body += why.message() + "\n";
  return answer;
}

}  // namespace

class client_connection : public std::enable_shared_from_this<client_connection> {
  template <class Handler> auto stoppable(Handler handler) {
    return asio::bind_cancellation_slot(stop_.slot(), std::move(handler));
  }

 public:
  client_connection(std::shared_ptr<connection_host> host, gateway_socket socket, connection_origin from)
      : host_(std::move(host)), socket_(std::move(socket)), from_(std::move(from)) {
    host_->connections.add(*this);
  }
  ~client_connection() {
    leave();
    host_->connections.remove(*this);
  }

  void read() {
    const auto& by = received();
    reading_ = true;
    read_head_options how{.limits = by.request_head,
                          .head = by.timeouts.client_head,
                          .first_byte = request_ != 0 && early_.empty() ? keep_alive_ : duration::zero(),
                          .world = host_->world};
    async_read_head(socket_, std::exchange(early_, {}), how,
                    stoppable([self = shared_from_this()](read_head_result result) {
                      self->on_head(std::move(result));
                    }));
  }

  /// Nothing of a request has come, or no answer has begun: it may be closed without a loss.
  void close_if_reading() {
    if (reading_) stop();
  }
  void stop() { stop_.emit(asio::cancellation_type::terminal); }

 private:
  friend class connection_list;
  const reception& received() const {
    const auto& receive = host_->options.receive;
    const auto* other = receive ? receive(seen()) : nullptr;
    return other != nullptr ? *other : host_->usual;
  }
  const timeouts& times_of(const std::shared_ptr<const route>& how) const {
    return how ? how->tunnel.timeouts : received().timeouts;
  }

  const request_head& head() const noexcept {
    static const request_head none;
    return head_ ? *head_ : none;
  }
  inbound seen() const noexcept {
    return {head(),         from_.client.host, from_.client.port, from_.local->host, from_.local->port,
            from_.listener, from_.number,      request_,          user_.get()};
  }

  void on_head(read_head_result result) {
    reading_ = false;
    if (result.error == errc::cancelled || host_->draining) return close();
    if (result.error) {
      const int status = status_for(result.error);
      if (status == 0 || is_silent(result.error)) return close();
      ++request_;
      head_ = std::make_unique<request_head>();
      return refuse(status, result.error);
    }
    ++request_;
    ++host_->requests;
    head_ = std::make_unique<request_head>(std::move(result.head));
    early_ = std::move(result.early);
    const auto request = seen();
    if (const auto error = check_request(*head_)) return refuse(status_for(error), error);
    decide(request);
  }

  // Nobody is there to be told, or nobody is used to be told.
  bool is_silent(const std::error_code& error) const {
    if (error == errc::client_head_timeout) return !host_->options.answer_head_timeout;
    return error.category() != category() || error == errc::keep_alive_timeout ||
           error == errc::downstream_closed;
  }

  void decide(const inbound& request) {
    decision chosen = hang_up{};
    try {
      chosen = host_->select(request);
    } catch (...) {
      return answer(error_answer(500, {}));
    }
    if (auto* to = std::get_if<pass>(&chosen)) forward(std::move(*to));
    else if (auto* own = std::get_if<respond>(&chosen)) answer(std::move(*own));
    else close();
  }

  // False if this request would become one tunnel too many.
  bool enter(const pass& to) {
    auto& count = host_->limits;
    if (!count.set()) return true;
    const auto kind = detect_upgrade(*head_, to.how ? to.how->upgrade : upgrade_policy{}).kind;
    counted_ = kind == request_kind::websocket && count.enter(from_.client.host);
    return counted_ || kind != request_kind::websocket;
  }
  void leave() noexcept {
    if (std::exchange(counted_, false)) host_->limits.leave(from_.client.host);
  }

  void forward(pass to) {
    if (host_->stopped) return close();  // by the selector
    keep_alive_ = times_of(to.how).keep_alive;
    if (!enter(to)) {
      ++host_->over_limit;
      forward_result result{.error = errc::tunnel_limit,
                            .who = side::local,
                            .cause = end_cause::refused,
                            .status = status_for(errc::tunnel_limit)};
      result.keep_alive =
          early_.empty() && client_keeps_alive();  // else they are frames for a tunnel that there is not
      tell("pass::on_end", to.on_end, result);
      return on_forwarded(std::move(result));
    }
    exchange what{.head = *head_,
                  .early = std::move(early_),
                  .client = from_.client.host,
                  .local = from_.local->host,
                  .hash_key = std::move(to.hash_key),
                  .how = std::move(to.how),
                  .sessions = host_->sessions,
                  .user = user_ = std::move(to.user),
                  .close = to.close,
                  .world = host_->world};
    what.on_established = [self = weak_from_this(),
                           next = std::move(to.on_established)](session_handle session) {
      if (auto alive = self.lock()) alive->on_established(session);
      if (next) next(session);
    };
    async_forward(
        socket_, std::move(to.to), std::move(what), backend_dialer{},
        stoppable([self = shared_from_this(), on_end = std::move(to.on_end)](forward_result result) {
          self->tell("pass::on_end", on_end, result);
          self->on_forwarded(std::move(result));
        }));
  }

  void on_established(const session_handle& session) {
    if (!host_->options.on_request) {  // nobody asks for them again
      head_.reset();
      user_.reset();
    }
    if (host_->draining) drain_late(session);
  }

  // A tunnel that was established while draining: it does not wait for a turn.
  void drain_late(const session_handle& session) const {
    auto how = host_->drain_of(session);
    how.spread = duration::zero();
    if (how.code != 0) session.drain(how);
  }

  void on_forwarded(forward_result result) {
    leave();
    if (result.committed) {
      log(result.status, result.from_upstream.bytes, &result);
      if (result.at == stage::tunnel) return close();
      return result.keep_alive ? next(std::move(result.leftover)) : close_politely();
    }
    if (result.status == 0) {
      log(499, 0, &result);
      return close();
    }
    if (result.cause == end_cause::refused) ++host_->refused;
    auto own = error_answer(result.status, result.error);
    own.close = own.close || !result.keep_alive;
    early_ = std::move(result.leftover);
    body_read_ = result.keep_alive;
    send(std::move(own), &result);
  }

  respond error_answer(int status, const std::error_code& why) const {
    const auto& make = host_->options.error_answer;
    if (!make) return plain_answer(status, why);
    try {
      return make(status, why, seen());
    } catch (...) {
      return plain_answer(500, {});
    }
  }
  void refuse(int status, const std::error_code& why) {
    ++host_->refused;
    auto own = error_answer(status, why);
    own.close = true;
    body_read_ = false;
    send(std::move(own), nullptr);
  }

  // An answer of the gateway's own; the request's body is not wanted. What came behind a handshake was meant
  // for a tunnel, and is no request (RFC 9931).
  void answer(respond own) {
    body_read_ = skip_body() && (early_.empty() || detect_upgrade(*head_).kind == request_kind::plain);
    send(std::move(own), nullptr);
  }

  // True if the whole body came with the head; `early_` is then what follows it.
  bool skip_body() {
    std::error_code error;
    body_reader reader(request_framing(*head_, error));
    std::string_view rest = early_;
    while (!error && !rest.empty() && !reader.done()) {
      const auto step = reader.feed(rest);
      rest.remove_prefix(step.consumed);
      error = step.error;
    }
    early_ = std::string(rest);
    return !error && reader.done();
  }

  bool client_keeps_alive() const {
    if (head_->fields.has_token("Connection", "close")) return false;
    return head_->version == http_version::http_1_1 || head_->fields.has_token("Connection", "keep-alive");
  }

  // What cannot be sent (a status or a field that is none) was not what the host meant.
  static std::string bytes_of(respond& own, bool closes) {
    try {
      return make_response(own.status, own.body, own.extra, closes);
    } catch (const std::invalid_argument&) {
      own = plain_answer(500, {});
      return make_response(own.status, own.body, own.extra, closes);
    }
  }

  void send(respond own, const forward_result* result) {
    if (host_->stopped) return close();
    const bool closes = own.close || !body_read_ || host_->draining || !client_keeps_alive();
    if (!closes && head_->version == http_version::http_1_0) own.extra.add("Connection", "keep-alive");
    std::string bytes = bytes_of(own, closes);
    if (head_->method == "HEAD") bytes.resize(bytes.find("\r\n\r\n") + 4);
    log(own.status, head_->method == "HEAD" ? 0 : own.body.size(), result);
    if (host_->stopped) return close();  // by who was told
    const auto& t = times_of(own.how);
    keep_alive_ = t.keep_alive;
    async_send(socket_, std::move(bytes),
               {.send_stall = t.send_stall, .close = closes, .linger = t.linger, .world = host_->world},
               stoppable([self = shared_from_this(), closes](std::error_code error) {
                 if (error || closes) self->close();
                 else self->next(std::move(self->early_));
               }));
  }

  void next(std::string leftover) {
    if (host_->draining) return close_politely();
    early_ = std::move(leftover);
    head_.reset();
    user_ = {};
    read();
  }

  // FIN first, so that the last answer is not lost to a reset.
  void close_politely() {
    if (host_->stopped) return close();
    async_send(socket_, {}, {.close = true, .linger = received().timeouts.linger, .world = host_->world},
               stoppable([self = shared_from_this()](std::error_code) { self->close(); }));
  }

  void close() {
    stream_traits<gateway_socket>::close(socket_);
    if (host_->connections.remove(*this)) host_->on_connection_end();
  }

  void log(int status, std::uint64_t sent, const forward_result* result) const {
    tell("gateway_options::on_request", host_->options.on_request, seen(), status, sent, result);
  }
  // The connection goes on whatever the host's function does.
  template <class F, class... Args> void tell(const char* name, const F& f, const Args&... args) const {
    if (f) try {
        f(args...);
      } catch (...) {
        if (host_->options.on_warning)
          host_->options.on_warning(std::string(name) + " has thrown an exception");
      }
  }

  const std::shared_ptr<connection_host> host_;
  client_connection* next_ = nullptr;     // in its list
  client_connection** before_ = nullptr;  // what points here; null: it is in no list
  gateway_socket socket_;
  const connection_origin from_;
  std::uint64_t request_ = 0;
  duration keep_alive_{};  // after the present request
  std::shared_ptr<void> user_;
  std::unique_ptr<request_head> head_;  // while somebody may ask for it
  std::string early_;                   // behind the head: of the present request, then of the next one
  asio::cancellation_signal stop_;
  bool reading_ = false;
  bool body_read_ = false;
  bool counted_ = false;  // among the tunnels
};

// ---- All of them.

void connection_list::add(client_connection& one) noexcept {
  one.next_ = first_;
  one.before_ = &first_;
  if (one.next_ != nullptr) one.next_->before_ = &one.next_;
  first_ = &one;
  ++size_;
}

bool connection_list::remove(client_connection& one) noexcept {
  if (one.before_ == nullptr) return false;
  *one.before_ = one.next_;
  if (one.next_ != nullptr) one.next_->before_ = one.before_;
  one.before_ = nullptr;
  --size_;
  return true;
}

// One that is closed leaves the list.
std::vector<std::shared_ptr<client_connection>> connection_list::all() const {
  std::vector<std::shared_ptr<client_connection>> all;
  for (auto* each = first_; each != nullptr; each = each->next_)
    if (auto alive = each->weak_from_this().lock()) all.push_back(std::move(alive));
  return all;
}

void connection_list::close_reading() const {
  for (const auto& each : all()) each->close_if_reading();
}
void connection_list::stop_all() const {
  for (const auto& each : all()) each->stop();
}

void serve_connection(std::shared_ptr<connection_host> host, gateway_socket socket, connection_origin from) {
  std::make_shared<client_connection>(std::move(host), std::move(socket), std::move(from))->read();
}

}  // namespace wsproxy::detail
