// What stands around a code block of the documentation: the names that its reader takes for granted.
#pragma once

#include <chrono>
#include <iostream>
#include <string>

#include <asio.hpp>
#include <wsproxy/wsproxy.hpp>

using namespace std::chrono_literals;

#define GIVEN                                                                                               \
  [[maybe_unused]] asio::io_context &context, [[maybe_unused]] asio::ip::tcp::socket &socket,               \
      [[maybe_unused]] wsproxy::worker_pool &pool, [[maybe_unused]] int fd,                                 \
      [[maybe_unused]] wsproxy::upstream chat, [[maybe_unused]] wsproxy::request_head head,                 \
      [[maybe_unused]] std::string bytes_behind_the_head,                                                   \
      [[maybe_unused]] std::string bytes_read_behind_the_head, [[maybe_unused]] std::string client_address, \
      [[maybe_unused]] wsproxy::exchange what, [[maybe_unused]] wsproxy::gateway gateway
