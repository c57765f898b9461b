#define _GNU_SOURCE 1
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int fan_open(const char *path, int flags, mode_t mode) {
    int fd = open(path, flags | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

ssize_t fan_read(int fd, void *buffer, size_t count) {
    ssize_t n;
    do { n = read(fd, buffer, count); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t fan_write(int fd, const void *buffer, size_t count) {
    ssize_t n;
    do { n = write(fd, buffer, count); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int fan_setns_network(int fd) { return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0; }
int fan_unshare_network(void) { return unshare(CLONE_NEWNET) < 0 ? -errno : 0; }

int fan_mount_bind(const char *source, const char *target) {
    return mount(source, target, "none", MS_BIND, NULL) < 0 ? -errno : 0;
}

int fan_unmount_lazily(const char *target) { return umount2(target, MNT_DETACH) < 0 ? -errno : 0; }

const char *fan_errno_name(int code) { return strerrorname_np(code); }
const char *fan_errno_text(int code) { return strerrordesc_np(code); }
