#include "CPacket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

static int prepare(int fd, const char *device) {
    int on = 1, bytes = 64 << 20;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)if_nametoindex(device),
    };
    if (!address.sll_ifindex) return -errno;
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0) return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0) return -errno;
    return bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

int packet_open(const char *device) {
    // Protocol 0 receives nothing before the socket is bound to its device.
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int result = prepare(fd, device);
    if (!result) return fd;
    close(fd);
    return result;
}

int packet_losses(int fd) {
    struct tpacket_stats statistics;
    socklen_t size = sizeof statistics;
    int result = getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &size);
    return result < 0 ? -errno : (int)statistics.tp_drops;
}
