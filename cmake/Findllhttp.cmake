# llhttp as the target llhttp::llhttp, from the first of:
#   1. a target of that name (a parent project's);
#   2. llhttp's own package configuration: up to 9.3 it has no version file and only _shared and _static targets;
#   3. a library and its header;
#   4. three C files (Debian 12's node-llhttp), which are compiled into whatever links the target.
# The header always comes from the same place as the code: layouts differ between versions, sizes do not.
block(PROPAGATE llhttp_FOUND llhttp_VERSION)  # the caller keeps its own `sources` and `prefix`

if(NOT TARGET llhttp::llhttp)
  # CMake would pass the version on that is asked for, and refuse configurations that tell none.
  set(llhttp_FIND_VERSION_COMPLETE "")
  find_package(llhttp CONFIG QUIET)
  if(NOT TARGET llhttp::llhttp)
    foreach(target llhttp::llhttp_shared llhttp::llhttp_static)
      if(TARGET ${target})
        add_library(llhttp::llhttp INTERFACE IMPORTED)
        target_link_libraries(llhttp::llhttp INTERFACE ${target})
        get_target_property(llhttp_INCLUDE_DIR ${target} INTERFACE_INCLUDE_DIRECTORIES)
        break()
      endif()
    endforeach()
  endif()
endif()

if(NOT TARGET llhttp::llhttp)
  find_library(llhttp_LIBRARY llhttp)
  mark_as_advanced(llhttp_LIBRARY)
  if(llhttp_LIBRARY)
    cmake_path(GET llhttp_LIBRARY PARENT_PATH prefix)
    # lib/libllhttp.so or lib/<architecture>/libllhttp.so
    find_path(llhttp_INCLUDE_DIR llhttp.h HINTS ${prefix}/../include ${prefix}/../../include NO_DEFAULT_PATH)
    if(llhttp_INCLUDE_DIR)
      add_library(llhttp::llhttp UNKNOWN IMPORTED)
      set_target_properties(llhttp::llhttp PROPERTIES IMPORTED_LOCATION ${llhttp_LIBRARY})
    endif()
  else()
    find_path(llhttp_SOURCE_DIR llhttp.c PATH_SUFFIXES share/llhttp)
    find_path(llhttp_INCLUDE_DIR llhttp.h HINTS ${llhttp_SOURCE_DIR}/../include/llhttp NO_DEFAULT_PATH)
    mark_as_advanced(llhttp_SOURCE_DIR)
    if(llhttp_SOURCE_DIR AND llhttp_INCLUDE_DIR)
      set(sources ${llhttp_SOURCE_DIR}/api.c ${llhttp_SOURCE_DIR}/http.c ${llhttp_SOURCE_DIR}/llhttp.c)
      # Not our code: no warnings. Hidden, as the host may have an llhttp of its own.
      set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "-w;-fvisibility=hidden")
      add_library(llhttp::llhttp INTERFACE IMPORTED)
      target_sources(llhttp::llhttp INTERFACE ${sources})
      # Without it 8.x accepts a space before the colon, among others; 9.x knows no other mode.
      target_compile_definitions(llhttp::llhttp INTERFACE LLHTTP_STRICT_MODE=1)
    endif()
  endif()
  mark_as_advanced(llhttp_INCLUDE_DIR)
  if(TARGET llhttp::llhttp)
    target_include_directories(llhttp::llhttp INTERFACE ${llhttp_INCLUDE_DIR})
  endif()
endif()

if(TARGET llhttp::llhttp)
  set(llhttp_TARGET llhttp::llhttp)
  foreach(directory IN LISTS llhttp_INCLUDE_DIR)
    if(NOT llhttp_VERSION AND EXISTS "${directory}/llhttp.h")
      file(STRINGS "${directory}/llhttp.h" lines REGEX "define LLHTTP_VERSION_(MAJOR|MINOR|PATCH)")
      string(REGEX MATCHALL "[0-9]+" llhttp_VERSION "${lines}")
      list(JOIN llhttp_VERSION . llhttp_VERSION)
    endif()
  endforeach()
  if(NOT llhttp_VERSION)
    set(llhttp_VERSION ${llhttp_FIND_VERSION})  # a parent's target
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(llhttp REQUIRED_VARS llhttp_TARGET VERSION_VAR llhttp_VERSION)

endblock()
