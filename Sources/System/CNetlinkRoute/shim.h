#pragma once
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/link/vxlan.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>

// Returns the kernel's extended-ack text that follows an error message, or NULL.
// The error is the payload of the message whose header stands right before it.
static inline const char *fan_extended_ack(const struct nlmsgerr *error) {
    const struct nlmsghdr *header = (const struct nlmsghdr *)((const char *)error - NLMSG_HDRLEN);
    if (!(header->nlmsg_flags & NLM_F_ACK_TLVS)) return 0;
    unsigned int offset = NLMSG_ALIGN(sizeof(*error));
    if (!(header->nlmsg_flags & NLM_F_CAPPED)) offset += NLMSG_ALIGN(error->msg.nlmsg_len) - NLMSG_HDRLEN;
    unsigned int length = header->nlmsg_len - NLMSG_HDRLEN;
    while (offset + NLA_HDRLEN <= length) {
        const struct nlattr *attribute = (const struct nlattr *)((const char *)error + offset);
        if (attribute->nla_len < NLA_HDRLEN || offset + attribute->nla_len > length) return 0;
        if ((attribute->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG) {
            const char *text = (const char *)attribute + NLA_HDRLEN;
            unsigned int size = attribute->nla_len - NLA_HDRLEN;
            return size > 0 && text[size - 1] == 0 ? text : 0;
        }
        offset += NLA_ALIGN(attribute->nla_len);
    }
    return 0;
}
