#define _GNU_SOURCE 1
#include "CLinuxSpace.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <malloc.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int fan_space_directory(const char *path) {
    if (mkdir(path, 0755) < 0 && errno != EEXIST) return -errno;
    // Two processes that both bind would stack two mounts, and the lower one's names would be hidden.
    int lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) return -errno;
    int result = 0;
    if (flock(lock, LOCK_EX) < 0) result = -errno;
    if (!result && mount("", path, "none", MS_SHARED | MS_REC, NULL) < 0) {
        // EINVAL: it is no mount point yet.
        if (errno != EINVAL) result = -errno;
        if (!result && mount(path, path, "none", MS_BIND | MS_REC, NULL) < 0) result = -errno;
        if (!result && mount("", path, "none", MS_SHARED | MS_REC, NULL) < 0) result = -errno;
    }
    close(lock);
    return result;
}

int fan_space_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
    if (fd < 0) return -errno;
    close(fd);
    return 0;
}

int fan_link_index(int fd, const char *name) {
    struct ifreq request = {0};
    if (strlen(name) >= sizeof request.ifr_name) return -ENODEV;
    strcpy(request.ifr_name, name);
    return ioctl(fd, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

int fan_directory_create(const char *path, mode_t mode) { return mkdir(path, mode) < 0 ? -errno : 0; }
int fan_remove(const char *path) { return remove(path) < 0 ? -errno : 0; }
int fan_lock_now(int fd) { return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0; }

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *position) {
    (void)status, (void)kind, (void)position;
    return remove(path);
}

int fan_remove_tree(const char *path) {
    return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 ? -errno : 0;
}

int fan_names(const char *path, int fd) {
    struct stat named, opened;
    if (stat(path, &named) < 0 || fstat(fd, &opened) < 0) return 0;
    return named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

int fan_executable(const char *path) {
    struct stat status;
    if (access(path, X_OK) < 0 || stat(path, &status) < 0) return -errno;
    return S_ISREG(status.st_mode) ? 0 : -EACCES;
}

void fan_share_heaps(void) {
    mallopt(M_ARENA_MAX, 2);
    // Both would grow with the largest block that was ever freed, and its memory stay in the heap.
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

void fan_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    // Refused means that the old limit stays, and opening one descriptor too many says so.
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return;
}

int fan_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0; }

int fan_set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int prepare(
    posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions, const int standard[3], short group) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int result = posix_spawnattr_setflags(attributes, group | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!result) result = posix_spawnattr_setpgroup(attributes, 0);
    if (!result) result = posix_spawnattr_setsigmask(attributes, &none);
    if (!result) result = posix_spawnattr_setsigdefault(attributes, &all);
    for (int i = 0; i < 3 && !result; i++) {
        result = standard[i] < 0 ? posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0)
                                 : posix_spawn_file_actions_adddup2(actions, standard[i], i);
    }
    return result;
}

static pid_t start(
    const char *file, char *const arguments[], char *const environment[], const int standard[3], short group) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int result = posix_spawnattr_init(&attributes);
    if (result) return -result;
    result = posix_spawn_file_actions_init(&actions);
    if (result) {
        posix_spawnattr_destroy(&attributes);
        return -result;
    }
    pid_t pid = 0;
    result = prepare(&attributes, &actions, standard, group);
    if (!result) result = posix_spawnp(&pid, file, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return result ? -result : pid;
}

pid_t fan_spawn(const char *file, char *const arguments[], char *const environment[], int in, int out, int err) {
    return start(file, arguments, environment, (int[3]){in, out, err}, POSIX_SPAWN_SETPGROUP);
}

pid_t fan_spawn_session(const char *file, char *const arguments[], char *const environment[], int log) {
    return start(file, arguments, environment, (int[3]){-1, log, log}, POSIX_SPAWN_SETSID);
}

int fan_execute(const char *file, char *const arguments[], char *const environment[]) {
    // What this process ignores, the program would ignore too.
    signal(SIGPIPE, SIG_DFL);
    execvpe(file, arguments, environment);
    return -errno;
}

int fan_process_descriptor(pid_t pid) {
    int fd = pidfd_open(pid, 0);
    return fd < 0 ? -errno : fd;
}

int fan_signal_process(int descriptor, int number) {
    return pidfd_send_signal(descriptor, number, NULL, 0) < 0 ? -errno : 0;
}

int fan_reap_process(int descriptor, int *code, int *number) {
    siginfo_t info = {0};
    int result;
    do { result = waitid(P_PIDFD, (id_t)descriptor, &info, WEXITED | WNOHANG); } while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    if (!info.si_pid) return 0;
    *code = info.si_code == CLD_EXITED ? info.si_status : -1;
    *number = info.si_code == CLD_EXITED ? 0 : info.si_status;
    return 1;
}

static int reap(pid_t pid, int *status, int flags) {
    pid_t result;
    do { result = waitpid(pid, status, flags); } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result > 0;
}

int fan_reap(pid_t pid, int *status) { return reap(pid, status, WNOHANG); }
int fan_reap_blocking(pid_t pid, int *status) { return reap(pid, status, 0); }
int fan_signal_group(pid_t leader, int number) { return kill(-leader, number) < 0 ? -errno : 0; }
int fan_exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
int fan_exit_signal(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

static const int watched[3] = {SIGINT, SIGTERM, SIGHUP};
static struct sigaction earlier[3];
static int signal_pipe[2] = {-1, -1};

static void on_signal(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    // A full pipe holds signals enough.
    if (write(signal_pipe[1], &byte, 1) < 0) {}
    errno = saved;
}

int fan_signals_watch(void) {
    if (signal_pipe[0] >= 0) return -EBUSY;
    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < 3; i++) {
        sigaction(watched[i], &action, &earlier[i]);
        // Under nohup a hang-up stays ignored.
        if (earlier[i].sa_handler == SIG_IGN) sigaction(watched[i], &earlier[i], NULL);
    }
    return signal_pipe[0];
}

void fan_signals_unwatch(void) {
    if (signal_pipe[0] < 0) return;
    for (int i = 0; i < 3; i++) sigaction(watched[i], &earlier[i], NULL);
    close(signal_pipe[0]);
    close(signal_pipe[1]);
    signal_pipe[0] = signal_pipe[1] = -1;
}

int fan_end_by_signal(int number) {
    signal(number, SIG_DFL);
    return kill(getpid(), number) < 0 ? -errno : 0;
}

int fan_poll_readable(const int *descriptors, unsigned char *ready, int count, int timeout_ms) {
    struct pollfd *polled = calloc(count > 0 ? (size_t)count : 1, sizeof *polled);
    if (!polled) return -ENOMEM;
    for (int i = 0; i < count; i++) polled[i] = (struct pollfd){.fd = descriptors[i], .events = POLLIN};
    int result = poll(polled, (nfds_t)count, timeout_ms);
    if (result < 0) result = errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) ready[i] = result > 0 && polled[i].revents != 0;
    free(polled);
    return result;
}

int fan_has_hung_up(int fd) {
    struct pollfd polled = {.fd = fd, .events = POLLRDHUP};
    return poll(&polled, 1, 0) > 0 && (polled.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

char *const *fan_environment(void) { return environ; }
