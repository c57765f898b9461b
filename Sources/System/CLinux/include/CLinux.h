// The few C shims that Swift cannot spell: variadic calls, macros, and errno
// read beside the call that set it. Every function returns a negative errno on failure.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "CLinuxSockets.h"

static inline int fan_open(const char *path, int flags, mode_t mode) {
    int fd = open(path, flags | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

static inline ssize_t fan_read(int fd, void *buffer, size_t count) {
    ssize_t n;
    do { n = read(fd, buffer, count); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline ssize_t fan_write(int fd, const void *buffer, size_t count) {
    ssize_t n;
    do { n = write(fd, buffer, count); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline int fan_setns(int fd, int kind) { return setns(fd, kind) < 0 ? -errno : 0; }
static inline int fan_unshare(int flags) { return unshare(flags) < 0 ? -errno : 0; }
static inline int fan_mount(const char *source, const char *target, const char *type, unsigned long flags) {
    return mount(source, target, type, flags, NULL) < 0 ? -errno : 0;
}
static inline int fan_umount(const char *target, int flags) { return umount2(target, flags) < 0 ? -errno : 0; }
