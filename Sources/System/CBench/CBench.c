#define _GNU_SOURCE 1
#include "CBench.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, PAYLOAD = 64 };

int bench_pin(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set) < 0 ? -errno : 0;
}

// All messages share one buffer: nobody reads it.
static void prepare(struct mmsghdr *messages, struct iovec *vector) {
    static char payload[PAYLOAD];
    *vector = (struct iovec){.iov_base = payload, .iov_len = sizeof payload};
    memset(messages, 0, BATCH * sizeof *messages);
    for (int i = 0; i < BATCH; i++) {
        messages[i].msg_hdr.msg_iov = vector;
        messages[i].msg_hdr.msg_iovlen = 1;
    }
}

int bench_send(int fd) {
    struct mmsghdr messages[BATCH];
    struct iovec vector;
    prepare(messages, &vector);
    int n;
    do { n = sendmmsg(fd, messages, BATCH, 0); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int bench_receive(int fd) {
    struct mmsghdr messages[BATCH];
    struct iovec vector;
    prepare(messages, &vector);
    int n;
    do { n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int bench_fork(const char *file, char *const arguments[]) {
    pid_t pid = fork();
    if (pid) return pid < 0 ? -errno : pid;
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++) dup2(nothing, fd);
    execvp(file, arguments);
    _exit(127);
}
