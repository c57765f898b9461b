internal import CLinux
internal import CLinuxNetlink
public import FanCore
internal import Glibc

/// What other programs' packet filter rules for IPv4 do with what a bridge forwards.
public enum ForeignChains {
    /// The chains that drop a bridge's frames, as far as can be told from their rules: they end with a drop, and no
    /// rule of their table names the bridge and does anything else.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes.
    ///
    /// - Parameter bridge: the bridge's name.
    /// - Returns: the chains, in a fixed order.
    /// - Throws: ``NetlinkError``.
    static func dropping(_ bridge: String) throws(NetlinkError) -> [ForeignChain] {
        var socket = try NetlinkSocket(NETLINK_NETFILTER, "list chains of", "all tables")
        let all = [request(NFT_MSG_GETCHAIN, AF_UNSPEC)]
        let chains = try socket.list("list chains of", "all tables", all) { message in
            message.parts().map { [Chain($0, $1)] } ?? []
        }
        let forwarding = chains.filter { $0.isForwarding && !$0.table.hasPrefix(Fence.tableName(of: "")) }
        guard !forwarding.isEmpty else { return [] }
        // Of these tables alone: others may have tens of thousands.
        let requests = forwarding.map { chain in
            request(NFT_MSG_GETRULE, chain.family) { $0.put(Int(NFTA_RULE_TABLE.rawValue), chain.table) }
        }
        let rules = try socket.list("list rules of", "all tables", requests) { message in
            message.parts().map { [Rule($0, $1, bridge)] } ?? []
        }
        return forwarding.filter { chain in
            let own = rules.filter { $0.family == chain.family && $0.table == chain.table }
            let last = own.last { $0.chain == chain.name }
            return (chain.drops || last?.dropsAll == true) && !own.contains(where: \.letsThrough)
        }.map { chain in
            let siblings = chains.filter { $0.family == chain.family && $0.table == chain.table }.map(\.name)
            return ForeignChain(
                family: families[chain.family] ?? "",
                table: chain.table,
                name: chain.name,
                siblings: Set(siblings)
            )
        }.sorted { $0.description < $1.description }
    }

    /// The chains and rules of others that may drop packets to a UDP port on this host's way in, or out, as far as can
    /// be told: rules that drop and name the port; where there are none, chains that end with a drop in a table in which
    /// no rule lets the port through.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes.
    ///
    /// - Parameters:
    ///   - port: the port.
    ///   - isIncoming: whether packets arrive; else they leave.
    /// - Returns: the chains and rules, in a fixed order.
    /// - Throws: ``NetlinkError``.
    public static func suspects(port: UInt16, isIncoming: Bool) throws(NetlinkError) -> [FilterSuspect] {
        var socket = try NetlinkSocket(NETLINK_NETFILTER, "list chains of", "all tables")
        let all = [request(NFT_MSG_GETCHAIN, AF_UNSPEC)]
        let chains = try socket.list("list chains of", "all tables", all) { message in
            message.parts().map { [Chain($0, $1)] } ?? []
        }
        let hooks = isIncoming ? [FAN_INET_PREROUTING, FAN_INET_LOCAL_IN] : [FAN_INET_LOCAL_OUT, FAN_INET_POSTROUTING]
        let standing = chains.filter { chain in
            hooks.contains { chain.hook == UInt32($0) } && !chain.table.hasPrefix(Fence.tableName(of: ""))
        }
        var found: [FilterSuspect] = []
        for table in Set(standing.map(\.place)) {
            let request = request(NFT_MSG_GETRULE, table.family) {
                $0.put(Int(NFTA_RULE_TABLE.rawValue), table.table)
            }
            let rules = try socket.list("list rules of", table.table, [request]) { message in
                message.parts().map { [Rule($0, $1, "", port: port)] } ?? []
            }
            let family = families[table.family] ?? ""
            let named = rules.filter(\.dropsPort)
            found += named.map {
                FilterSuspect(family: family, table: table.table, chain: $0.chain, handle: $0.handle)
            }
            guard named.isEmpty, !rules.contains(where: \.letsPortThrough) else { continue }
            found += standing.filter { chain in
                chain.place == table && (chain.drops || rules.last { $0.chain == chain.name }?.dropsAll == true)
            }.map { FilterSuspect(family: family, table: table.table, chain: $0.name) }
        }
        return found.sorted { $0.description < $1.description }
    }

    private static let families: [Int32: String] = [
        Int32(FAN_NFPROTO_INET): "inet", Int32(FAN_NFPROTO_IPV4): "ip",
    ]

