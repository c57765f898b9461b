import FanCore
import FanDatabase
import FanLab
import FanStore
import TestSupport
import Testing

/// README's threat model: who breaks into a voter's server can falsify the database, and changes no other host's kernel
/// by that; a host follows only its own root's `fanmesh accept`.
@Suite(.serialized, .enabled(if: isRoot))
struct FalsifiedDatabaseTests {
    /// What the kernel has of the overlay on a node.
    private func kernel(_ bench: FormationBench, _ number: Int) throws -> String {
        let namespace = bench.cluster.node(number).namespace
        var lines: [Substring] = []
        for object in ["link", "address", "route"] {
            lines += try namespace.run("ip", object, "show").output.split(separator: "\n")
        }
        // A bridge is UP some time after its first port.
        return lines.filter { $0.contains("fan0") }.joined(separator: "\n").replacing(/state [A-Z]+/, with: "")
    }

    /// Changes the database of the only voter as its server could, without the server.
    private func falsify(_ bench: FormationBench, _ change: @escaping @Sendable (inout ClusterConfig) throws -> Void)
        throws
    {
        // Stopped, it would hand its part over first.
        try bench.cluster.process(.server, on: 1)?.kill()
        let directory = "\(bench.cluster.node(1).stateDirectory)/server"
        let node = try DatabaseNode(
            id: 1,
            address: "\(bench.address(1))",
            directory: "\(directory)/database",
            connect: { _ in -1 }
        )
        try node.start()
        defer { node.stop() }
        let isDone = eventually(within: .seconds(10)) {
            do {
                try Database(node: node).write(timeout: .seconds(4)) { transaction -> Void in
                    guard var config = try transaction.loadConfig() else { return }
                    try change(&config)
                    try transaction.saveConfig(config)
                    try transaction.bumpGeneration()
                }
                return true
            } catch {
                return false
            }
        }
        try #require(isDone)
        node.stop()
        // The server's own user wrote all that.
        let owned = try bench.cluster.node(1).namespace.run("chown", "-R", "65534:65534", "\(directory)/database")
        try #require(owned.isSuccess, "\(owned.explanation)")
        try bench.cluster.start(.server, on: 1)
    }

    @Test(.timeLimit(.minutes(3))) func noHostFollowsUntilItsRootSaysSo() throws {
        try FormationBench.run("falsified", nodes: 3, members: 2) { bench in
            let cluster = bench.cluster
            let before = try [1, 2].map { try kernel(bench, $0) }
            #expect(before.allSatisfy { $0.contains("240.") })
            try falsify(bench) {
                $0.mapping = try FanMapping(
                    overlay: IPv4Prefix(parsing: "8.0.0.0/8"),
                    underlay: IPv4Prefix(parsing: "172.31.16.0/20")
                )
            }
            for number in [1, 2] {
                let isSeen = try eventually(within: .seconds(20)) {
                    try cluster.fanmesh(on: number, ["status"]).output.contains("settings-pinned")
                }
                #expect(isSeen, "node\(number)")
                #expect(try kernel(bench, number) == before[number - 1])
            }
            // The database says so indeed, and guests talk on.
            #expect(try bench.local(2, "GET", "/1.0/cluster").document.compactJSONText.contains("\"8.0.0.0/8\""))
            let peer = try #require(before[1].firstMatch(of: /inet (240\.[0-9.]+)\//)).1
            #expect(try cluster.node(1).namespace.run("ping", "-c", "1", "-W", "2", String(peer)).isSuccess)

            // Not by a user, and not where there is nothing to follow.
            let node = cluster.node(2)
            let unknownPeer = try node.namespace.run(
                ProcessRequest([
                    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", Programs.fanmesh,
                    "--state-dir", node.stateDirectory, "--runtime-dir", node.runtimeDirectory, "accept", "--yes",
                ])
            )
            #expect(!unknownPeer.isSuccess, "\(unknownPeer.explanation)")
            let alone = try cluster.fanmesh(on: 3, ["accept", "--yes"])
            #expect(alone.ending == .exited(1) && alone.errorOutput.contains("in no cluster"), "\(alone.explanation)")
            #expect(try kernel(bench, 2) == before[1])

            // One host follows, the other does not.
            let accepted = try cluster.fanmesh(on: 2, ["accept", "--yes"])
            #expect(accepted.isSuccess, "\(accepted.explanation)")
            #expect(accepted.output.contains("accepted: overlay 8.0.0.0/8 instead of 240.0.0.0/8"))
            let hasFollowed = try eventually(within: .seconds(10)) {
                try kernel(bench, 2).contains("inet 8.")
            }
            #expect(hasFollowed)
            let isSettled = try eventually(within: .seconds(5)) {
                try !cluster.fanmesh(on: 2, ["status"]).output.contains("settings-pinned")
            }
            #expect(isSettled)
            #expect(try kernel(bench, 1) == before[0])
            let again = try cluster.fanmesh(on: 2, ["accept", "--yes"])
            #expect(again.isSuccess && again.output.contains("nothing to accept"), "\(again.explanation)")
        }
    }
}
