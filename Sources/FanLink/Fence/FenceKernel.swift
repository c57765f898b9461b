internal import CLinux
internal import CLinuxNetlink
public import FanCore
internal import Glibc

/// The fences in this thread's network namespace: tables of nf_tables with a name of ours.
public enum FenceKernel {
    /// What stands under a network's name, and what it counted.
    public struct Found: Equatable, Sendable {
        /// The rules, nil where there are none.
        public var observation: FenceObservation?
        /// How many packets they dropped.
        public var dropped: UInt64
    }

    /// Reads the fence of a network.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes.
    ///
    /// - Parameter network: the network's name.
    /// - Returns: its rules and counts.
    /// - Throws: ``NetlinkError``.
    public static func find(_ network: String) throws(NetlinkError) -> Found {
        let name = Fence.tableName(of: network)
        // The kernel ends a list with the first table of the name.
        let requests = families.map { family in
            { (request: inout NetlinkMessages) in
                request.add(nf(NFT_MSG_GETRULE), flags: NLM_F_DUMP, filterHeader(family.number)) {
                    $0.put(Int(NFTA_RULE_TABLE.rawValue), name)
                }
            }
        }
        var socket = try NetlinkSocket(NETLINK_NETFILTER, "list rules of", name)
        let rules = try socket.list("list rules of", name, requests) { message -> [FilterRuleFacts] in
            guard message.type == nf(NFT_MSG_NEWRULE),
                let (_, attributes) = message.parts() as (nfgenmsg, NetlinkAttributes)?
            else { return [] }
            return [FilterRuleFacts(attributes)]
        }
        let digests = Set(rules.map(\.digest))
        let digest = digests.count == 1 ? digests.first ?? "" : ""
        return Found(
            observation: rules.isEmpty ? nil : FenceObservation(digest: digest, rules: rules.count),
            dropped: rules.reduce(0) { $0 &+ $1.dropped }
        )
    }

    private static let families = [FilterTable.Family.bridge, .device, .ipv4]

    /// Puts up a fence, in the place of an older one: at no moment there is none, or half of one.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: ``remove(_:)``.
    ///
    /// - Parameter fence: what to put up.
    /// - Throws: ``NetlinkError``.
    public static func put(_ fence: Fence) throws(NetlinkError) {
        let name = Fence.tableName(of: fence.network)
        let comment = "fanmesh \(fence.digest)"
        try commit("add rules of", name) { batch in
            for table in fence.tables {
                let family = table.family.number
                delete(name, family, &batch)
                batch.add(nf(NFT_MSG_NEWTABLE), flags: NLM_F_CREATE, filterHeader(family)) {
                    $0.put(Int(NFTA_TABLE_NAME.rawValue), name)
                }
                for chain in table.chains {
                    batch.add(chain, table: name, family: family)
                    for rule in chain.rules {
                        batch.add(rule, chain: chain.name, table: name, family: family, comment: comment)
                    }
                }
            }
        }
    }

    /// Takes a fence down.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: ``put(_:)``.
    ///
    /// - Parameter network: the network's name.
    /// - Throws: ``NetlinkError``.
    public static func remove(_ network: String) throws(NetlinkError) {
        let name = Fence.tableName(of: network)
        try commit("delete rules of", name) { batch in
            for family in families { delete(name, family.number, &batch) }
        }
    }

    /// Deletes a table, whether it is there or not.
    private static func delete(_ name: String, _ family: Int32, _ batch: inout NetlinkMessages) {
        // Only what exists can be deleted; making what exists already changes nothing.
        for (type, flags) in [(NFT_MSG_NEWTABLE, NLM_F_CREATE), (NFT_MSG_DELTABLE, 0)] {
            batch.add(nf(type), flags: flags, filterHeader(family)) { $0.put(Int(NFTA_TABLE_NAME.rawValue), name) }
        }
    }

    /// Does all of a batch, or nothing.
    private static func commit(
        _ operation: String,
        _ name: String,
        _ body: (inout NetlinkMessages) -> Void
    ) throws(NetlinkError) {
        var socket = try NetlinkSocket(NETLINK_NETFILTER, operation, name)
        // All of it is one datagram.
        _ = fan_set_option(socket.number, SOL_SOCKET, SO_SNDBUFFORCE, Int32(NetlinkMessages.batchBytes))
        _ = try socket.exchange(operation, name) { batch in
            let header = filterHeader(AF_UNSPEC, resource: NFNL_SUBSYS_NFTABLES)
            batch.add(Int(NLMSG_MIN_TYPE), flags: 0, header)
            body(&batch)
            // Its answer comes behind those of all messages that failed.
            batch.askForAnswer()
            batch.add(Int(NLMSG_MIN_TYPE) + 1, flags: 0, header)
        }
    }
}

/// What a rule says of itself.
private struct FilterRuleFacts {
    /// The digest of the fence that it belongs to, empty where its comment has none.
    let digest: String
    /// How many packets its counter counted.
    let dropped: UInt64

    init(_ attributes: NetlinkAttributes) {
        let comment = attributes[Int(NFTA_RULE_USERDATA.rawValue)].flatMap(FilterComment.decode) ?? ""
        digest = comment.hasPrefix("fanmesh ") ? String(comment.dropFirst(8)) : ""
        dropped = attributes.nested(Int(NFTA_RULE_EXPRESSIONS.rawValue)).reduce(0) { sum, element in
            let expression = NetlinkAttributes(element.value)
            guard expression[Int(NFTA_EXPR_NAME.rawValue)]?.text == "counter" else { return sum }
            let data = expression.nested(Int(NFTA_EXPR_DATA.rawValue))
            let packets = data[Int(NFTA_COUNTER_PACKETS.rawValue)]?.load(UInt64.self) ?? 0
            return sum &+ UInt64(bigEndian: packets)
        }
    }
}
