internal import CLinux
internal import CLinuxNetlink
internal import FanCore
internal import Glibc

/// What other programs' packet filter rules for IPv4 do with what a bridge forwards.
enum ForeignChains {
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

    private static let families: [Int32: String] = [
        Int32(FAN_NFPROTO_INET): "inet", Int32(FAN_NFPROTO_IPV4): "ip",
    ]

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
        /// Whether it is at the hook for what is forwarded.
        let isForwarding: Bool
        /// Whether it drops what none of its rules decides.
        let drops: Bool

        init(_ header: nfgenmsg, _ attributes: NetlinkAttributes) {
            family = Int32(header.nfgen_family)
            table = attributes[Int(NFTA_CHAIN_TABLE.rawValue)]?.text ?? ""
            name = attributes[Int(NFTA_CHAIN_NAME.rawValue)]?.text ?? ""
            let hook = attributes.nested(Int(NFTA_CHAIN_HOOK.rawValue))[Int(NFTA_HOOK_HOOKNUM.rawValue)]
            isForwarding = families[family] != nil && hook.flatMap(number) == UInt32(FAN_INET_FORWARD)
            drops = attributes[Int(NFTA_CHAIN_POLICY.rawValue)].flatMap(number) == UInt32(FAN_NF_DROP)
        }
    }

    private struct Rule {
        let family: Int32
        let table: String
        let chain: String
        /// Whether it drops whatever comes to it.
        private(set) var dropsAll: Bool
        /// Whether it names the bridge, and does not drop.
        private(set) var letsThrough: Bool

        init(_ header: nfgenmsg, _ attributes: NetlinkAttributes, _ bridge: String) {
            family = Int32(header.nfgen_family)
            table = attributes[Int(NFTA_RULE_TABLE.rawValue)]?.text ?? ""
            chain = attributes[Int(NFTA_RULE_CHAIN.rawValue)]?.text ?? ""
            var isConditional = false
            var namesBridge = false
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
                default: isConditional = true
                }
            }
            dropsAll = drops && !isConditional
            letsThrough = namesBridge && decides
        }
    }

    /// A number in network byte order.
    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32? {
        bytes.load(UInt32.self).map(UInt32.init(bigEndian:))
    }
}
