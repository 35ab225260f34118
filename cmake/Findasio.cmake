# Standalone Asio as the target asio::asio. Only vcpkg and the like ship a package configuration; Debian and
# Asio itself install bare headers.
block(PROPAGATE asio_FOUND asio_VERSION)  # the caller keeps its own `line` and `major`

if(NOT TARGET asio::asio)
  # CMake would pass the version on that is asked for, and refuse configurations that tell none: vcpkg's.
  set(asio_FIND_VERSION_COMPLETE "")
  find_package(asio CONFIG QUIET)
endif()

if(NOT TARGET asio::asio)
  find_package(Threads QUIET)
  # Asio's sources have the headers in include/ or, up to 1.36, in asio/include/.
  find_path(asio_INCLUDE_DIR asio.hpp HINTS "${asio_SOURCE_DIR}" PATH_SUFFIXES include asio/include)
  mark_as_advanced(asio_INCLUDE_DIR)
  if(asio_INCLUDE_DIR AND TARGET Threads::Threads)
    add_library(asio::asio INTERFACE IMPORTED)
    target_include_directories(asio::asio INTERFACE ${asio_INCLUDE_DIR})
    target_link_libraries(asio::asio INTERFACE Threads::Threads)
  endif()
endif()

if(TARGET asio::asio)
  set(asio_TARGET asio::asio)
  # The headers know their version; package configurations and the targets of others mostly do not.
  get_target_property(directories asio::asio INTERFACE_INCLUDE_DIRECTORIES)
  foreach(directory IN LISTS directories)
    string(REGEX REPLACE "^\\$<BUILD_INTERFACE:(.*)>$" "\\1" directory "${directory}")
    if(EXISTS "${directory}/asio/version.hpp")
      file(STRINGS "${directory}/asio/version.hpp" line REGEX "define ASIO_VERSION ")
      string(REGEX MATCH "[0-9]+" number "${line}")  # 102201 is 1.22.1
      math(EXPR major "${number} / 100000")
      math(EXPR minor "${number} / 100 % 1000")
      math(EXPR patch "${number} % 100")
      set(asio_VERSION ${major}.${minor}.${patch})
      break()
    endif()
  endforeach()
  if(NOT asio_VERSION)
    set(asio_VERSION ${asio_FIND_VERSION})  # it is told by the compiler, then
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(asio REQUIRED_VARS asio_TARGET VERSION_VAR asio_VERSION)

endblock()
