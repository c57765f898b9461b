import FanCore
import FanHTTP
import FanLab
import FanStore
import FanSystem
import FanTLS
import Foundation
import Synchronization
import TestSupport
import Testing

/// Clusters that change while they work: members leave and are removed, and the certificate is replaced.
@Suite(.serialized, .enabled(if: isRoot)) struct FormationChangeTests {
    // MARK: Leaving and rotating

    @Test(.timeLimit(.minutes(4))) func membersRotateAreRemovedAndLeaveOneByOne() throws {
        try FormationBench.run("life", nodes: 6, members: 5) { bench in
            let cluster = bench.cluster
            for number in 1...5 { try cluster.waitUntilOnline([1, 2, 3, 4, 5], from: number) }
            try bench.expectRoles(3, 2, 0)
            try rotates(bench)
            try nothingShowsSecrets(bench)
            try isNotRotatedWhileSomebodyIsOffline(bench)
            try removed(bench)
            try leaveOneByOne(bench)
        }
    }

    /// Asks for the list in a loop, from the node's own server.
    private final class Watcher: Sendable {
        private struct State {
            var isDone = false
            var running = 0
            var asked = 0
            var failures: [String] = []
        }

        private let state = Monitor(State())

        func watch(_ bench: FormationBench, _ numbers: [Int]) {
            for number in numbers {
                state.withLock { $0.running += 1 }
                startThread("watch \(number)", stackBytes: 1 << 20) { [state] in
                    while !state.withLock(wake: .none, { $0.isDone }) {
                        var failure: String?
                        do {
                            let list = try bench.cluster.list(from: number)
                            if list.isStale || list.members.count != numbers.count { failure = list.description }
                        } catch { failure = "\(error)" }
                        let problem = failure.map { "node\(number): \($0)" }
                        state.withLock { state in
                            state.asked += 1
                            if let problem { state.failures.append(problem) }
                        }
                        usleep(50_000)
                    }
                    state.withLock { $0.running -= 1 }
                }
            }
        }

        /// Ends it.
        func stop() -> (asked: Int, failures: [String]) {
            state.withLock { $0.isDone = true }
            return state.wait(timeout: .seconds(30)) { $0.running == 0 ? ($0.asked, $0.failures) : nil }
                ?? (0, ["the watchers did not end"])
        }
    }

    /// The certificate is replaced while every node lists and pings; nobody notices.
    private func rotates(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        let old = try bench.clusterFingerprint(on: 1)
        let token = try bench.token("node6", from: 2)
        var pings: [RunningProcess] = []
        for (from, to) in [(1, 2), (2, 3), (3, 4), (4, 5), (5, 1)] {
            let address = cluster.node(to).slice.bridgeAddress.address
            let request = ProcessRequest(["ping", "-q", "-i", "0.02", "-w", "50", "\(address)"])
            pings.append(try RunningProcess(request, in: cluster.node(from).namespace))
        }
        let watcher = Watcher()
        watcher.watch(bench, [1, 2, 3, 4, 5])
        usleep(500_000)
        let output = try cluster.require(on: 3, ["cluster", "rotate"])
        usleep(1_000_000)
        let (asked, failures) = watcher.stop()
        #expect(failures.isEmpty, "\(failures.count) of \(asked): \(failures.prefix(3))")
        #expect(asked >= 25)
        for ping in pings {
            ping.signal(SIGINT)
            let result = try ping.wait()
            #expect(result.output.contains(" 0% packet loss"), "\(result.output)")
        }
        let new = try bench.clusterFingerprint(on: 1)
        #expect(new != old && output.contains(new))
        for number in 1...5 {
            #expect(try bench.clusterFingerprint(on: number) == new)
            let directory = "\(cluster.node(number).stateDirectory)/server"
            let files = try FileManager.default.contentsOfDirectory(atPath: directory)
            #expect(!files.contains { $0.contains("next") || $0.contains("former") }, "\(files)")
        }

        // Members find each other after they start again, with the new certificate alone.
        let leader = try bench.leader()
        let follower = leader == 2 ? 3 : 2
        for number in [follower, leader] {
            try cluster.process(.server, on: number)?.stop()
            try cluster.start(.server, on: number)
            try cluster.waitUntilReady(number)
            try cluster.waitUntilOnline([1, 2, 3, 4, 5], from: number)
        }
        // The token pins the former certificate.
        let late = try bench.join(6, token)
        #expect(late.ending == .exited(1), "\(late.explanation)")
        #expect(late.errorOutput.contains("is not the cluster of the token"), "\(late.errorOutput)")
        let tokens = try bench.local(1, "GET", "/1.0/tokens").document.list("tokens")
        #expect(tokens.filter { $0["name"] == "node6" }.map { $0["state"] } == ["revoked"])
        // A new one works, and the member leaves again.
        let joined = try bench.join(6, bench.token("node6", from: 4))
        #expect(joined.isSuccess, "\(joined.explanation)")
        try cluster.require(on: 6, ["leave", "--yes"])
        try bench.expectNothing(on: 6)
    }

    /// Looks for keys and secrets in everything that a member shows.
    private func nothingShowsSecrets(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        let token = try JoinToken(parsing: bench.token("secretive"))
        var secrets = [token.secret, sha256Hex(Array(token.secret.utf8))]
        for number in 1...5 { secrets += bench.keyLines(of: number) }
        try #require(secrets.count >= 2 + 5 * 4)
        var texts: [String: String] = [:]
        for format in ["table", "json", "yaml", "csv"] {
            for verb in [["list"], ["show", "node1"], ["show", "node2"], ["tokens"]] {
                let arguments = ["--format", format, "cluster"] + verb
                texts[arguments.joined(separator: " ")] = try cluster.require(on: 2, arguments)
            }
        }
        texts["edit"] = try cluster.fanmesh(on: 1, ["cluster", "edit"], input: "offline_after_s: 20\n").output
        let command = cluster.node(1).fanmesh(Programs.fanmesh, ["cluster", "edit"]).joined(separator: " ")
        let edited = try bench.run(on: 1, ["script", "-qec", "EDITOR=cat \(command)", "/dev/null"])
        #expect(edited.output.contains("offline_after_s:"), "\(edited.explanation)")
        texts["edit in an editor"] = edited.output
        for path in [
            "/1.0", "/1.0/cluster", "/1.0/members", "/1.0/members/node1", "/1.0/tokens", "/1.0/local",
            "/1.0/database/dump",
        ] {
            texts[path] = try bench.local(2, "GET", path).document.compactJSONText
        }
        let member = try bench.connect(from: 3, to: 1, as: bench.identity(of: 3))
        texts["state"] = try bench.call(member, "GET", "/1.0/internal/state").document.compactJSONText
        for number in 1...5 { texts["log of \(number)"] = try bench.serverLog(number).joined(separator: "\n") }
        for (what, text) in texts {
            #expect(!text.isEmpty && !text.contains("PRIVATE KEY"), "\(what)")
            let found = secrets.filter { text.contains($0) }
            #expect(found.isEmpty, "\(what) shows secrets")
        }
        // Nobody else may read them where they are kept.
        for number in 1...5 {
            let directory = "\(cluster.node(number).stateDirectory)/server"
            for file in ["node.key", "cluster.key"] {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory)/\(file)")
                #expect((attributes[.posixPermissions] as? Int) == 0o600)
            }
            let attributes = try FileManager.default.attributesOfItem(atPath: directory)
            #expect((attributes[.posixPermissions] as? Int) == 0o700)
        }
        try cluster.require(on: 1, ["cluster", "revoke", "secretive"])
    }

    private func isNotRotatedWhileSomebodyIsOffline(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=2"])
        let before = try bench.clusterFingerprint(on: 1)
        let victim = try bench.leader() == 5 ? 4 : 5
        try cluster.process(.server, on: victim)?.kill()
        try cluster.wait(for: "\(bench.name(victim)) to be OFFLINE") { $0[bench.name(victim)]?.state == .offline }
        let refused = try cluster.fanmesh(on: 1, ["cluster", "rotate"])
        #expect(refused.ending == .exited(1) && refused.errorOutput.contains(bench.name(victim)))
        #expect(try bench.clusterFingerprint(on: 1) == before)
        let kept = try cluster.fanmesh(on: 1, ["cluster", "remove", bench.name(victim)])
        #expect(kept.ending == .exited(1) && kept.errorOutput.contains("--force"), "\(kept.errorOutput)")
        try cluster.start(.server, on: victim)
        try cluster.waitUntilReady(victim)
        try cluster.waitUntilOnline([1, 2, 3, 4, 5], from: victim)
    }

    /// A member that is up cleans itself up when it is removed; one that is dead is removed by force.
    private func removed(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        let leader = try bench.leader()
        let others = (1...5).filter { $0 != leader }
        let (online, dead) = (others[0], others[1])
        let identity = try bench.identity(of: online)
        let removal = try cluster.require(on: others[2], ["cluster", "remove", bench.name(online)])
        #expect(removal.contains("cluster rotate"), "\(removal)")
        try bench.expectNothing(on: online)
        for number in [leader, others[2]] {
            let connection = try bench.connect(from: online, to: number, as: identity)
            #expect(try bench.call(connection, "GET", "/1.0/members").status == 403)
        }

        let deadIdentity = try bench.identity(of: dead)
        try cluster.process(.server, on: dead)?.kill()
        try cluster.wait(for: "\(bench.name(dead)) to be OFFLINE", from: leader) {
            $0[bench.name(dead)]?.state == .offline
        }
        try cluster.require(on: others[3], ["cluster", "remove", bench.name(dead), "--force", "--yes"])
        #expect(try cluster.list(from: leader).members.count == 3)
        try bench.expectRoles(3, 0, 0, from: leader)
        // It comes back, and nobody has it.
        try cluster.start(.server, on: dead)
        try cluster.waitUntilReady(dead)
        let connection = try bench.connect(from: dead, to: leader, as: deadIdentity)
        #expect(try bench.call(connection, "GET", "/1.0/members").status == 403)
        #expect(try cluster.list(from: leader).members.count == 3)
        try cluster.require(on: dead, ["leave", "--force", "--yes"])
        try bench.expectNothing(on: dead)
    }

    /// A follower leaves, then the leader is removed from elsewhere, then of two the one that votes leaves, then the last.
    private func leaveOneByOne(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        var left = try cluster.list(from: bench.leaderAnywhere()).members
            .compactMap { status in (1...5).first { bench.name($0) == status.name } }.sorted()
        try #require(left.count == 3)
        // Back to four, so that a follower can leave before the leader does.
        let spare = try #require((1...5).first { !left.contains($0) })
        let back = try bench.join(spare, bench.token(bench.name(spare), from: left[0]))
        #expect(back.isSuccess, "\(back.explanation)")
        left.append(spare)
        try cluster.waitUntilOnline(left, from: left[0])
        while let any = left.first {
            let leader = try bench.leader(from: any)
            let leaving = left.count == 4 ? try #require(left.first { $0 != leader }) : leader
            if left.count == 3, let other = left.first(where: { $0 != leader }) {
                let output = try cluster.require(on: other, ["cluster", "remove", bench.name(leaving)])
                #expect(output.contains("no member any more"), "\(output)")
            } else {
                let output = try cluster.require(on: leaving, ["leave", "--yes"])
                if left.count > 1, leaving == leader { #expect(output.contains("leads the database"), "\(output)") }
            }
            try bench.expectNothing(on: leaving)
            left.removeAll { $0 == leaving }
            let names = left.map { bench.name($0) }
            for number in left {
                try cluster.wait(for: "\(names) without \(bench.name(leaving))", from: number) { list in
                    !list.isStale && Set(list.members.map(\.name)) == Set(names)
                }
            }
            if let rest = left.first {
                // It still takes changes.
                try cluster.require(on: rest, ["cluster", "edit", "token_expiry_s=\(3600 + left.count)"])
                try cluster.waitUntilOnline(left, from: rest)
            }
        }
        let again = try cluster.fanmesh(on: 1, ["leave", "--yes"])
        #expect(again.isSuccess && again.output.contains("in no cluster"), "\(again.explanation)")
    }

    /// A token outlives the node that made it, which led the database.
    @Test(.timeLimit(.minutes(2))) func tokensSurviveTheirIssuer() throws {
        try FormationBench.run("issuer", nodes: 4, members: 3) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline([1, 2, 3])
            let leader = try bench.leader()
            let token = try bench.token("node4", from: leader)
            try cluster.process(.server, on: leader)?.kill()
            let joined = try bench.join(4, token)
            #expect(joined.isSuccess, "\(joined.explanation)")
            let list = try cluster.wait(for: "node4", from: 4) { $0["node4"]?.state == .online }
            #expect(list.members.count == 4)
        }
    }
}
