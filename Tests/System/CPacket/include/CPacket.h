// Packet sockets for tests. A function that can fail returns a negative errno.
#pragma once

// Opens a non-blocking socket that sends and receives whole Ethernet frames on one device of the calling thread's
// network namespace. It does not see what leaves through the device.
int packet_open(const char *device);
// How many frames were lost since the last call because the socket's buffer was full.
int packet_losses(int fd);
