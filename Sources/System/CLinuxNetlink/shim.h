#pragma once

// Of linux/netfilter.h and linux/netfilter_bridge.h, which define again what netinet/in.h does.
enum {
    FAN_NF_DROP = 0,
    FAN_NF_ACCEPT = 1,
    FAN_NFPROTO_INET = 1,
    FAN_NFPROTO_IPV4 = 2,
    FAN_NFPROTO_NETDEV = 5,
    FAN_NFPROTO_BRIDGE = 7,
    FAN_BRIDGE_PREROUTING = 0,
    FAN_NETDEV_INGRESS = 0,
    FAN_INET_PREROUTING = 0,
    FAN_INET_LOCAL_IN = 1,
    FAN_INET_FORWARD = 2,
    FAN_INET_LOCAL_OUT = 3,
    FAN_INET_POSTROUTING = 4,
};
