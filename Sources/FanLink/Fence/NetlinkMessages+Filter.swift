internal import CLinuxNetlink
internal import FanCore
internal import Glibc

extension NetlinkMessages {
    /// Adds a chain at its hook.
    mutating func add(_ chain: FilterChain, table: String, family: Int32) {
        add(nf(NFT_MSG_NEWCHAIN), flags: NLM_F_CREATE, filterHeader(family)) { message in
            message.put(Int(NFTA_CHAIN_TABLE.rawValue), table)
            message.put(Int(NFTA_CHAIN_NAME.rawValue), chain.name)
            message.nest(Int(NFTA_CHAIN_HOOK.rawValue)) { hook in
                hook.put(Int(NFTA_HOOK_HOOKNUM.rawValue), chain.hook.number)
                // Before connection tracking and whatever others have.
                hook.put(Int(NFTA_HOOK_PRIORITY.rawValue), -300)
                if case .ingress(let device) = chain.hook { hook.put(Int(NFTA_HOOK_DEV.rawValue), device) }
            }
            message.put(Int(NFTA_CHAIN_POLICY.rawValue), Int(FAN_NF_ACCEPT))
            message.put(Int(NFTA_CHAIN_TYPE.rawValue), "filter")
        }
    }

    /// Adds a rule at the end of a chain, with a comment.
    mutating func add(_ rule: FilterRule, chain: String, table: String, family: Int32, comment: String) {
        add(nf(NFT_MSG_NEWRULE), flags: NLM_F_CREATE | NLM_F_APPEND, filterHeader(family)) { message in
            message.put(Int(NFTA_RULE_TABLE.rawValue), table)
            message.put(Int(NFTA_RULE_CHAIN.rawValue), chain)
            message.nest(Int(NFTA_RULE_EXPRESSIONS.rawValue)) { list in
                for match in rule.matches { list.add(match) }
                if rule.drops { list.expression("counter") { _ in } }
                list.expression("immediate") { data in
                    data.put(Int(NFTA_IMMEDIATE_DREG.rawValue), Int(NFT_REG_VERDICT.rawValue))
                    data.nest(Int(NFTA_IMMEDIATE_DATA.rawValue)) { value in
                        value.nest(Int(NFTA_DATA_VERDICT.rawValue)) { verdict in
                            verdict.put(Int(NFTA_VERDICT_CODE.rawValue), Int(rule.drops ? FAN_NF_DROP : FAN_NF_ACCEPT))
                        }
                    }
                }
            }
            message.put(Int(NFTA_RULE_USERDATA.rawValue), FilterComment.encode(comment))
        }
    }

    /// Adds a number in network byte order.
    private mutating func put(_ type: Int, _ number: Int) {
        put(type, number: UInt32(truncatingIfNeeded: number).bigEndian)
    }

    private mutating func add(_ match: FilterMatch) {
        switch match {
        case .device(let name): meta(NFT_META_IIFNAME, NFT_CMP_EQ, name.deviceBytes)
        case .otherDevice(let name): meta(NFT_META_IIFNAME, NFT_CMP_NEQ, name.deviceBytes)
        case .etherType(let type):
            meta(NFT_META_PROTOCOL, NFT_CMP_EQ, [UInt8(type >> 8), UInt8(type & 255)])
        case .transport(let number): meta(NFT_META_L4PROTO, NFT_CMP_EQ, [number])
        case .field(let base, let offset, let mask, let value):
            expression("payload") { data in
                data.put(Int(NFTA_PAYLOAD_DREG.rawValue), Int(NFT_REG_1.rawValue))
                data.put(Int(NFTA_PAYLOAD_BASE.rawValue), base.number)
                data.put(Int(NFTA_PAYLOAD_OFFSET.rawValue), offset)
                data.put(Int(NFTA_PAYLOAD_LEN.rawValue), value.count)
            }
            if !mask.isEmpty {
                expression("bitwise") { data in
                    data.put(Int(NFTA_BITWISE_SREG.rawValue), Int(NFT_REG_1.rawValue))
                    data.put(Int(NFTA_BITWISE_DREG.rawValue), Int(NFT_REG_1.rawValue))
                    data.put(Int(NFTA_BITWISE_LEN.rawValue), mask.count)
                    data.nest(Int(NFTA_BITWISE_MASK.rawValue)) { $0.put(Int(NFTA_DATA_VALUE.rawValue), mask) }
                    data.nest(Int(NFTA_BITWISE_XOR.rawValue)) {
                        $0.put(Int(NFTA_DATA_VALUE.rawValue), mask.map { _ in 0 })
                    }
                }
            }
            compare(NFT_CMP_EQ, value)
        }
    }

