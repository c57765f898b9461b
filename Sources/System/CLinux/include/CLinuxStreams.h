// Stream sockets, local sockets and waiting for one descriptor. Addresses and ports are in host byte order.
// A function that can fail returns a negative errno.
#pragma once
#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

// Accepts a connection, non-blocking and close-on-exec, and tells where it comes from (0 for a local one).
int fan_accept_from(int fd, uint32_t *address, uint16_t *port);

// Reads what a stream has, without taking it.
ssize_t fan_stream_peek(int fd, void *buffer, size_t count);
// The user at the other end of a local socket.
int fan_peer_user(int fd, uint32_t *user);
int fan_socket_pair(int ends[2]);
// Ends a connection in both directions, or says that no more bytes will come; the descriptor stays open.
void fan_end(int fd);
void fan_end_writing(int fd);

// The shortest keepalive that makes a dead peer known within half a minute, and no delay of small packets.
int fan_tune_tcp(int fd);

int fan_unix_connect(const char *path);
// Binds a local socket and listens on it; a socket file that nobody listens on is replaced.
// The group stays as it is where `group` is -1. -EADDRINUSE when somebody listens there.
int fan_unix_listen(const char *path, mode_t mode, int64_t group, int backlog);
// Makes a listening local socket that another program opened non-blocking and close-on-exec; -EINVAL for anything else.
int fan_adopt_listener(int fd);
// The id of a group, or -ENOENT.
int64_t fan_group_id(const char *name);

int fan_event_create(void);
int fan_event_signal(int fd);
int fan_event_drain(int fd);

// Waits for one descriptor: its ready events, 0 on a timeout or an interruption.
int fan_poll_one(int fd, int events, int milliseconds);

// Names the calling thread; a name is cut to 15 bytes.
void fan_name_thread(const char *name);
