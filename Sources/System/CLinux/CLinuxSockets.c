#define _GNU_SOURCE 1
#include "CLinux.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>

struct sockaddr_in fan_sockaddr(uint32_t address, uint16_t port) {
    struct sockaddr_in it;
    memset(&it, 0, sizeof it);
    it.sin_family = AF_INET;
    it.sin_addr.s_addr = htonl(address);
    it.sin_port = htons(port);
    return it;
}

int fan_icmp_socket(void) {
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
    return fd < 0 ? -errno : fd;
}

int fan_tcp_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    return fd < 0 ? -errno : fd;
}

int fan_set_option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

int fan_icmp_accept(int fd, uint32_t types) {
    struct icmp_filter filter = {.data = ~types};
    return setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) < 0 ? -errno : 0;
}

int fan_bind_device(int fd, const char *device) {
    return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) < 0 ? -errno : 0;
}

int fan_bind(int fd, uint32_t address, uint16_t port) {
    struct sockaddr_in it = fan_sockaddr(address, port);
    return bind(fd, (const struct sockaddr *)&it, sizeof it) < 0 ? -errno : 0;
}

int fan_listen(int fd, int backlog) { return listen(fd, backlog) < 0 ? -errno : 0; }

int fan_accept(int fd) {
    int it;
    do { it = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); } while (it < 0 && errno == EINTR);
    return it < 0 ? -errno : it;
}

int fan_local_port(int fd) {
    struct sockaddr_in it;
    socklen_t size = sizeof it;
    return getsockname(fd, (struct sockaddr *)&it, &size) < 0 ? -errno : ntohs(it.sin_port);
}

int fan_connect(int fd, uint32_t address, uint16_t port) {
    struct sockaddr_in it = fan_sockaddr(address, port);
    return connect(fd, (const struct sockaddr *)&it, sizeof it) < 0 ? -errno : 0;
}

int fan_take_error(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

int fan_disconnect(int fd) {
    struct sockaddr it;
    memset(&it, 0, sizeof it);
    it.sa_family = AF_UNSPEC;
    if (connect(fd, &it, sizeof it) < 0) return -errno;
    (void)fan_take_error(fd);
    return 0;
}

ssize_t fan_stream_send(int fd, const void *buffer, size_t count) {
    ssize_t n;
    do { n = send(fd, buffer, count, MSG_NOSIGNAL | MSG_DONTWAIT); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t fan_stream_receive(int fd, void *buffer, size_t count) {
    ssize_t n;
    do { n = recv(fd, buffer, count, MSG_DONTWAIT); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int fan_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int fan_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, operation, fd, &event) < 0 ? -errno : 0;
}

uint64_t fan_monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int fan_drop_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof none);
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int fan_epoll_wait(int epoll, struct fan_ready *ready, unsigned count, int milliseconds) {
    struct epoll_event events[FAN_BATCH];
    int n = epoll_wait(epoll, events, (int)(count < FAN_BATCH ? count : FAN_BATCH), milliseconds);
    if (n < 0) return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        ready[i].token = events[i].data.u64;
        ready[i].events = events[i].events;
    }
    return n;
}

int fan_send_packets(int fd, const uint8_t *buffer, const struct fan_packet *packets, unsigned count) {
    struct mmsghdr messages[FAN_BATCH];
    struct iovec vectors[FAN_BATCH];
    struct sockaddr_in addresses[FAN_BATCH];
    if (count > FAN_BATCH) count = FAN_BATCH;
    memset(messages, 0, sizeof messages[0] * count);
    for (unsigned i = 0; i < count; i++) {
        addresses[i] = fan_sockaddr(packets[i].address, 0);
        vectors[i].iov_base = (void *)(buffer + packets[i].offset);
        vectors[i].iov_len = packets[i].length;
        messages[i].msg_hdr.msg_name = &addresses[i];
        messages[i].msg_hdr.msg_namelen = sizeof addresses[i];
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int n;
    do { n = sendmmsg(fd, messages, count, MSG_DONTWAIT); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int fan_stamp_packets(int fd) {
    // Stamped on the way to the first device: drivers' own stamps are lost behind a bridge or a tunnel.
    return fan_set_option(fd, SOL_SOCKET, SO_TIMESTAMPING,
                          SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE);
}

static uint64_t stamp(struct msghdr *message) {
    for (struct cmsghdr *it = CMSG_FIRSTHDR(message); it; it = CMSG_NXTHDR(message, it)) {
        if (it->cmsg_level != SOL_SOCKET || it->cmsg_type != SO_TIMESTAMPING) continue;
        struct scm_timestamping times;
        memcpy(&times, CMSG_DATA(it), sizeof times);
        return (uint64_t)times.ts[0].tv_sec * 1000000000u + (uint64_t)times.ts[0].tv_nsec;
    }
    return 0;
}

static int receive(int fd, uint8_t *buffer, uint32_t slot, struct fan_packet *packets, unsigned count, int flags) {
    struct mmsghdr messages[FAN_BATCH];
    struct iovec vectors[FAN_BATCH];
    struct sockaddr_in addresses[FAN_BATCH];
    // Room for the stamp, and for the error that an announced departure is dressed as.
    _Alignas(struct cmsghdr) char controls[FAN_BATCH][128];
    if (count > FAN_BATCH) count = FAN_BATCH;
    memset(messages, 0, sizeof messages[0] * count);
    for (unsigned i = 0; i < count; i++) {
        vectors[i].iov_base = buffer + (size_t)slot * i;
        vectors[i].iov_len = slot;
        messages[i].msg_hdr.msg_name = &addresses[i];
        messages[i].msg_hdr.msg_namelen = sizeof addresses[i];
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = controls[i];
        messages[i].msg_hdr.msg_controllen = sizeof controls[i];
    }
    int n;
    do { n = recvmmsg(fd, messages, count, MSG_DONTWAIT | flags, NULL); } while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    for (int i = 0; i < n; i++) {
        packets[i].time = stamp(&messages[i].msg_hdr);
        packets[i].address = ntohl(addresses[i].sin_addr.s_addr);
        packets[i].offset = slot * (uint32_t)i;
        packets[i].length = messages[i].msg_hdr.msg_flags & MSG_TRUNC ? 0 : messages[i].msg_len;
    }
    return n;
}

int fan_receive_packets(int fd, uint8_t *buffer, uint32_t slot, struct fan_packet *packets, unsigned count) {
    return receive(fd, buffer, slot, packets, count, 0);
}

int fan_receive_stamps(int fd, uint8_t *buffer, uint32_t slot, struct fan_packet *packets, unsigned count) {
    return receive(fd, buffer, slot, packets, count, MSG_ERRQUEUE);
}