    private mutating func meta(_ key: nft_meta_keys, _ operation: nft_cmp_ops, _ value: [UInt8]) {
        expression("meta") { data in
            data.put(Int(NFTA_META_KEY.rawValue), Int(key.rawValue))
            data.put(Int(NFTA_META_DREG.rawValue), Int(NFT_REG_1.rawValue))
        }
        compare(operation, value)
    }

    private mutating func compare(_ operation: nft_cmp_ops, _ value: [UInt8]) {
        expression("cmp") { data in
            data.put(Int(NFTA_CMP_SREG.rawValue), Int(NFT_REG_1.rawValue))
            data.put(Int(NFTA_CMP_OP.rawValue), Int(operation.rawValue))
            data.nest(Int(NFTA_CMP_DATA.rawValue)) { $0.put(Int(NFTA_DATA_VALUE.rawValue), value) }
        }
    }

    private mutating func expression(_ name: String, _ body: (inout NetlinkMessages) -> Void) {
        nest(Int(NFTA_LIST_ELEM.rawValue)) { element in
            element.put(Int(NFTA_EXPR_NAME.rawValue), name)
            element.nest(Int(NFTA_EXPR_DATA.rawValue), body)
        }
    }
}

/// The comment of a rule, in the form in which `nft` shows it.
enum FilterComment {
    static func encode(_ text: String) -> [UInt8] { [0, UInt8(text.utf8.count + 1)] + Array(text.utf8) + [0] }

    static func decode(_ bytes: ArraySlice<UInt8>) -> String? {
        guard bytes.count >= 3, bytes.first == 0 else { return nil }
        return String(decoding: bytes.dropFirst(2).prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// The header of a message about a family's tables, or about all of a batch.
func filterHeader(_ family: Int32, resource: Int32 = 0) -> nfgenmsg {
    nfgenmsg(nfgen_family: UInt8(family), version: UInt8(NFNETLINK_V0), res_id: UInt16(resource).bigEndian)
}

/// A message type of nf_tables.
func nf(_ type: nf_tables_msg_types) -> Int { Int(NFNL_SUBSYS_NFTABLES) << 8 | Int(type.rawValue) }

extension FilterTable.Family {
    var number: Int32 {
        switch self {
        case .bridge: Int32(FAN_NFPROTO_BRIDGE)
        case .device: Int32(FAN_NFPROTO_NETDEV)
        case .ipv4: Int32(FAN_NFPROTO_IPV4)
        }
    }
}

extension FilterChain.Hook {
    fileprivate var number: Int {
        switch self {
        case .bridgePrerouting: Int(FAN_BRIDGE_PREROUTING)
        case .ingress: Int(FAN_NETDEV_INGRESS)
        case .input: Int(FAN_INET_LOCAL_IN)
        case .forward: Int(FAN_INET_FORWARD)
        }
    }
}

extension FilterMatch.Base {
    fileprivate var number: Int {
        switch self {
        case .link: Int(NFT_PAYLOAD_LL_HEADER.rawValue)
        case .network: Int(NFT_PAYLOAD_NETWORK_HEADER.rawValue)
        case .transport: Int(NFT_PAYLOAD_TRANSPORT_HEADER.rawValue)
        }
    }
}

extension String {
    /// A device's name as the kernel compares it, all of its sixteen bytes.
    fileprivate var deviceBytes: [UInt8] {
        let name = Array(utf8.prefix(15))
        return name + Array(repeating: 0, count: 16 - name.count)
    }
}
