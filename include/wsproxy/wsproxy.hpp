// All of wsproxy.
#pragma once

#include <wsproxy/version.hpp>
