#define _GNU_SOURCE 1
#include "CLinux.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

int fan_drop_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof none);
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int fan_accept(int fd) {
    int it;
    do { it = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); } while (it < 0 && errno == EINTR);
    return it < 0 ? -errno : it;
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

int fan_receive_packets(int fd, uint8_t *buffer, uint32_t slot, struct fan_packet *packets, unsigned count) {
    struct mmsghdr messages[FAN_BATCH];
    struct iovec vectors[FAN_BATCH];
    struct sockaddr_in addresses[FAN_BATCH];
    if (count > FAN_BATCH) count = FAN_BATCH;
    memset(messages, 0, sizeof messages[0] * count);
    for (unsigned i = 0; i < count; i++) {
        vectors[i].iov_base = buffer + (size_t)slot * i;
        vectors[i].iov_len = slot;
        messages[i].msg_hdr.msg_name = &addresses[i];
        messages[i].msg_hdr.msg_namelen = sizeof addresses[i];
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int n;
    do { n = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL); } while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    for (int i = 0; i < n; i++) {
        packets[i].address = ntohl(addresses[i].sin_addr.s_addr);
        packets[i].offset = slot * (uint32_t)i;
        packets[i].length = messages[i].msg_hdr.msg_flags & MSG_TRUNC ? 0 : messages[i].msg_len;
    }
    return n;
}
