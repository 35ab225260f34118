# Only with WSPROXY_FETCH_DEPS=ON: what is not installed is downloaded and built along with wsproxy.
include(FetchContent)

# Sets <name>_SOURCE_DIR for the caller.
macro(wsproxy_fetch name version url)
  find_package(${name} ${version} QUIET)
  if(NOT ${name}_FOUND)
    FetchContent_Declare(${name} URL ${url} SYSTEM DOWNLOAD_EXTRACT_TIMESTAMP ON)
    FetchContent_MakeAvailable(${name})
  endif()
endmacro()

set(LLHTTP_BUILD_SHARED_LIBS OFF)
set(LLHTTP_BUILD_STATIC_LIBS ON)
wsproxy_fetch(asio 1.22.1 https://github.com/chriskohlhoff/asio/archive/refs/tags/asio-1-36-0.tar.gz)
# Tags named release/... hold the generated C, the plain ones do not.
wsproxy_fetch(llhttp 8.1 https://github.com/nodejs/llhttp/archive/refs/tags/release/v9.3.1.tar.gz)
wsproxy_fetch(fmt 9.1 https://github.com/fmtlib/fmt/archive/refs/tags/12.1.0.tar.gz)
if(WSPROXY_BUILD_TESTS)
  wsproxy_fetch(Catch2 3 https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz)
endif()
