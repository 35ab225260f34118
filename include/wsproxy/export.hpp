// What a shared library of wsproxy shows of itself.
#pragma once

/// Stands before every class and function that the compiled library defines and a program may use. The
/// libraries are compiled with all else hidden; what is defined in these headers alone needs no mark. A
/// static library (which defines WSPROXY_STATIC for its users) shows nothing: a shared library that it
/// becomes part of does not offer our names as its own.
#if defined(__GNUC__) && !defined(WSPROXY_STATIC)
#define WSPROXY_EXPORT __attribute__((visibility("default")))
#else
#define WSPROXY_EXPORT
#endif
