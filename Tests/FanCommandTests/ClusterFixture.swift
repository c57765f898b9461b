import FanCore

@testable import FanCommand

/// A cluster of three as its server would describe it.
enum Cluster {
    static let fingerprint = String(repeating: "ab", count: 32)
    static let secret = String(repeating: "5e", count: 32)

    static let mapping: FanMapping = {
        let overlay = IPv4Prefix(containing: IPv4Address(240, 0, 0, 0), prefixBits: 8)
        let underlay = IPv4Prefix(containing: IPv4Address(172, 31, 16, 0), prefixBits: 20)
        guard let mapping = try? FanMapping(overlay: overlay, underlay: underlay) else { preconditionFailure() }
        return mapping
    }()

    static let config = ClusterConfig(clusterID: String(repeating: "c1", count: 16), mapping: mapping)

    static func member(_ number: Int) -> Member {
        let address = IPv4Address(172, 31, UInt8(15 + number), UInt8(4 + number))
        return Member(
            id: UInt64(number),
            name: "node\(number)",
            nodeID: String(repeating: "0\(number)", count: 16),
            address: SocketAddress(address),
            underlayAddress: address,
            fingerprint: String(repeating: "f\(number)", count: 32),
            version: "0.1.0",
            schema: 1,
            joinedAt: 1_795_000_000
        )
    }

    static func report(_ number: Int, verdict: Verdict = .healthy) -> NodeReport {
        let member = member(number)
        var report = NodeReport(nodeID: member.nodeID, version: "0.1.0", kernel: "6.12.0")
        report.verdict = verdict
        report.settings = config.overlay.settings
        report.underlayAddress = member.underlayAddress
        report.slice = (try? mapping.slice(of: member.underlayAddress))?.prefix
        report.forwarder = .ebpf
        report.mtuBytes = 1450
        report.generation = 7
        return report
    }

    static func status(
        _ number: Int,
        state: MemberState = .online,
        message: String = "fully operational",
        verdict: Verdict? = .healthy
    ) -> MemberStatus {
        MemberStatus(
            member: member(number),
            role: .voter,
            isLeader: number == 2,
            state: state,
            message: message,
            lastSeen: .milliseconds(number * 1100),
            report: verdict.map { report(number, verdict: $0) }
        )
    }

    static func members(
        _ statuses: [MemberStatus],
        isStale: Bool = false,
        warnings: [Finding] = []
    ) -> FakeServer.Answer {
        FakeServer.Answer(
            document: MemberList(
                members: statuses.map { MemberRow($0, mapping: mapping, members: statuses.count) },
                leader: isStale ? nil : "node2",
                isStale: isStale,
                tolerance: isStale ? "no change is possible now" : "1 of 3 may fail",
                warnings: warnings
            ).document
        )
    }

    static func show(_ status: MemberStatus) -> FakeServer.Answer {
        FakeServer.Answer(document: status.document(mapping))
    }

    static func info(_ config: ClusterConfig = config) -> FakeServer.Answer {
        FakeServer.Answer(document: [
            "schema": "fanmesh.cluster-info/v1",
            "config": config.document,
            "fingerprint": .string(fingerprint),
            "leader": "node2",
            "quorum": true,
        ])
    }

    /// A node in no cluster, with or without its agent.
    static func unconfigured(hasAgent: Bool = true) -> FakeServer.Answer {
        var snapshot = ClusterSnapshot()
        snapshot.hasAgent = hasAgent
        return FakeServer.Answer(document: snapshot.document)
    }

    /// A node in the cluster.
    static func local(
        _ number: Int,
        of count: Int,
        state: ClusterSnapshot.State = .member,
        message: String = ""
    ) -> FakeServer.Answer {
        var snapshot = ClusterSnapshot(state: state, message: message)
        snapshot.generation = 7
        snapshot.name = "node\(number)"
        snapshot.config = config
        snapshot.members = (1...count).map(member)
        snapshot.hasQuorum = true
        snapshot.leader = "node1"
        snapshot.hasAgent = true
        return FakeServer.Answer(document: snapshot.document)
    }

    static func rehearsal(_ checks: [Document] = [["check": "slice", "result": "ok", "detail": "free", "remedy": ""]])
        -> FakeServer.Answer
    {
        FakeServer.Answer(document: [
            "schema": "fanmesh.rehearsal/v1",
            "name": "node2",
            "config": config.document,
            "members": .array([member(1).document]),
            "checks": .array(checks),
        ])
    }

    static func token(
        _ name: String = "node2",
        addresses: [String] = ["172.31.16.5:8473"],
        expires: String = "2026-11-21T08:00:00Z"
    ) throws -> String {
        JoinToken(
            serverName: name,
            fingerprint: fingerprint,
            addresses: try addresses.map { try SocketAddress(parsing: $0) },
            secret: secret,
            expiresAt: try Timestamp(parsing: expires)
        ).encoded
    }
}

extension FakeServer {
    /// A server in no cluster, to which no agent connects however long one waits.
    static func withoutAgent() throws -> FakeServer {
        let answers = [Cluster.unconfigured(hasAgent: false)]
        return try FakeServer(["GET /1.0/local": answers, "GET /1.0/local?generation=0&wait=1": answers])
    }
}
