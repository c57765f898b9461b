import FanCore
import FanLab
import FanLink
import Foundation
import TestSupport
import Testing

/// Packet filter rules of other programs beside a member's overlay.
@Suite(.serialized, .enabled(if: isRoot))
struct CoexistenceTests {
    /// Rules that drop guests' packets, and what the finding about them proposes.
    struct Rules: Sendable, CustomTestStringConvertible {
        var name: String
        var text: String
        var remedy: String
        /// The same as the remedy, for `nft`; nil where the remedy is that.
        var equivalent: String?

        var testDescription: String { name }
    }

    static let rules = [
        Rules(
            name: "docker",
            text: """
                table ip filter {
                    chain DOCKER-USER { counter return; }
                    chain FORWARD {
                        type filter hook forward priority filter; policy drop;
                        counter jump DOCKER-USER
                        oifname "docker0" ct state established,related counter accept
                        iifname "docker0" oifname != "docker0" counter accept
                    }
                }
                """,
            remedy: "iptables -I DOCKER-USER -i fan0 -o fan0 -j ACCEPT",
            equivalent: "nft insert rule ip filter DOCKER-USER iifname fan0 oifname fan0 counter accept"
        ),
        Rules(
            name: "plain",
            text: """
                table inet guard {
                    chain ahead {
                        type filter hook forward priority filter; policy accept;
                        ct state established accept
                        counter log reject with icmpx admin-prohibited
                    }
                }
                """,
            remedy: "nft insert rule inet guard ahead iifname fan0 oifname fan0 accept"
        ),
    ]

    @Test(.timeLimit(.minutes(2)), arguments: rules) func rulesThatDropGuestsAreNamedWithTheirRemedy(
        _ rules: Rules
    ) throws {
        try FormationBench.run("fwd-\(rules.name)", nodes: 2, guests: 2) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            try cluster.lab.makeGuests()
            let node = cluster.node(1)
            let guest = node.guests[0]
            func reaches(_ other: LabGuest) throws -> Bool {
                let ping = ["ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", "\(other.address.address)"]
                return try guest.namespace.run(ProcessRequest(ping)).isSuccess
            }
            #expect(try reaches(cluster.node(2).guests[0]))
            try Self.require(["nft", rules.text], on: node)
            #expect(try !reaches(cluster.node(2).guests[1]) && !reaches(node.guests[1]))
            func warnings() throws -> [Finding] { try cluster.report(of: 1)?.warnings ?? [] }
            let isNamed = try eventually { try warnings().contains { $0.code == "forward-dropped" } }
            let seen = try warnings()
            try #require(isNamed, "\(seen)")
            let finding = try #require(seen.first { $0.code == "forward-dropped" })
            #expect(finding.remedy == "run: \(rules.remedy)" && finding.severity == .error)
            let status = try cluster.fanmesh(on: 1, ["status"])
            #expect(status.ending == .exited(1) && status.output.contains(rules.remedy), "\(status)")
            let command = rules.equivalent ?? rules.remedy
            try Self.require(command.split(separator: " ").map(String.init), on: node)
            #expect(try reaches(cluster.node(2).guests[1]) && reaches(node.guests[1]))
            #expect(try cluster.fanmesh(on: 1, ["status"]).output.contains("forward-dropped") == false)
        }
    }

    private static func require(_ command: [String], on node: LabNode) throws {
        let result = try node.namespace.run(ProcessRequest(command))
        try #require(result.isSuccess, "\(command.joined(separator: " ")): \(result.explanation)")
    }
}
