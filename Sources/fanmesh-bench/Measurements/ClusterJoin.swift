/// A host that becomes a member.
enum ClusterJoin: Measurement {
    static let name = "cluster-join"
    static let summary = "a host becomes a member, from the start of the command to its end, against LXD"

    static func run(_ context: BenchContext) throws -> [Row] {
        // With the size of the cluster the database does different things, so the pairs are of the same size.
        let nodes = context.pick(8, smoke: 3)
        let pair = try ClusterPair("join", nodes: nodes, members: 1, context)
        var (ours, lxd) = (1, 1)
        let joins = try context.pairs(nodes - 1, against: "LXD 5.0.2, lxd init --preseed with a token") {
            ours += 1
            return try pair.ours.join(ours)
        } peer: {
            lxd += 1
            return try pair.lxd.join(lxd)
        }
        return [joins.row("join, until the overlay is verified", in: .milliseconds, .atMost(1))]
    }
}
