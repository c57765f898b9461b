internal import FanLab

extension Measurement {
    static let clusterJoin = Measurement(
        name: "cluster-join",
        summary: "a host becomes a member, from the start of the command to its end, against LXD"
    ) { context in
        // With the size of the cluster the database does different things, so the pairs are of the same size.
        let nodes = context.pick(8, smoke: 3)
        let pair = try ClusterPair("join", nodes: nodes, members: 1, context)
        var (ours, lxd) = (1, 1)
        let samples = try context.pairs(nodes - 1) {
            ours += 1
            return try pair.ours.join(ours)
        } peer: {
            lxd += 1
            return try pair.lxd.join(lxd)
        }
        return [
            Row(
                "join, until the overlay is verified",
                against: "LXD 5.0.2, lxd init --preseed with a token",
                Pairs(samples) { $0 },
                in: .milliseconds,
                budget: .atMost(1)
            )
        ]
    }
}
