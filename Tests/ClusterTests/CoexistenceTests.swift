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

    /// A sysctl of others that stops guests, what makes it do so, and what the finding about it proposes.
    struct Setting: Sendable, CustomTestStringConvertible {
        var code: String
        var preparation: [String] = []
        var damage: [String]
        var remedy: String

        var testDescription: String { code }
    }

    static let settings = [
        Setting(
            code: "arp-ignored",
            damage: ["sysctl -qw net.ipv4.conf.all.arp_ignore=8"],
            remedy: "sysctl -w net.ipv4.conf.all.arp_ignore=1"
        ),
        // A second card on the underlay, by which packets to the peer leave, and none come.
        Setting(
            code: "reverse-path",
            preparation: [
                "ip link add name eth1 link eth0 type macvlan", "sysctl -qw net.ipv4.conf.eth1.arp_ignore=1",
                "ip link set eth1 up", "ip neigh replace PEER lladdr MAC dev eth1 nud permanent",
                "ip route add PEER/32 dev eth1 src OWN",
            ],
            damage: ["sysctl -qw net.ipv4.conf.eth0.rp_filter=1"],
            remedy: "sysctl -w net.ipv4.conf.eth0.rp_filter=2"
        ),
    ]

    @Test(.timeLimit(.minutes(2)), arguments: settings) func settingsThatStopGuestsAreNamedWithTheirRemedy(
        _ setting: Setting
    ) throws {
        try FormationBench.run("set-\(setting.code.prefix(3))", nodes: 2, guests: 1) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            try cluster.lab.makeGuests()
            let (node, peer) = (cluster.node(1), cluster.node(2))
            let mac = try peer.namespace.run {
                var socket = try RouteSocket()
                return try socket.link(named: "eth0")?.mac
            }
            func run(_ commands: [String]) throws {
                for command in commands {
                    let words = command.split(separator: " ").map { word in
                        word.replacing("PEER", with: "\(peer.address)").replacing("OWN", with: "\(node.address)")
                            .replacing("MAC", with: mac.map { "\($0)" } ?? "")
                    }
                    try Self.require(words.map { String($0) }, on: node)
                }
            }
            func reaches() throws -> Bool {
                // What the others know of this host is old by then.
                try Self.require(["ip", "neigh", "flush", "dev", "eth0"], on: peer)
                let ping = ["ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", "\(node.guests[0].address.address)"]
                return try peer.guests[0].namespace.run(ProcessRequest(ping)).isSuccess
            }
            func warnings() throws -> [Finding] { try cluster.report(of: 1)?.warnings ?? [] }
            try run(setting.preparation)
            #expect(try reaches() && !warnings().contains { $0.code == setting.code })
            try run(setting.damage)
            #expect(try !reaches())
            let status = try cluster.fanmesh(on: 1, ["status"])
            #expect(status.ending == .exited(1) && status.output.contains(setting.remedy), "\(status)")
            let check = try cluster.fanmesh(on: 1, ["check"])
            #expect(check.ending == .exited(1) && check.output.contains(setting.remedy), "\(check)")
            // The agent finds it by itself; the report gets out by the way that is left, or once that is mended.
            try run([setting.remedy])
            #expect(try eventually { try reaches() })
            // What the kernel does not announce the agent sees at its next look.
            let isGone = try eventually { try !cluster.fanmesh(on: 1, ["status"]).output.contains(setting.code) }
            #expect(isGone)
            let log = cluster.logs(of: 1)
            #expect(try eventually { try !warnings().contains { $0.code == setting.code } }, "\(log)")
        }
    }

    private static func require(_ command: [String], on node: LabNode) throws {
        let result = try node.namespace.run(ProcessRequest(command))
        try #require(result.isSuccess, "\(command.joined(separator: " ")): \(result.explanation)")
    }
}
