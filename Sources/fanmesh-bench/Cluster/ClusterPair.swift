internal import FanLab
internal import FanSystem
internal import FanTLS

/// A cluster of ours and one of LXD, of the same size, on virtual hosts of the same kind.
struct ClusterPair {
    let ours: OurCluster
    let lxd: LXDCluster

    /// Makes both; the first hosts are members, all others may still join.
    init(_ name: String, nodes: Int, members: Int, _ context: BenchContext) throws {
        writeErrorLine("  making two clusters: \(members) of \(nodes) hosts are members")
        ours = try OurCluster("bench-\(name)-ours", nodes: nodes, context)
        lxd = try LXDCluster("bench-\(name)-lxd", nodes: nodes, context)
        for number in 1...members where number > 1 {
            _ = try ours.join(number)
            _ = try lxd.join(number)
        }
        try ours.cluster.waitUntilOnline(Array(1...members))
    }

    /// A client that LXD trusts.
    func lxdClient() throws -> Identity {
        let client = try Identity.generate(commonName: "fanmesh-bench")
        try lxd.trust(certificatePEM: client.certificatePEM)
        return client
    }

    /// What a member really reported, to be varied.
    func report(of number: Int) throws -> ChangingReport {
        guard let report = try ours.cluster.report(of: number) else {
            throw BenchError("\(ours.cluster.node(number).name) has not reported")
        }
        return ChangingReport(report)
    }
}
