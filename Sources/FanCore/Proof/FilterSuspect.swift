/// A chain or rule of nftables that may drop packets of the overlay between two hosts.
public struct FilterSuspect: Hashable, Sendable {
    /// The family of its table, in the words of `nft`.
    public var family: String
    /// Its table.
    public var table: String
    /// The chain.
    public var chain: String
    /// The rule's handle; nil when it is the chain's end.
    public var handle: UInt64?

    /// Names a chain, or a rule in it.
    public init(family: String, table: String, chain: String, handle: UInt64? = nil) {
        (self.family, self.table, self.chain, self.handle) = (family, table, chain, handle)
    }

    /// What lets packets to a UDP port through it.
    ///
    /// - Parameter port: the port.
    /// - Returns: a command.
    public func remedy(port: UInt16) -> String {
        if table == "firewalld" { return "firewall-cmd --permanent --add-service=fanmesh && firewall-cmd --reload" }
        // The tables and chains of iptables have these names.
        if family == "ip", table == "filter", chain == chain.uppercased() {
            return "iptables -I \(chain) -p udp --dport \(port) -j ACCEPT"
        }
        return "nft insert rule \(family) \(table) \(chain) udp dport \(port) accept"
    }
}

extension FilterSuspect: CustomStringConvertible {
    /// Where it is, in the words of `nft`.
    public var description: String {
        "\(family) \(table) \(chain)" + (handle.map { ", the rule with handle \($0)" } ?? ", its end")
    }
}
