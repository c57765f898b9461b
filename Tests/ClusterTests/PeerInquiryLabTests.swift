import FanCore
import FanLab
import TestSupport
import Testing

/// Two real agents between which the overlay is cut on one side: each says what the other one sees.
@Suite(.serialized, .enabled(if: isRoot)) struct PeerInquiryLabTests {
    /// What a node's agent says about the other one.
    private func finding(_ bench: FormationBench, on number: Int) throws -> String {
        let report = try bench.local(number, "GET", "/1.0/members/node\(number)").document["report"]
        return try report.list("peers").first?.text("diagnosis") ?? ""
    }

    private func expect(_ bench: FormationBench, on number: Int, _ isWanted: (String) -> Bool) throws {
        var last = ""
        let isThere = try eventually(within: .seconds(60)) {
            last = try finding(bench, on: number)
            return isWanted(last)
        }
        #expect(isThere, "node\(number): \(last)")
    }

    @Test(.timeLimit(.minutes(4))) func aSilentPeerIsAskedForItsSide() throws {
        try FormationBench.run("ask", nodes: 2) { bench in
            try bench.cluster.waitUntilOnline()
            let one = bench.address(1).address
            let bridge = bench.cluster.node(1).slice.bridgeAddress.address
            for (rule, isWanted) in [
                // Packets pass one way, echoes pass neither.
                (
                    "ip saddr \(one) udp dport 8472 drop",
                    [1: "; node2 does not reach this node either", 2: "; node1 does not reach this node either"]
                ),
                // What node1 begins is dropped at node2, what node2 begins is not.
                (
                    "ip saddr \(bridge) icmp type echo-request drop",
                    [1: "; node2 reaches this node, so packets pass both ways: what begins here is probably filtered"]
                ),
            ] {
                let rules = "add table inet wall; add chain inet wall in { type filter hook input priority 0 ; }; "
                try bench.require(on: 2, "nft", rules + "add rule inet wall in \(rule)")
                for (number, text) in isWanted { try expect(bench, on: number) { $0.hasSuffix(text) } }
                if isWanted[2] == nil { #expect(try finding(bench, on: 2) == "") }
                try bench.require(on: 2, "nft", "delete table inet wall")
                for number in 1...2 { try expect(bench, on: number) { $0.isEmpty } }
            }
        }
    }
}
