#pragma once
// First, so that linux/if.h does not define again what it has; CLinuxSockets.h does the same.
#include <net/if.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

// enum bpf_attach_type of include/uapi/linux/bpf.h in Linux 6.6, which Debian 12's headers lack.
enum {
    FAN_TCX_INGRESS = 46,
    FAN_TCX_EGRESS = 47,
    // Also 6.6: place a program before the others of its hook.
    FAN_F_BEFORE = 1 << 3,
};

// Where the generated programs find what they read and write.
enum {
    FAN_SKB_DATA = offsetof(struct __sk_buff, data),
    FAN_SKB_DATA_END = offsetof(struct __sk_buff, data_end),
    FAN_SKB_VLAN_PRESENT = offsetof(struct __sk_buff, vlan_present),
    FAN_SKB_CB = offsetof(struct __sk_buff, cb),
    FAN_KEY_TUNNEL_ID = offsetof(struct bpf_tunnel_key, tunnel_id),
    FAN_KEY_REMOTE_IPV4 = offsetof(struct bpf_tunnel_key, remote_ipv4),
    FAN_KEY_TTL = offsetof(struct bpf_tunnel_key, tunnel_ttl),
    FAN_KEY_LOCAL_IPV4 = offsetof(struct bpf_tunnel_key, local_ipv4),
    // The lengths of the key that kernels before 6.0 accept: without the IPv6 remote, without the local address.
    FAN_KEY_SIZE_REMOTE = offsetof(struct bpf_tunnel_key, remote_ipv6[1]),
    FAN_KEY_SIZE_UNPINNED = offsetof(struct bpf_tunnel_key, local_ipv6[0]),
    FAN_KEY_SIZE = sizeof(struct bpf_tunnel_key),
};

// libbpf's structures without the padding at their end: libbpf refuses ones in which it is not zero, and Swift leaves
// it as it is.
enum {
    FAN_TC_HOOK_SIZE = offsetof(struct bpf_tc_hook, parent) + sizeof(__u32),
    FAN_TC_OPTS_SIZE = offsetof(struct bpf_tc_opts, priority) + sizeof(__u32),
};
