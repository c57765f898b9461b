import FanCore

/// A cluster to test with: three members in 172.31.16.0/20, overlay 240.0.0.0/8.
enum ClusterFixture {
    static func config() throws -> ClusterConfig {
        ClusterConfig(
            clusterID: String(repeating: "c1", count: 16),
            mapping: try FanMapping(
                overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
                underlay: IPv4Prefix(parsing: "172.31.16.0/20")
            )
        )
    }

    static func member(_ number: UInt64, schema: Int = 1) -> Member {
        let address = IPv4Address(172, 31, 16, UInt8(number))
        return Member(
            id: number,
            name: "node\(number)",
            nodeID: String(repeating: "0\(number % 10)", count: 16),
            address: SocketAddress(address),
            underlayAddress: address,
            fingerprint: String(repeating: "f\(number % 10)", count: 32),
            version: "0.2.0",
            schema: schema,
            joinedAt: 1_795_230_227
        )
    }

    static func report(of member: Member) throws -> NodeReport {
        let config = try config()
        var report = NodeReport(nodeID: member.nodeID, version: member.version, kernel: "6.18.0")
        report.verdict = .healthy
        report.settings = config.overlay.settings
        report.underlayAddress = member.underlayAddress
        report.slice = try config.mapping.slice(of: member.underlayAddress).prefix
        report.forwarder = .ebpf
        report.mtuBytes = 1450
        report.counters = ForwardingCounters(forwarded: 7, spoofed: 1, outside: 0, unsupported: UInt64(Int64.max))
        report.reachability.peers = [
            NodeReport.Reachability.Peer(name: "node8", isReachable: true, roundTrip: .microseconds(1500)),
            NodeReport.Reachability.Peer(name: "node9", isReachable: false, diagnosis: "UDP 8472 is blocked"),
        ]
        report.warnings = [
            Finding(code: "mtu", severity: .warning, message: "the MTU is small", remedy: "raise it"),
            Finding(code: "peer", severity: .error, message: "node9 is lost", remedy: "look at it"),
        ]
        report.generation = 3
        return report
    }

    static func snapshot() throws -> ClusterSnapshot {
        var snapshot = ClusterSnapshot(state: .member, message: "fine")
        snapshot.generation = 12
        snapshot.name = "node1"
        snapshot.config = try config()
        snapshot.members = (1...3).map { member($0) }
        snapshot.hasQuorum = true
        snapshot.leader = "node2"
        snapshot.hasAgent = true
        return snapshot
    }
}

extension Document {
    /// The object with a key's value replaced, or without the key for nil.
    func replacing(_ key: String, with value: Document?) -> Document {
        .object(
            fields.compactMap { field in
                guard field.key == key else { return field }
                return value.map { Field(key: key, value: $0) }
            }
        )
    }
}
