# What wsproxy-gateway is installed with: its manual, a configuration to begin with, a systemd unit. They name each
# other by paths that are known only now (cmake --install --prefix). A configuration that is there stays as it is.

foreach(dir bin_dir conf_dir man_dir unit_dir)
  cmake_path(ABSOLUTE_PATH ${dir} BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}")
endforeach()
set(BINARY ${bin_dir}/wsproxy-gateway)
set(CONFIGURATION ${conf_dir}/wsproxy/wsproxy.conf)

configure_file(${source_dir}/wsproxy-gateway.8.in ${build_dir}/wsproxy-gateway.8 @ONLY)
file(INSTALL ${build_dir}/wsproxy-gateway.8 DESTINATION ${man_dir}/man8)
configure_file(${source_dir}/wsproxy-gateway.service.in ${build_dir}/wsproxy-gateway.service @ONLY)
file(INSTALL ${build_dir}/wsproxy-gateway.service DESTINATION ${unit_dir})
if(EXISTS $ENV{DESTDIR}${CONFIGURATION})
  message(STATUS "Kept: $ENV{DESTDIR}${CONFIGURATION}")
else()
  file(INSTALL ${source_dir}/wsproxy.conf DESTINATION ${conf_dir}/wsproxy)
endif()
