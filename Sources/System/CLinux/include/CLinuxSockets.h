// Sockets, epoll and the monotonic clock for the probe loop. Addresses and ports are in host byte order.
#pragma once
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/icmp.h>

struct sockaddr_in fan_sockaddr(uint32_t address, uint16_t port);

int fan_icmp_socket(void);

int fan_tcp_socket(void);

int fan_set_option(int fd, int level, int name, int value);

// Lets through only the ICMP types whose bit is set.
int fan_icmp_accept(int fd, uint32_t types);

int fan_bind_device(int fd, const char *device);

int fan_bind(int fd, uint32_t address, uint16_t port);

int fan_listen(int fd, int backlog);

int fan_accept(int fd);

int fan_local_port(int fd);

int fan_connect(int fd, uint32_t address, uint16_t port);

// The socket's pending error, cleared by reading it; 0 when there is none.
int fan_take_error(int fd);

// Drops a TCP connection and leaves the socket fit for another one.
int fan_disconnect(int fd);

ssize_t fan_stream_send(int fd, const void *buffer, size_t count);

ssize_t fan_stream_receive(int fd, void *buffer, size_t count);

int fan_epoll_create(void);

int fan_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token);

struct fan_ready {
    uint64_t token;
    uint32_t events;
};

uint64_t fan_monotonic_nanoseconds(void);

// Opens a packet socket that sees the echo messages of IPv4 with one of two 8-byte tokens on a device, on their way out
// too: those inside VXLAN to a UDP port, or, for port 0, those that pass as they are.
int fan_tap_open(unsigned device, uint16_t port, uint64_t token, uint64_t other);

// Reads the beginning of a packet from its IP header on, and whether it was on its way out: its length, or a negative
// errno.
int fan_tap_read(int fd, uint8_t *buffer, uint32_t size, int *is_leaving);

// Sends an Ethernet frame of IPv4 from a device, by any packet socket.
int fan_frame_send(int fd, unsigned device, const uint8_t *frame, uint32_t length);

// Opens a packet socket that receives nothing.
int fan_frame_socket(void);

// Gives up every capability of the calling thread, and of no other.
int fan_drop_capabilities(void);

enum { FAN_BATCH = 64 };

// One packet inside a shared buffer. The time is the kernel's, when a packet arrived or left: nanoseconds since 1970 by
// the clock of the machine, 0 when it said none.
struct fan_packet {
    uint64_t time;
    uint32_t address;
    uint32_t offset;
    uint32_t length;
};

// Has the kernel say when each packet of a socket arrived, and when it went to its device.
int fan_stamp_packets(int fd);

// Waits at most `milliseconds`; an interruption counts as nothing ready.
int fan_epoll_wait(int epoll, struct fan_ready *ready, unsigned count, int milliseconds);

// Sends up to FAN_BATCH packets; the number sent, or the error of the first one.
int fan_send_packets(int fd, const uint8_t *buffer, const struct fan_packet *packets, unsigned count);

// Receives up to FAN_BATCH packets, each into its own slot; one that does not fit has length 0.
int fan_receive_packets(int fd, uint8_t *buffer, uint32_t slot, struct fan_packet *packets, unsigned count);

// Receives likewise what the kernel says of packets that left: each as it went to its device, with the link's header.
int fan_receive_stamps(int fd, uint8_t *buffer, uint32_t slot, struct fan_packet *packets, unsigned count);
