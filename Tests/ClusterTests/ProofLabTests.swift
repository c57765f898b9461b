import FanCore
import FanLab
import Foundation
import TestSupport
import Testing

/// Faults between real members: `check` names the place from both ends, and doing what it says mends it.
@Suite(.serialized, .enabled(if: isRoot)) struct ProofLabTests {
    private struct Peer: Decodable {
        struct Leg: Decodable {
            var node: String
            var device: String?
            var direction: String
            var small: Int
        }

        struct Legs: Decodable {
            var there: [Leg]
            var back: [Leg]
        }

        var code: String
        var layers: [String: String]
        var diagnosis: String
        var remedy: String
        var legs: Legs?
    }

    private struct Checked: Decodable {
        var verdict: String
        var peers: [Peer]
    }

    private static func check(_ bench: FormationBench) throws -> (verdict: String, peer: Peer) {
        let node = bench.cluster.node(1)
        // What ARP learned before the fault would answer for a while.
        _ = try node.namespace.run("ip", "neigh", "flush", "dev", "fan0")
        let result = try node.namespace.run(
            ProcessRequest(node.fanmesh(Programs.fanmesh, ["check", "--format", "json", "node2"]))
        )
        let checked = try JSONDecoder().decode(Checked.self, from: Data(result.output.utf8))
        return (checked.verdict, try #require(checked.peers.first, "\(result)"))
    }

    private static func expectHealthy(_ bench: FormationBench, after fault: String) throws {
        var last = ""
        let isHealthy = try eventually(within: .seconds(20)) {
            let found = try check(bench)
            last = "\(found)"
            return found.verdict == "healthy" && found.peer.legs == nil
        }
        #expect(isHealthy, "after '\(fault)': \(last)")
    }

    private struct Traced: Decodable {
        var address: String
        var host: String
        var member: String?
        var slice: String
        var verdict: String
        var peer: Peer
    }

    private static func trace(_ bench: FormationBench, _ word: String) throws -> (ProcessResult, Traced) {
        let node = bench.cluster.node(1)
        let words = node.fanmesh(Programs.fanmesh, ["trace", "--format", "json", word])
        let result = try node.namespace.run(ProcessRequest(words))
        return (result, try JSONDecoder().decode(Traced.self, from: Data(result.output.utf8)))
    }

    @Test(.timeLimit(.minutes(3))) func aTraceNamesTheHostAndEachPlace() throws {
        try FormationBench.run("trace", nodes: 2) { bench in
            try bench.cluster.waitUntilOnline()
            let node = bench.cluster.node(2)
            let bridge = "\(node.slice.bridgeAddress.address)"
            for word in ["node2", "\(node.address)", bridge] {
                let (result, traced) = try Self.trace(bench, word)
                #expect(result.isSuccess && traced.verdict == "healthy" && traced.member == "node2", "\(result)")
                #expect(traced.address == bridge && traced.host == "\(node.address)")
                #expect(traced.slice == "\(node.slice.prefix)" && traced.peer.code == "reachable")
                let legs = try #require(traced.peer.legs)
                #expect((legs.there + legs.back).map(\.small) == Array(repeating: 10, count: 14), "\(legs)")
                #expect(
                    legs.there.map { $0.device ?? "-" } == [
                        "-", "bridge", "vxlan", "underlay", "underlay", "vxlan", "bridge",
                    ]
                )
                #expect(legs.there.map(\.direction) == ["out", "out", "out", "out", "in", "in", "in"])
            }
            // A port that was taken out of the bridge is put back by the agent; rules of the bridge family are not.
            let node1 = bench.cluster.node(1)
            func ping(_ words: String...) -> ProcessRequest {
                ProcessRequest(node1.fanmesh(Programs.fanmesh, ["ping", "node2", "--timeout", "500ms"] + words))
            }
            let pinged = try node1.namespace.run(ping("--count", "3"))
            #expect(
                pinged.isSuccess && pinged.output.split(separator: "\n").count == 1,
                "one answer is enough: \(pinged)"
            )
            #expect(pinged.output.contains("underlay ok, vxlan ok, mtu ok: reachable"), "\(pinged)")
            let rules = "table bridge other { chain f { type filter hook output priority 0; oifname fan0-vx drop; }; }"
            try bench.require(on: 1, "nft", rules)
            let (result, traced) = try Self.trace(bench, "node2")
            #expect(result.ending == .exited(1) && traced.peer.code == "own-bridge-drops", "\(result)")
            #expect(traced.peer.legs?.there.map(\.small) == [10, 10, 0, 0, 0, 0, 0])
            try bench.require(on: 1, "ip", "neigh", "flush", "dev", "fan0")
            let silent = try node1.namespace.run(ping("--count", "2"))
            #expect(silent.ending == .exited(1) && silent.output.split(separator: "\n").count == 2, "\(silent)")
            // Without a count until it works.
            let waiting = try RunningProcess(ping(), in: node1.namespace)
            usleep(1_500_000)
            try bench.require(on: 1, "nft", "delete table bridge other")
            let answered = try waiting.wait()
            #expect(answered.isSuccess && answered.output.contains("reachable"), "\(answered)")
            let odd = try node1.namespace.run(ping("--count", "0"))
            #expect(
                odd.ending == .exited(2) && odd.errorOutput.contains("--count: '0' is not a number from 1"),
                "\(odd)"
            )
            let refused = try bench.run(on: 1, bench.cluster.node(1).fanmesh(Programs.fanmesh, ["trace", "192.0.2.1"]))
            #expect(
                refused.ending == .exited(2) && refused.errorOutput.contains("is in neither underlay"),
                "\(refused)"
            )
        }
    }

    /// Rules of a host's own, where they stand, and the words with which they are told.
    private static let filters: [(number: Int, rules: String, code: String, told: String)] = [
        (
            2, "chain in { type filter hook input priority 0; udp dport 8472 drop; }", "peer-firewall",
            "node2 drops UDP 8472 itself: 10 reached node2, 0 passed into its overlay; as it seems by inet guard in, the rule"
        ),
        (
            2, "chain out { type filter hook output priority 0; udp dport 8472 reject; }", "peer-firewall",
            "node2 drops UDP 8472 itself: 10 were sent by node2's overlay, 0 left the host; as it seems by inet guard out, "
        ),
        (
            1, "chain out { type filter hook output priority 0; udp dport 8472 drop; }", "own-firewall",
            "this host drops UDP 8472 itself: 10 were sent by node1's overlay, 0 left the host; as it seems by inet guard out"
        ),
        (
            1,
            "chain in { type filter hook input priority 0; policy drop; iif lo accept; meta l4proto icmp accept; "
                + "meta l4proto tcp accept; }", "own-firewall",
            "this host drops UDP 8472 itself: 10 reached node1, 0 passed into its overlay; as it seems by inet guard in, its"
        ),
    ]

    @Test(.timeLimit(.minutes(4))) func aHostsOwnFilterIsNamedAndMended() throws {
        try FormationBench.run("prove", nodes: 2) { bench in
            try bench.cluster.waitUntilOnline()
            try Self.expectHealthy(bench, after: "the start")
            for filter in Self.filters {
                try bench.require(on: filter.number, "nft", "table inet guard { \(filter.rules); }")
                let (verdict, peer) = try Self.check(bench)
                #expect(verdict == "error" && peer.code == filter.code, "\(filter.rules): \(peer)")
                #expect(peer.diagnosis.hasPrefix(filter.told), "\(filter.rules): \(peer.diagnosis)")
                // Where it is told to do it, doing it mends it.
                let prefix = filter.number == 1 ? "run: " : "on node2 run: "
                #expect(peer.remedy.hasPrefix(prefix), "\(peer.remedy)")
                try bench.require(on: filter.number, "sh", "-c", String(peer.remedy.dropFirst(prefix.count)))
                try Self.expectHealthy(bench, after: filter.rules)
                try bench.require(on: filter.number, "nft", "delete table inet guard")
            }
        }
    }

    @Test(.timeLimit(.minutes(4))) func aBlockedWayIsNamedWithItsDirection() throws {
        try FormationBench.run("wire", nodes: 2) { bench in
            try bench.cluster.waitUntilOnline()
            let hub = bench.cluster.lab.plan.switchNamespace
            let (one, two) = (bench.address(1).address, bench.address(2).address)
            func block(_ rule: String, _ body: (String, Peer) throws -> Void) throws {
                let chain = "chain f { type filter hook forward priority 0; \(rule); }"
                let result = try hub.run(ProcessRequest(["nft", "table bridge wire { \(chain); }"]))
                try #require(result.isSuccess, "\(result.explanation)")
                let (verdict, peer) = try Self.check(bench)
                try body(verdict, peer)
                _ = try hub.run("nft", "delete", "table", "bridge", "wire")
                try Self.expectHealthy(bench, after: rule)
            }
            try block("ip saddr \(one) udp dport 8472 drop") { _, peer in
                #expect(
                    peer.diagnosis
                        == "UDP 8472 from \(one) to \(two) is blocked between the hosts: 10 left node1, 0 reached "
                        + "node2, 10 left node2, 10 reached node1"
                )
                #expect(
                    peer.code == "vxlan-blocked" && peer.remedy.contains("the security group of node2 for UDP 8472")
                )
                let legs = try #require(peer.legs)
                #expect(legs.there.map(\.small) == [10, 10, 10, 10, 0, 0, 0])
                #expect(legs.back.map(\.small) == [10, 10, 10, 10, 10, 10, 10])
                #expect(
                    legs.there.map(\.node) == Array(repeating: "node1", count: 4) + Array(repeating: "node2", count: 3)
                )
            }
            try block("ip daddr \(one) udp dport 8472 drop") { _, peer in
                #expect(
                    peer.diagnosis.hasPrefix("UDP 8472 from \(two) to \(one) is blocked between the hosts: "),
                    "\(peer)"
                )
                #expect(peer.remedy.contains("the security group of node1 for UDP 8472"), "\(peer)")
            }
            try block("udp dport 8472 drop") { _, peer in
                let ways = "UDP 8472 between \(one) and \(two) is blocked in both directions between the hosts: "
                #expect(peer.code == "vxlan-blocked" && peer.diagnosis.hasPrefix(ways), "\(peer)")
            }
            // Only what is large, and one way: one end cannot tell which.
            try block("ip saddr \(two) ip length > 1400 udp dport 8472 drop") { _, peer in
                #expect(peer.code == "path-mtu", "\(peer)")
                #expect(
                    peer.diagnosis.contains("packets of 1450 bytes are lost from node2 to node1: 3 left node2"),
                    "\(peer)"
                )
                #expect(peer.remedy.contains("fanmesh cluster edit mtu="), "\(peer)")
            }
        }
    }

    @Test(.timeLimit(.minutes(3))) func pingsAreFilteredAndTheOverlayIsWell() throws {
        try FormationBench.run("quiet", nodes: 2) { bench in
            try bench.cluster.waitUntilOnline()
            try bench.require(on: 2, "sysctl", "-q", "-w", "net.ipv4.icmp_echo_ignore_all=1")
            let (verdict, peer) = try Self.check(bench)
            #expect(verdict == "warning" && peer.code == "ping-filtered", "\(peer)")
            #expect(peer.diagnosis.contains("packets of the overlay pass both ways: 10 of 10 there, 10 of 10 back"))
            #expect(peer.diagnosis.contains("filtered on node2; harmless") && peer.layers["vxlan"] == "ok", "\(peer)")
            try bench.require(on: 2, "sysctl", "-q", "-w", "net.ipv4.icmp_echo_ignore_all=0")
            try Self.expectHealthy(bench, after: "pings are ignored")

            // Without the other agent this end says what it knows, and no more.
            let agent = try #require(bench.cluster.process(.agent, on: 2))
            #expect(kill(agent.id, SIGSTOP) == 0)
            defer { kill(agent.id, SIGCONT) }
            try Self.expectHealthy(bench, after: "the agent of node2 is stopped")
            try bench.require(
                on: 2,
                "nft",
                "table inet guard { chain in { type filter hook input priority 0; udp dport 8472 drop; }; }"
            )
            let blocked = try Self.check(bench).peer
            #expect(blocked.code == "vxlan-blocked", "\(blocked)")
            #expect(
                blocked.diagnosis.contains(
                    "10 left this host on UDP 8472, and the agent of node2 does not say what it sees"
                )
            )
        }
    }
}
