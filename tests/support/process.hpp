// Child processes and what the kernel knows about them.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <utility>

#include "tests/support/socket.hpp"

namespace test {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool sanitizer_needs_descriptors = true, memory_is_measurable = false;
#elif defined(__SANITIZE_THREAD__)
inline constexpr bool sanitizer_needs_descriptors = false, memory_is_measurable = false;
#else
inline constexpr bool sanitizer_needs_descriptors = false, memory_is_measurable = true;
#endif

/// As many descriptors as the system allows; returns how many.
inline std::size_t raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::size_t>(limit.rlim_cur);
}

/// A forked process that runs `body(socket)`; the parent talks to it over `control`. It must be
/// made while the test has no thread of its own.
class child {
 public:
  template <class Body> explicit child(Body body) : control(-1) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) fail_with_errno("socketpair");
    pid_ = ::fork();
    if (pid_ < 0) fail_with_errno("fork");
    if (pid_ == 0) {
      ::close(pair[0]);
      int status = 0;
      try {
        peer parent(pair[1]);
        body(parent);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "child process: %s\n", error.what());
        status = 1;
      }
      ::_exit(status);
    }
    ::close(pair[1]);
    control = peer(pair[0]);
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  pid_t pid() const noexcept { return pid_; }
  /// Closes the control connection and waits for the end: the exit status, or 128 and the signal.
  int wait() {
    control.close();
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  /// Private memory in use, in bytes.
  std::size_t resident() const {
    std::ifstream in("/proc/" + std::to_string(pid_) + "/statm");
    std::size_t total = 0, present = 0, shared = 0;
    in >> total >> present >> shared;
    return (present - shared) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  }
  /// Processor time used so far.
  std::chrono::milliseconds cpu_time() const {
    std::ifstream in("/proc/" + std::to_string(pid_) + "/stat");
    std::string line;
    std::getline(in, line);
    line.erase(0, line.rfind(')') + 2);  // the name may contain anything
    std::size_t at = 0;
    for (int field = 3; field != 14; ++field) at = line.find(' ', at) + 1;
    const auto end = line.find(' ', at);
    const long ticks = std::stol(line.substr(at, end - at)) + std::stol(line.substr(end + 1));
    return std::chrono::milliseconds(ticks * 1000 / ::sysconf(_SC_CLK_TCK));
  }
  std::size_t descriptors() const {
    std::size_t count = 0;
    const auto path = "/proc/" + std::to_string(pid_) + "/fd";
    DIR* const directory = ::opendir(path.c_str());
    if (directory == nullptr) fail_with_errno("opendir");
    while (const dirent* entry = ::readdir(directory)) count += entry->d_name[0] != '.';
    ::closedir(directory);
    return count;
  }

  peer control;

 private:
  pid_t pid_ = -1;
};

}  // namespace test