    /// A table, by what tells it from others.
    private struct Place: Hashable {
        var family: Int32
        var table: String
    }

    private static func request(
        _ type: nf_tables_msg_types,
        _ family: Int32,
        _ attributes: @escaping (inout NetlinkMessages) -> Void = { _ in }
    ) -> (inout NetlinkMessages) -> Void {
        { $0.add(nf(type), flags: NLM_F_DUMP, filterHeader(family), attributes) }
    }

    private struct Chain {
        let family: Int32
        let table: String
        let name: String
        /// The hook that it is at, in one of the families of IPv4.
        let hook: UInt32?
        /// Whether it drops what none of its rules decides.
        let drops: Bool

        init(_ header: nfgenmsg, _ attributes: NetlinkAttributes) {
            family = Int32(header.nfgen_family)
            table = attributes[Int(NFTA_CHAIN_TABLE.rawValue)]?.text ?? ""
            name = attributes[Int(NFTA_CHAIN_NAME.rawValue)]?.text ?? ""
            let hook = attributes.nested(Int(NFTA_CHAIN_HOOK.rawValue))[Int(NFTA_HOOK_HOOKNUM.rawValue)]
            self.hook = families[family] == nil ? nil : hook.flatMap(number)
            drops = attributes[Int(NFTA_CHAIN_POLICY.rawValue)].flatMap(number) == UInt32(FAN_NF_DROP)
        }

        var place: Place { Place(family: family, table: table) }
        /// Whether it is at the hook for what is forwarded.
        var isForwarding: Bool { hook == UInt32(FAN_INET_FORWARD) }
    }

    private struct Rule {
        let family: Int32
        let table: String
        let chain: String
        /// Whether it drops whatever comes to it.
        private(set) var dropsAll: Bool
        /// Whether it names the bridge, and does not drop.
        private(set) var letsThrough: Bool
        /// Its number in its table.
        let handle: UInt64
        /// Whether it names the port, and drops.
        private(set) var dropsPort: Bool
        /// Whether it names the port, and does not drop.
        private(set) var letsPortThrough: Bool

        init(_ header: nfgenmsg, _ attributes: NetlinkAttributes, _ bridge: String, port: UInt16 = 0) {
            handle = attributes[Int(NFTA_RULE_HANDLE.rawValue)]?.load(UInt64.self).map(UInt64.init(bigEndian:)) ?? 0
            family = Int32(header.nfgen_family)
            table = attributes[Int(NFTA_RULE_TABLE.rawValue)]?.text ?? ""
            chain = attributes[Int(NFTA_RULE_CHAIN.rawValue)]?.text ?? ""
            var isConditional = false
            var namesBridge = false
            var namesPort = false
            var drops = false
            var decides = false
            for element in attributes.nested(Int(NFTA_RULE_EXPRESSIONS.rawValue)) {
                let expression = NetlinkAttributes(element.value)
                let data = expression.nested(Int(NFTA_EXPR_DATA.rawValue))
                switch expression[Int(NFTA_EXPR_NAME.rawValue)]?.text {
                case "counter", "log": break
                case "reject": drops = true
                case "immediate":
                    let verdict = data.nested(Int(NFTA_IMMEDIATE_DATA.rawValue))
                        .nested(Int(NFTA_DATA_VERDICT.rawValue))[Int(NFTA_VERDICT_CODE.rawValue)].flatMap(number)
                    if verdict == UInt32(FAN_NF_DROP) { drops = true } else if verdict != nil { decides = true }
                case "cmp":
                    isConditional = true
                    let value = data.nested(Int(NFTA_CMP_DATA.rawValue))[Int(NFTA_DATA_VALUE.rawValue)]
                    let operation = data[Int(NFTA_CMP_OP.rawValue)].flatMap(number)
                    if value?.text == bridge, operation == NFT_CMP_EQ.rawValue { namesBridge = true }
                    if let value, Array(value) == [UInt8(port >> 8), UInt8(port & 255)],
                        operation == NFT_CMP_EQ.rawValue
                    {
                        namesPort = true
                    }
                default: isConditional = true
                }
            }
            dropsAll = drops && !isConditional
            letsThrough = namesBridge && decides
            dropsPort = namesPort && drops
            letsPortThrough = namesPort && decides
        }
    }

    /// A number in network byte order.
    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32? {
        bytes.load(UInt32.self).map(UInt32.init(bigEndian:))
    }
}
