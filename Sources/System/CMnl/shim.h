#pragma once
#include <errno.h>
#include <libmnl/libmnl.h>

// A socket that hears the given groups of announcements; NULL, and the errno in code, where there is none.
static inline struct mnl_socket *fan_mnl_open(int protocol, unsigned groups, int *code) {
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct mnl_socket *it = mnl_socket_open2(protocol, SOCK_CLOEXEC);
    // One that is connected to the kernel takes answers of nobody else, which libmnl does not look at.
    if (it && mnl_socket_bind(it, groups, MNL_SOCKET_AUTOPID) == 0 &&
        connect(mnl_socket_get_fd(it), (const struct sockaddr *)&kernel, sizeof kernel) == 0)
        return it;
    *code = errno;
    if (it) mnl_socket_close(it);
    return 0;
}

// As libmnl's functions, with the errno as a negative result; the kernel takes a request without waiting.
static inline ssize_t fan_mnl_send(const struct mnl_socket *it, const void *buffer, size_t count) {
    return mnl_socket_sendto(it, buffer, count) < 0 ? -errno : (ssize_t)count;
}

static inline ssize_t fan_mnl_receive(const struct mnl_socket *it, void *buffer, size_t count) {
    ssize_t n;
    do { n = mnl_socket_recvfrom(it, buffer, count); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}
