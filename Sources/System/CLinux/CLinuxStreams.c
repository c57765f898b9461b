#define _GNU_SOURCE 1
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int fan_accept_from(int fd, uint32_t *address, uint16_t *port) {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_un un;
    } from;
    memset(&from, 0, sizeof from);
    socklen_t size = sizeof from;
    int it;
    do { it = accept4(fd, &from.any, &size, SOCK_CLOEXEC | SOCK_NONBLOCK); } while (it < 0 && errno == EINTR);
    if (it < 0) return -errno;
    *address = from.any.sa_family == AF_INET ? ntohl(from.in.sin_addr.s_addr) : 0;
    *port = from.any.sa_family == AF_INET ? ntohs(from.in.sin_port) : 0;
    return it;
}

ssize_t fan_stream_peek(int fd, void *buffer, size_t count) {
    ssize_t n;
    do { n = recv(fd, buffer, count, MSG_DONTWAIT | MSG_PEEK); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int fan_peer_user(int fd, uint32_t *user) {
    struct ucred it;
    socklen_t size = sizeof it;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &it, &size) < 0) return -errno;
    *user = it.uid;
    return 0;
}

int fan_socket_pair(int ends[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0 ? -errno : 0;
}

void fan_end(int fd) { (void)shutdown(fd, SHUT_RDWR); }

void fan_end_writing(int fd) { (void)shutdown(fd, SHUT_WR); }

int fan_tune_tcp(int fd) {
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},    {SOL_SOCKET, SO_KEEPALIVE, 1},  {IPPROTO_TCP, TCP_KEEPIDLE, 10},
        {IPPROTO_TCP, TCP_KEEPINTVL, 5}, {IPPROTO_TCP, TCP_KEEPCNT, 4}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int result = fan_set_option(fd, options[i].level, options[i].name, options[i].value);
        if (result < 0) return result;
    }
    return 0;
}

static int local_address(struct sockaddr_un *it, const char *path) {
    memset(it, 0, sizeof *it);
    it->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof it->sun_path) return -ENAMETOOLONG;
    strcpy(it->sun_path, path);
    return 0;
}

static int local_socket(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

int fan_unix_connect(const char *path) {
    struct sockaddr_un it;
    int result = local_address(&it, path);
    if (result < 0) return result;
    int fd = local_socket();
    if (fd < 0) return fd;
    if (connect(fd, (const struct sockaddr *)&it, sizeof it) < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

static int unix_listen_locked(const struct sockaddr_un *it, mode_t mode, int64_t group, int backlog) {
    int fd = local_socket();
    if (fd < 0) return fd;
    int result = bind(fd, (const struct sockaddr *)it, sizeof *it) < 0 ? -errno : 0;
    if (result == -EADDRINUSE) {
        struct stat found;
        int other = fan_unix_connect(it->sun_path);
        if (other >= 0) close(other);
        // Only a socket that refuses is a leftover; -EAGAIN is a server whose queue is full.
        if (other == -ECONNREFUSED && lstat(it->sun_path, &found) == 0 && S_ISSOCK(found.st_mode)) {
            result = unlink(it->sun_path) < 0 ? -errno : 0;
            if (result == 0) result = bind(fd, (const struct sockaddr *)it, sizeof *it) < 0 ? -errno : 0;
        }
    }
    if (result == 0) {
        // Nobody can connect before listen(), so the permissions are in place in time.
        if ((group >= 0 && chown(it->sun_path, (uid_t)-1, (gid_t)group) < 0) || chmod(it->sun_path, mode) < 0 ||
            listen(fd, backlog) < 0) {
            result = -errno;
            unlink(it->sun_path);
        }
    }
    if (result == 0) return fd;
    close(fd);
    return result;
}

int fan_unix_listen(const char *path, mode_t mode, int64_t group, int backlog) {
    struct sockaddr_un it;
    int result = local_address(&it, path);
    if (result < 0) return result;
    // A lock on the directory keeps two starting servers from taking each other's socket for a leftover.
    char copy[sizeof it.sun_path];
    strcpy(copy, path);
    int directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -errno;
    if (flock(directory, LOCK_EX) < 0) {
        result = -errno;
    } else {
        result = unix_listen_locked(&it, mode, group, backlog);
    }
    close(directory);
    return result;
}

int fan_adopt_listener(int fd) {
    int domain = 0, listens = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0) return -errno;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0) return -errno;
    if (domain != AF_UNIX || !listens) return -EINVAL;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return -errno;
    return 0;
}

int64_t fan_group_id(const char *name) {
    char buffer[16384];
    struct group it, *found = NULL;
    int result = getgrnam_r(name, &it, buffer, sizeof buffer, &found);
    if (result != 0) return -result;
    return found ? (int64_t)found->gr_gid : -ENOENT;
}

int fan_event_create(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int fan_event_signal(int fd) { return eventfd_write(fd, 1) < 0 && errno != EAGAIN ? -errno : 0; }

int fan_event_drain(int fd) {
    eventfd_t value;
    return eventfd_read(fd, &value) < 0 && errno != EAGAIN ? -errno : 0;
}

int fan_poll_one(int fd, int events, int milliseconds) {
    struct pollfd it = {.fd = fd, .events = (short)events};
    int n = poll(&it, 1, milliseconds);
    if (n < 0) return errno == EINTR ? 0 : -errno;
    return n == 0 ? 0 : it.revents;
}

void fan_name_thread(const char *name) {
    char cut[16];
    strncpy(cut, name, sizeof cut - 1);
    cut[sizeof cut - 1] = 0;
    (void)pthread_setname_np(pthread_self(), cut);
}
