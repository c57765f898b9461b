#define _GNU_SOURCE 1
#include "CTraffic.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, PAYLOAD = 64 };

int traffic_pin(int processor) {
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

int traffic_send(int fd) {
    struct mmsghdr messages[BATCH];
    struct iovec vector;
    prepare(messages, &vector);
    int n;
    do { n = sendmmsg(fd, messages, BATCH, 0); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int traffic_receive(int fd) {
    struct mmsghdr messages[BATCH];
    struct iovec vector;
    prepare(messages, &vector);
    int n;
    do { n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL); } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}
