/// A chain of somebody else's rules for IPv4 that drops what a bridge forwards, unless a rule accepts it.
///
/// What another table accepts does not help: a packet goes on only where none drops it.
public struct ForeignChain: Hashable, Sendable {
    /// The family of its table, in the words of `nft`: `ip` or `inet`.
    public var family: String
    /// Its table.
    public var table: String
    /// Its name.
    public var name: String
    /// The other chains of the table, which tell whose it is.
    public var siblings: Set<String>

    /// Describes a chain.
    public init(family: String, table: String, name: String, siblings: Set<String> = []) {
        (self.family, self.table, self.name, self.siblings) = (family, table, name, siblings)
    }

    /// What lets the frames of a bridge through it.
    ///
    /// - Parameter bridge: the bridge's name.
    /// - Returns: a command.
    public func remedy(bridge: String) -> String {
        if siblings.contains("DOCKER-USER") {
            return "iptables -I DOCKER-USER -i \(bridge) -o \(bridge) -j ACCEPT"
        }
        if table == "firewalld" {
            return "firewall-cmd --permanent --zone=trusted --add-interface=\(bridge) && firewall-cmd --reload"
        }
        // The tables and chains of iptables have these names.
        if family == "ip", table == "filter", name == "FORWARD" {
            return "iptables -I FORWARD -i \(bridge) -o \(bridge) -j ACCEPT"
        }
        return "nft insert rule \(family) \(table) \(name) iifname \(bridge) oifname \(bridge) accept"
    }
}

extension ForeignChain: CustomStringConvertible {
    /// Where it is, in the words of `nft`.
    public var description: String { "\(family) \(table) \(name)" }
}
