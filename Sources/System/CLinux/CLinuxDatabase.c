#define _GNU_SOURCE 1
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

static int fan_abstract(const char *name, struct sockaddr_un *address, socklen_t *size) {
    size_t length = strlen(name);
    if (length + 1 > sizeof address->sun_path) return -ENAMETOOLONG;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path + 1, name, length);
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    return 0;
}

int fan_connect_abstract(const char *name) {
    struct sockaddr_un address;
    socklen_t size;
    int result = fan_abstract(name, &address, &size);
    if (result < 0) return result;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    do { result = connect(fd, (const struct sockaddr *)&address, size); } while (result < 0 && errno == EINTR);
    if (result < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

int fan_keep_abstract_from_children(const char *name) {
    struct sockaddr_un wanted, bound;
    socklen_t size, bound_size;
    int result = fan_abstract(name, &wanted, &size);
    if (result < 0) return result;
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit < 0 || limit > 65536) limit = 65536;
    for (int fd = 0; fd < limit; fd++) {
        bound_size = sizeof bound;
        if (getsockname(fd, (struct sockaddr *)&bound, &bound_size) < 0) continue;
        if (bound_size != size || memcmp(&bound, &wanted, size) != 0) continue;
        int listening = 0;
        socklen_t option = sizeof listening;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &option) < 0) continue;
        int peer = getpeername(fd, (struct sockaddr *)&bound, &bound_size);
        if (peer == 0) continue;
        return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : fd;
    }
    return -ENOENT;
}

void fan_ignore_broken_pipes(void) { signal(SIGPIPE, SIG_IGN); }

int fan_set_environment(const char *name, const char *value) { return setenv(name, value, 1) < 0 ? -errno : 0; }
