// Sockets, epoll and the monotonic clock for the probe loop. Addresses and ports are in host byte order.
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/icmp.h>

static inline struct sockaddr_in fan_sockaddr(uint32_t address, uint16_t port) {
    struct sockaddr_in it;
    memset(&it, 0, sizeof it);
    it.sin_family = AF_INET;
    it.sin_addr.s_addr = htonl(address);
    it.sin_port = htons(port);
    return it;
}

static inline int fan_icmp_socket(void) {
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
    return fd < 0 ? -errno : fd;
}

static inline int fan_tcp_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    return fd < 0 ? -errno : fd;
}

static inline int fan_set_option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

// Lets through only the ICMP types whose bit is set.
static inline int fan_icmp_accept(int fd, uint32_t types) {
    struct icmp_filter filter = {.data = ~types};
    return setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) < 0 ? -errno : 0;
}

static inline int fan_bind_device(int fd, const char *device) {
    return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) < 0 ? -errno : 0;
}

static inline int fan_bind(int fd, uint32_t address, uint16_t port) {
    struct sockaddr_in it = fan_sockaddr(address, port);
    return bind(fd, (const struct sockaddr *)&it, sizeof it) < 0 ? -errno : 0;
}

static inline int fan_listen(int fd, int backlog) { return listen(fd, backlog) < 0 ? -errno : 0; }

int fan_accept(int fd);

static inline int fan_local_port(int fd) {
    struct sockaddr_in it;
    socklen_t size = sizeof it;
    return getsockname(fd, (struct sockaddr *)&it, &size) < 0 ? -errno : ntohs(it.sin_port);
}

static inline int fan_connect(int fd, uint32_t address, uint16_t port) {
    struct sockaddr_in it = fan_sockaddr(address, port);
    return connect(fd, (const struct sockaddr *)&it, sizeof it) < 0 ? -errno : 0;
}

// The socket's pending error, cleared by reading it; 0 when there is none.
static inline int fan_take_error(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

// Drops a TCP connection and leaves the socket fit for another one.
static inline int fan_disconnect(int fd) {
    struct sockaddr it;
    memset(&it, 0, sizeof it);
    it.sa_family = AF_UNSPEC;
    if (connect(fd, &it, sizeof it) < 0) return -errno;
    (void)fan_take_error(fd);
    return 0;
}

static inline ssize_t fan_stream_send(int fd, const void *buffer, size_t count) {
    ssize_t n;
    do { n = send(fd, buffer, count, MSG_NOSIGNAL | MSG_DONTWAIT); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline ssize_t fan_stream_receive(int fd, void *buffer, size_t count) {
    ssize_t n;
    do { n = recv(fd, buffer, count, MSG_DONTWAIT); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline int fan_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static inline int fan_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, operation, fd, &event) < 0 ? -errno : 0;
}

struct fan_ready {
    uint64_t token;
    uint32_t events;
};

static inline uint64_t fan_monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Gives up every capability of the calling thread, and of no other.
int fan_drop_capabilities(void);

enum { FAN_BATCH = 64 };

// One packet inside a shared buffer.
struct fan_packet {
    uint32_t address;
    uint32_t offset;
    uint32_t length;
};

// Waits at most `milliseconds`; an interruption counts as nothing ready.
int fan_epoll_wait(int epoll, struct fan_ready *ready, unsigned count, int milliseconds);

// Sends up to FAN_BATCH packets; the number sent, or the error of the first one.
int fan_send_packets(int fd, const uint8_t *buffer, const struct fan_packet *packets, unsigned count);

// Receives up to FAN_BATCH packets, each into its own slot; one that does not fit has length 0.
int fan_receive_packets(int fd, uint8_t *buffer, uint32_t slot, struct fan_packet *packets, unsigned count);
