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

/// What members report, and what the others make of it.
@Suite(.serialized, .enabled(if: isRoot)) struct MemberReportTests {
    @Test(.timeLimit(.minutes(3))) func reportsArriveAndContradictionsShow() throws {
        try FormationBench.run("report", nodes: 3) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=2"])
            try changesShow(bench)
            try contradictionsShow(bench)
            try silenceShows(bench)
            try otherSchemasBlock(bench)
        }
    }

    private func report(_ bench: FormationBench, of name: String, from number: Int) throws -> Document {
        try bench.local(number, "GET", "/1.0/members/\(name)").document["report"]
    }

    private func changesShow(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        for (underlay, overlay) in [(1400, 1350), (1500, 1450)] {
            try bench.require(on: 2, "ip", "link", "set", "eth0", "mtu", "\(underlay)")
            let isShown = try eventually(within: .seconds(3)) {
                try report(bench, of: "node2", from: 3)["mtu"] == .number(overlay)
            }
            #expect(isShown, "the mtu \(overlay) of node2 is not shown on node3")
            #expect(try cluster.require(on: 1, ["cluster", "show", "node2"]).contains("\(overlay)"))
        }
        for damage in [["ip", "link", "set", "fan0", "mtu", "1300"], ["ip", "link", "del", "fan0-vx"]] {
            #expect(try bench.run(on: 2, damage).isSuccess)
            let isMended = try eventually(within: .seconds(5)) {
                let links = try bench.run(on: 2, ["ip", "-o", "link"]).output
                return links.contains("fan0-vx") && links.contains("mtu 1450") && !links.contains("mtu 1300")
            }
            #expect(isMended, "not mended after \(damage)")
            let isWhole = try eventually(within: .seconds(3)) {
                let report = try report(bench, of: "node2", from: 1)
                return report["mtu"] == 1450 && report["verdict"] != "error"
            }
            #expect(isWhole)
        }
    }

    private func contradictionsShow(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        func warnings(from number: Int) throws -> [Document] {
            try bench.local(number, "GET", "/1.0/members").document.list("warnings")
        }
        let isQuiet = try eventually(within: .seconds(10)) { try warnings(from: 1).isEmpty }
        #expect(isQuiet)
        cluster.process(.agent, on: 2)?.pause()
        let own = try report(bench, of: "node2", from: 1)
        let other = try report(bench, of: "node3", from: 1)
        let cases: [(code: String, changes: [String: Document], names: [String])] = [
            ("address-conflict", ["underlay_address": other["underlay_address"]], ["node2", "node3"]),
            ("slice-conflict", ["slice": other["slice"]], ["node2", "node3"]),
            ("map-conflict", ["overlay": "242.0.0.0/8"], ["node2", "node1"]),
        ]
        let path = "/1.0/members/node2/report"
        for (code, changes, names) in cases {
            // A member reports on itself alone, through its own server.
            let receipt = try bench.local(2, "PUT", path, own.replacing(changes))
            #expect(receipt.document["stored"] == true, "\(code)")
            for number in 1...3 {
                let found = try warnings(from: number).first { $0["code"] == .string(code) }
                let message = found?["message"].compactJSONText ?? ""
                #expect(names.allSatisfy { message.contains($0) }, "\(code) from node\(number): \(message)")
            }
            let listed = try cluster.fanmesh(on: 3, ["cluster", "list"])
            #expect(listed.ending == .exited(1), "\(code): \(listed.explanation)")
            #expect(names.allSatisfy { listed.output.contains($0) })
        }
        try bench.local(2, "PUT", path, own)
        #expect(try warnings(from: 1).isEmpty)
        cluster.process(.agent, on: 2)?.resume()
        let leader = try bench.leader()
        #expect(try bench.local(leader, "PUT", "/1.0/members/nobody/report", own).status == 404)
        let bystander = leader == 3 ? 1 : 3
        #expect(try bench.local(bystander, "PUT", path, own).status == 403)
    }

    /// A server that dies is OFFLINE after the two seconds that were asked for, and back as soon as it is heard.
    private func silenceShows(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        let leader = try bench.leader()
        let victim = leader == 3 ? 2 : 3
        try cluster.process(.server, on: victim)?.kill()
        let killed = ContinuousClock.now
        try cluster.wait(for: "\(bench.name(victim)) to be OFFLINE", from: leader, atMost: .seconds(6)) {
            $0[bench.name(victim)]?.state == .offline
        }
        let silent = killed.duration(to: .now)
        #expect(silent > .seconds(1) && silent < .seconds(5), "OFFLINE after \(silent)")
        try cluster.start(.server, on: victim)
        try cluster.waitUntilReady(victim)
        let ready = ContinuousClock.now
        try cluster.wait(for: "\(bench.name(victim)) to be ONLINE", from: leader, atMost: .seconds(6)) {
            $0[bench.name(victim)]?.state == .online
        }
        #expect(ready.duration(to: .now) < .seconds(3), "ONLINE after \(ready.duration(to: .now))")
        try cluster.waitUntilOnline(from: victim)
    }

    /// A member with another version of the schema blocks changes, and nothing else.
    private func otherSchemasBlock(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        let leader = try bench.leader()
        let odd = leader == 3 ? 2 : 3
        let rest = 6 - leader - odd
        let identity = try bench.identity(of: odd)
        let config = try bench.local(leader, "GET", "/1.0/cluster").document["config"]
        try cluster.process(.server, on: odd)?.kill()
        let member = try MemberStatus(bench.local(leader, "GET", "/1.0/members/\(bench.name(odd))").document).member
        // What its server would say after an update.
        let connection = try bench.connect(from: odd, to: leader, as: identity)
        func beat(schema: Int) throws -> APIAnswer {
            let generation = try bench.local(leader, "GET", "/1.0/local").document["generation"]
            return try bench.call(
                connection,
                "POST",
                "/1.0/internal/heartbeat",
                [
                    "name": .string(member.name), "cluster_id": config["cluster_id"], "generation": generation,
                    "incarnation": .number(member.incarnation), "version": "99.0", "schema_version": .number(schema),
                    "clock_ms": .number(Int64(Date().timeIntervalSince1970 * 1000)), "wait_ms": 0, "agent": true,
                    "joining": false, "run": .string(String(repeating: "e", count: 32)), "beats": 0,
                    "former_beats": 1_000_000,
                ]
            )
        }
        let newer = member.schema + 1
        let heard = try beat(schema: newer)
        #expect(heard.status == 200, "\(heard)")
        let list = try cluster.wait(for: "\(member.name) to be BLOCKED", from: rest) {
            $0[member.name]?.state == .blocked
        }
        let message = try #require(list[member.name]).message
        #expect(message.contains("schema \(newer)") && message.contains(bench.name(leader)), "\(message)")
        let listed = try cluster.fanmesh(on: rest, ["cluster", "list"])
        #expect(listed.ending == .exited(1) && listed.output.contains("BLOCKED"), "\(listed.explanation)")

        for (verb, arguments) in [
            ("edit", ["edit", "voters=5"]), ("add", ["add", "node9"]), ("role", ["role", bench.name(rest), "voter"]),
        ] {
            _ = try beat(schema: newer)
            let refused = try cluster.fanmesh(on: rest, ["cluster"] + arguments)
            #expect(refused.ending == .exited(1), "\(verb): \(refused.explanation)")
            let names = [bench.name(leader), member.name, "BLOCKED"]
            #expect(names.allSatisfy { refused.errorOutput.contains($0) }, "\(verb): \(refused.errorOutput)")
        }
        _ = try beat(schema: newer)
        let edit = try bench.local(leader, "PATCH", "/1.0/cluster", ["voters": 5])
        #expect(edit.code == "blocked" && edit.status == 409)
        #expect(try bench.local(leader, "GET", "/1.0/cluster").document["config"] == config)

        // Forwarding goes on, and is still mended.
        #expect(try cluster.lab.check().isSuccess)
        try bench.require(on: rest, "ip", "link", "del", "fan0-vx")
        let isMended = try eventually(within: .seconds(10)) { try cluster.lab.check().isSuccess }
        #expect(isMended)

        // Its server returns as it was, and all agree again.
        connection.close()
        try cluster.start(.server, on: odd)
        try cluster.waitUntilReady(odd)
        try cluster.waitUntilOnline(from: rest)
        try cluster.require(on: rest, ["cluster", "edit", "token_expiry_s=7200"])
    }
}
