#pragma once
#include <libmnl/libmnl.h>
#include <sys/socket.h>

// A copy under a name that only this module can own.
enum { FAN_EVENT_SOCKET_FLAGS = SOCK_CLOEXEC };
