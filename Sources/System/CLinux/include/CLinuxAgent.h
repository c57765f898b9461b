// Shims for a daemon: locks that others can see without taking them, and the service manager's socket.
// A function that can fail returns a negative errno.
#pragma once

// Takes the write lock on a whole file for this open file; -EAGAIN where another has it.
int fan_own_file(int fd);
// 1 when another open file has the write lock on the file, else 0.
int fan_is_owned(int fd);
// Sends one message to a service manager's datagram socket, with a descriptor unless that is negative; a path that
// begins with @ is abstract.
int fan_notify(const char *path, const char *message, int descriptor);
