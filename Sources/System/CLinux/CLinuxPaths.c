#define _GNU_SOURCE 1
#include "CLinuxPaths.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int fan_open_at(int directory, const char *name, int flags) {
    int fd = openat(directory, name, flags | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int fan_look_at(int directory, const char *name) { return fan_open_at(directory, name, O_PATH); }

int fan_make_directory_at(int directory, const char *name, mode_t mode) {
    return mkdirat(directory, name, mode) < 0 ? -errno : 0;
}

ssize_t fan_read_link(int link, char *buffer, size_t capacity) {
    ssize_t count = readlinkat(link, "", buffer, capacity);
    if (count < 0) return -errno;
    return (size_t)count < capacity ? count : -ENAMETOOLONG;
}

int fan_give(int fd, uid_t user, gid_t group) {
    return fchownat(fd, "", user, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}
