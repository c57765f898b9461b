#define _GNU_SOURCE 1
#include "CLinux.h"

#include <errno.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

// How much of a packet is of interest: headers inside and outside, and what tells a probe.
enum { SEEN = 128 };
// From an outer UDP header to the inner IP header, and from there, without options, to the token.
enum { TO_INNER = 8 + 8 + 14, TO_TOKEN = 20 + 8 };

struct tap {
    struct sock_filter code[40];
    unsigned short length;
};

static void add(struct tap *it, unsigned short code, uint32_t value, unsigned char yes, unsigned char no) {
    it->code[it->length++] = (struct sock_filter){code, yes, no, value};
}

// Goes on when the accumulator has a value, else drops the packet.
static void require(struct tap *it, uint32_t value) {
    add(it, BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
    add(it, BPF_RET | BPF_K, 0, 0, 0);
}

// An unfragmented, or the first part of an, IPv4 packet of a protocol.
static void require_ipv4(struct tap *it, uint32_t protocol) {
    add(it, BPF_LD | BPF_B | BPF_ABS, 0, 0, 0);
    add(it, BPF_ALU | BPF_AND | BPF_K, 0xf0, 0, 0);
    require(it, 0x40);
    add(it, BPF_LD | BPF_B | BPF_ABS, 9, 0, 0);
    require(it, protocol);
    add(it, BPF_LD | BPF_H | BPF_ABS, 6, 0, 0);
    add(it, BPF_ALU | BPF_AND | BPF_K, 0x1fff, 0, 0);
    require(it, 0);
    add(it, BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0);
}

// Accepts a packet whose token, counted from the end of its IP header, is this one.
static void accept_token(struct tap *it, uint32_t offset, uint64_t token) {
    add(it, BPF_LD | BPF_W | BPF_IND, offset, 0, 0);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(token >> 32), 0, 3);
    add(it, BPF_LD | BPF_W | BPF_IND, offset + 4, 0, 0);
    add(it, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)token, 0, 1);
    add(it, BPF_RET | BPF_K, SEEN, 0, 0);
}

static void write_filter(struct tap *it, uint16_t port, uint64_t token, uint64_t other) {
    // From the end of the IP header on.
    uint32_t offset = 8;
    if (port) {
        require_ipv4(it, IPPROTO_UDP);
        add(it, BPF_LD | BPF_H | BPF_IND, 2, 0, 0);
        require(it, port);
        add(it, BPF_LD | BPF_B | BPF_IND, TO_INNER, 0, 0);
        require(it, 0x45);
        add(it, BPF_LD | BPF_B | BPF_IND, TO_INNER + 9, 0, 0);
        require(it, IPPROTO_ICMP);
        offset = TO_INNER + TO_TOKEN;
    } else {
        require_ipv4(it, IPPROTO_ICMP);
    }
    accept_token(it, offset, token);
    accept_token(it, offset, other);
    add(it, BPF_RET | BPF_K, 0, 0, 0);
}

static int prepare(int fd, unsigned device, uint16_t port, uint64_t token, uint64_t other) {
    struct tap it = {.length = 0};
    write_filter(&it, port, token, other);
    struct sock_fprog filter = {.len = it.length, .filter = it.code};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0) return -errno;
    // Only all protocols together are seen on their way out.
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)device,
    };
    return bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

int fan_frame_socket(void) {
    // Without a protocol nothing is received before it is bound.
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

int fan_tap_open(unsigned device, uint16_t port, uint64_t token, uint64_t other) {
    // Headers of the link are left out, whatever the link is.
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int result = prepare(fd, device, port, token, other);
    if (!result) return fd;
    close(fd);
    return result;
}

int fan_tap_read(int fd, uint8_t *buffer, uint32_t size, int *is_leaving) {
    struct sockaddr_ll address;
    socklen_t length = sizeof address;
    ssize_t n;
    do {
        n = recvfrom(fd, buffer, size, MSG_DONTWAIT, (struct sockaddr *)&address, &length);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    *is_leaving = address.sll_pkttype == PACKET_OUTGOING;
    return (int)n;
}

int fan_frame_send(int fd, unsigned device, const uint8_t *frame, uint32_t length) {
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_IP),
        .sll_ifindex = (int)device,
        .sll_halen = ETH_ALEN,
    };
    memcpy(address.sll_addr, frame, ETH_ALEN);
    ssize_t n;
    do {
        n = sendto(fd, frame, length, MSG_DONTWAIT, (const struct sockaddr *)&address, sizeof address);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}
