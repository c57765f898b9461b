#define _GNU_SOURCE 1
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

int fan_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -1 : 0; }

int fan_copy_file(const char *source, const char *target) {
    int from = open(source, O_RDONLY | O_CLOEXEC);
    if (from < 0) return -errno;
    int to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0) {
        int code = errno;
        close(from);
        return -code;
    }
    int result = 0;
    char buffer[65536];
    while (1) {
        ssize_t count = fan_read(from, buffer, sizeof buffer);
        if (count <= 0) {
            result = (int)count;
            break;
        }
        ssize_t done = 0;
        while (done < count) {
            ssize_t written = fan_write(to, buffer + done, (size_t)(count - done));
            if (written < 0) {
                result = (int)written;
                break;
            }
            done += written;
        }
        if (result < 0) break;
    }
    if (result == 0 && fsync(to) < 0) result = -errno;
    close(from);
    if (close(to) < 0 && result == 0) result = -errno;
    return result;
}
