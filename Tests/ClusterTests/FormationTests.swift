import FanCore
import FanHTTP
import FanLab
import FanStore
import FanTLS
import Foundation
import TestSupport
import Testing

/// Clusters that form by tokens, with the real daemons on hosts of their own.
@Suite(.serialized, .enabled(if: isRoot)) struct FormationTests {
    /// How many members there are, and what they do for the database.
    struct Size: CustomTestStringConvertible {
        var members: Int
        var voters: Int
        var standbys: Int
        var spares: Int
        var tolerance: String

        var testDescription: String { "\(members)" }
    }

    static let sizes = [
        Size(members: 1, voters: 1, standbys: 0, spares: 0, tolerance: "0 of 1 may fail"),
        Size(members: 2, voters: 1, standbys: 0, spares: 1, tolerance: "1 of 2 may fail: the other one"),
        Size(members: 3, voters: 3, standbys: 0, spares: 0, tolerance: "1 of 3 may fail"),
        Size(members: 7, voters: 3, standbys: 2, spares: 2, tolerance: "1 of 7 may fail"),
    ]

    @Test(.timeLimit(.minutes(2)), arguments: sizes) func membersFormByTokens(_ size: Size) throws {
        try FormationBench.run("size-\(size.members)", nodes: size.members, guests: 1) { bench in
            let cluster = bench.cluster
            for number in 1...size.members { try cluster.waitUntilOnline(from: number) }
            try bench.expectRoles(size.voters, size.standbys, size.spares)
            let names = (1...size.members).map { bench.name($0) }
            for number in 1...size.members {
                #expect(try cluster.list(from: number).members.map(\.name).sorted() == names)
            }
            let listed = try cluster.require(on: size.members, ["cluster", "list"])
            #expect(listed.contains(size.tolerance), "\(listed)")
            #expect(names.allSatisfy { listed.contains($0) })
            try cluster.lab.makeGuests()
            let check = try cluster.lab.check()
            #expect(check.isSuccess, "\(check.failures.first?.failure ?? "")")
        }
    }

    /// A voter that dies is replaced from its own failure domain, although another member would be next in line.
    @Test(.timeLimit(.minutes(2))) func rolesAreSpreadOverFailureDomains() throws {
        try FormationBench.run("domains", nodes: 5, members: 1, guests: 1) { bench in
            let cluster = bench.cluster
            for (number, domain) in [(2, "rack1"), (3, "rack2"), (4, "rack1"), (5, "rack2")] {
                let result = try bench.join(number, bench.token(bench.name(number)), "--failure-domain", domain)
                #expect(result.isSuccess, "\(result.explanation)")
            }
            try cluster.waitUntilOnline()
            try bench.expectRoles(3, 2, 0)
            func voters() throws -> [String] {
                try cluster.list(from: 1).members.filter { $0.role == .voter }.map(\.name).sorted()
            }
            #expect(try voters() == ["node1", "node2", "node3"])
            #expect(try bench.local(2, "GET", "/1.0/members/node3").document["failure_domain"] == "rack2")
            try cluster.lab.makeGuests()
            #expect(try cluster.lab.check().isSuccess)
            try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=2"])
            try cluster.process(.server, on: 3)?.kill()
            try cluster.wait(for: "node5 to vote in the place of node3") { list in
                list["node5"]?.role == .voter && list["node3"]?.role == .spare
            }
            #expect(try voters() == ["node1", "node2", "node5"])
            #expect(try cluster.lab.check().isSuccess)
        }
    }

    /// Twenty nodes race for one token; then the losers find out what else a token can be.
    @Test(.timeLimit(.minutes(3))) func oneOfTwentyJoinersWins() throws {
        try FormationBench.run("race", nodes: 21, members: 1) { bench in
            let cluster = bench.cluster
            let token = try bench.token("winner")
            let joiners = Array(2...21)
            let jobs = joiners.map { number in
                let node = cluster.node(number)
                let arguments = ["join", "-", "--address", "\(node.address)"]
                let request = ProcessRequest(
                    node.fanmesh(Programs.fanmesh, arguments),
                    input: Array(token.utf8),
                    timeout: .seconds(90)
                )
                return ProcessBatch.Job(request, in: node.namespace)
            }
            let results = try ProcessBatch.run(jobs, width: jobs.count)
            let winners = zip(joiners, results).filter { $0.1.isSuccess }.map(\.0)
            #expect(winners.count == 1)
            let winner = try #require(winners.first)
            for (number, result) in zip(joiners, results) where number != winner {
                #expect(result.ending == .exited(1), "\(result.explanation)")
                #expect(result.errorOutput.contains("already used"), "\(result.errorOutput)")
                try bench.expectNothing(on: number)
            }
            let list = try cluster.list(from: winner)
            #expect(list.members.map(\.name).sorted() == ["node1", "winner"])
            #expect(list["winner"]?.underlayAddress == cluster.node(winner).address)

            let losers = joiners.filter { $0 != winner }
            try tokensThatAreNoGood(bench, used: token, cli: losers[0], api: losers[1])
            try unknownPeersLearnNothing(bench, from: losers[2])
            #expect(try cluster.list(from: 1).members.count == 2)
        }
    }

    /// Each kind of bad token has its own text and code at the joiner, and leaves nothing there.
    private func tokensThatAreNoGood(_ bench: FormationBench, used: String, cli: Int, api: Int) throws {
        let replaced = try bench.token("again")
        let good = try bench.token("again")
        let revoked = try bench.token("revoked")
        try bench.cluster.require(on: 1, ["cluster", "revoke", "revoked"])
        let expired = try bench.token("expired", from: 1, "--expiry", "1s")
        var unknown = try JoinToken(parsing: bench.token("unknown"))
        unknown.secret = sha256Hex(Array("a guess".utf8))
        var foreign = try JoinToken(parsing: bench.token("foreign"))
        foreign.fingerprint = sha256Hex(Array("another cluster".utf8))
        sleep(2)
        let cases: [(token: String, code: String, status: Int, exit: Int32, text: String)] = [
            (used, "token_used", 403, 1, "was already used"),
            (replaced, "token_revoked", 403, 1, "was revoked"),
            (revoked, "token_revoked", 403, 1, "was revoked"),
            (expired, "token_expired", 403, 1, "expired"),
            (unknown.encoded, "token_unknown", 403, 1, "does not know the token"),
            (foreign.encoded, "wrong_cluster", 403, 1, "is not the cluster of the token"),
            (String(good.dropLast(9)), "token_malformed", 400, 2, "malformed"),
        ]
        for (token, code, status, exit, text) in cases {
            let result = try bench.join(cli, token)
            #expect(result.ending == .exited(exit), "\(code): \(result.explanation)")
            #expect(result.errorOutput.contains(text), "\(code): \(result.errorOutput)")
            for verb in ["rehearse", "join"] {
                // Each attempt is one of ten at once, and one more comes back every two seconds.
                if verb == "join", code != "token_malformed" { usleep(1_200_000) }
                let answer = try bench.local(
                    api,
                    "POST",
                    "/1.0/\(verb)",
                    [
                        "token": .string(token), "address": .text(bench.address(api)),
                        "underlay_address": .text(bench.address(api).address),
                    ]
                )
                #expect(answer.code == code && answer.status == status, "\(verb): \(answer)")
            }
        }
        try bench.expectNothing(on: cli)
        try bench.expectNothing(on: api)
        let states = try bench.cluster.require(on: 1, ["cluster", "tokens"])
        for state in ["used", "revoked", "expired", "valid"] { #expect(states.contains(state), "\(states)") }
        // The newer token for the same name is good.
        let joined = try bench.join(cli, good)
        #expect(joined.isSuccess, "\(joined.explanation)")
        let left = try bench.cluster.fanmesh(on: cli, ["leave", "--yes"])
        #expect(left.isSuccess, "\(left.explanation)")
    }

    /// What an unknown peer is told is the same, whatever it asks for.
    private func unknownPeersLearnNothing(_ bench: FormationBench, from source: Int) throws {
        let unknownPeer = try Identity.generate(commonName: "node1")
        let connection = try bench.connect(from: source, to: 1, as: unknownPeer)
        let greeting = try bench.call(connection, "GET", "/1.0")
        #expect(greeting.status == 200 && greeting.document["auth"] == "untrusted")
        var answers: Set<Document> = []
        for (method, path) in [
            ("GET", "/1.0/members"), ("GET", "/1.0/members/node1"), ("GET", "/1.0/members/nobody"),
            ("GET", "/1.0/nothing"), ("GET", "/"), ("GET", "/2.0"), ("DELETE", "/1.0"), ("GET", "/1.0/openapi.json"),
            ("GET", "/1.0/join/redemption"), ("POST", "/1.0/members"), ("PATCH", "/1.0/cluster"),
            ("GET", "/1.0/local"), ("POST", "/1.0/leave"), ("POST", "/1.0/join"), ("POST", "/1.0/tokens"),
            ("POST", "/1.0/cluster/rotate"), ("DELETE", "/1.0/members/winner"), ("GET", "/1.0/database/dump"),
            ("PUT", "/1.0/members/node1/report"), ("GET", "/1.0/internal/state"), ("GET", "/1.0/internal/database"),
            ("POST", "/1.0/internal/heartbeat"), ("POST", "/1.0/internal/redemption"),
            ("POST", "/1.0/internal/certificate"), ("POST", "/1.0/internal/removed"), ("GET", "/1.0/internal/nothing"),
        ] {
            let answer = try bench.call(connection, method, path)
            #expect(answer.status == 403, "\(method) \(path): \(answer)")
            answers.insert(answer.document)
        }
        #expect(answers.count == 1, "\(answers)")

        // Guesses get the same refusal, and before long none at all.
        var wasLimited = false
        for attempt in 0..<12 {
            let name = ["node1", "winner", "free"][attempt % 3]
            let guess = candidate(bench, name: name, secret: sha256Hex([UInt8(attempt)]), at: source)
            let path = attempt % 2 == 0 ? "/1.0/join/redemption" : "/1.0/join/rehearsal"
            let answer = try bench.call(connection, "POST", path, guess)
            if answer.status == 429 {
                #expect(answer.code == "rate_limited")
                wasLimited = true
            } else {
                #expect(answer.status == 403 && answers.contains(answer.document), "\(answer)")
            }
        }
        #expect(wasLimited)
    }

    /// What a node says of itself when it comes with a secret.
    private func candidate(_ bench: FormationBench, name: String, secret: String, at number: Int) -> Document {
        [
            "name": .string(name), "secret": .string(secret), "node_id": .string(String(repeating: "a", count: 32)),
            "address": .text(bench.address(number)), "underlay_address": .text(bench.address(number).address),
            "failure_domain": "default", "version": .string(FanmeshVersion.text), "schema_version": 1,
            "clock_ms": .number(Int64(Date().timeIntervalSince1970 * 1000)),
            "fingerprint": .string(String(repeating: "0", count: 64)),
        ]
    }

    /// Joins that cannot work are refused before anything is changed, and work once that is mended.
    @Test(.timeLimit(.minutes(3))) func joinsThatCannotWorkLeaveNothing() throws {
        try FormationBench.run("refused", nodes: 7, members: 2) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline([1, 2])
            try takenPlaces(bench, joiner: 3)
            try outsideTheUnderlay(bench, joiner: 4)
            try wrongClock(bench, joiner: 5)
            try blockedWayBack(bench, joiner: 6)
            try cluster.waitUntilOnline([1, 2, 3, 4, 5, 6])
            try undoneAfterRedemption(bench, joiner: 7)
            for number in 1...7 { try cluster.waitUntilOnline(from: number) }
        }
    }

    /// Expects that a refused join has changed nothing, and that the same token is good afterwards.
    private func refused(
        _ bench: FormationBench,
        _ joiner: Int,
        naming names: [String],
        byWay attempt: (String) throws -> String,
        mend: () throws -> Void
    ) throws {
        let token = try bench.token(bench.name(joiner))
        let before = try bench.record(from: 1)
        let text = try attempt(token)
        for name in names { #expect(text.contains(name), "'\(name)' is not in: \(text)") }
        try bench.expectNothing(on: joiner)
        #expect(try bench.record(from: 2) == before)
        try mend()
        let joined = try bench.join(joiner, token)
        #expect(joined.isSuccess, "\(bench.name(joiner)): \(joined.explanation)")
    }

    private func takenPlaces(_ bench: FormationBench, joiner: Int) throws {
        let taken = try bench.cluster.fanmesh(on: 2, ["cluster", "add", "node1"])
        #expect(taken.ending == .exited(1))
        #expect(taken.errorOutput.contains("'node1' is a member already, at \(bench.address(1))"))

        let address: Document = .text(bench.address(joiner))
        let underlay: Document = .text(bench.address(2).address)
        try refused(
            bench,
            joiner,
            naming: ["node3", "node2", "\(bench.address(2).address)", "slice"],
            byWay: { token in
                let body: Document = ["token": .string(token), "address": address, "underlay_address": underlay]
                let rehearsal = try bench.local(joiner, "POST", "/1.0/rehearse", body)
                let failed = try rehearsal.document.list("checks").filter { $0["result"] == "fail" }
                #expect(failed.map { $0["check"] } == ["slice"])
                let answer = try bench.local(joiner, "POST", "/1.0/join", body)
                #expect(answer.code == "rehearsal_failed")
                // The address of another member's server, which no honest node can even listen on.
                let secret = try JoinToken(parsing: token).secret
                let candidate = candidate(bench, name: "node3", secret: secret, at: joiner)
                    .replacing(["address": .text(bench.address(2))])
                let own = try Identity.generate(commonName: "node3")
                let connection = try bench.connect(from: joiner, to: 1, as: own)
                let stolen = try bench.call(connection, "POST", "/1.0/join/redemption", candidate)
                #expect(stolen.code == "rehearsal_failed")
                #expect(stolen.message.contains("node3") && stolen.message.contains("node2"), "\(stolen)")
                return answer.message
            },
            mend: {}
        )
    }

    private func outsideTheUnderlay(_ bench: FormationBench, joiner: Int) throws {
        let node = bench.cluster.node(joiner)
        for number in [1, 2] {
            try bench.require(on: number, "ip", "address", "add", "10.9.9.\(number)/24", "dev", "eth0")
        }
        try bench.require(on: joiner, "ip", "address", "flush", "dev", "eth0")
        try bench.require(on: joiner, "ip", "address", "add", "10.9.9.\(joiner)/24", "dev", "eth0")
        try bench.require(on: joiner, "ip", "route", "add", "172.31.16.0/20", "dev", "eth0")
        try refused(
            bench,
            joiner,
            naming: ["node4 (10.9.9.4:8473)", "node1 (\(bench.address(1)))", "172.31.16.0/20", "still valid"],
            byWay: { token in
                let elsewhere = try SocketAddress(parsing: "10.9.9.\(joiner)")
                let result = try bench.join(joiner, token, address: elsewhere)
                #expect(result.ending == .exited(1), "\(result.explanation)")
                return result.errorOutput
            },
            mend: {
                try bench.require(on: joiner, "ip", "address", "flush", "dev", "eth0")
                try bench.require(on: joiner, "ip", "address", "add", "\(node.interfaceAddress)", "dev", "eth0")
                let gateway = "\(node.plan.gateway.address)"
                try bench.require(on: joiner, "ip", "route", "add", "default", "via", gateway)
            }
        )
    }

    private func wrongClock(_ bench: FormationBench, joiner: Int) throws {
        let cluster = bench.cluster
        let node = cluster.node(joiner)
        try cluster.process(.server, on: joiner)?.stop()
        let library = "/usr/lib/\(Self.architecture)-linux-gnu/faketime/libfaketime.so.1"
        try #require(FileManager.default.fileExists(atPath: library), "faketime is not installed: .ci/setup")
        var environment = node.environment
        environment["LD_PRELOAD"] = library
        environment["FAKETIME"] = "+3600s"
        environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        // It is root then; the real one takes the directory back from root when it starts.
        let state = try #require(environment["FANMESH_STATE_DIR"])
        _ = try bench.run(on: joiner, ["chown", "-R", "root:root", "\(state)/server"])
        let wrong = try LabDaemon(
            "server-in-an-hour",
            on: node,
            // Under this library a program sees no arguments, so that the directories come by the environment alone.
            [Programs.server],
            environment: environment
        )
        let client = cluster.client(of: joiner)
        let isReady = eventually(within: .seconds(20)) {
            (try? client.call(.watchLocal, timeout: .seconds(5)).flag("agent")) == true
        }
        #expect(isReady, "\(wrong.log())")
        try refused(
            bench,
            joiner,
            naming: ["clock of node5 is 3", "s ahead of that of node", "still valid"],
            byWay: { token in
                let result = try bench.join(joiner, token)
                #expect(result.ending == .exited(1), "\(result.explanation)")
                return result.errorOutput
            },
            mend: {
                try wrong.stop()
                try cluster.start(.server, on: joiner)
                try cluster.waitUntilReady(joiner)
            }
        )
    }

    private func blockedWayBack(_ bench: FormationBench, joiner: Int) throws {
        try bench.require(on: joiner, "nft", "add", "table", "inet", "wall")
        try bench.require(
            on: joiner,
            "nft",
            "add chain inet wall in { type filter hook input priority 0 ; }"
        )
        try bench.require(on: joiner, "nft", "add rule inet wall in tcp dport 8473 ct state new drop")
        try refused(
            bench,
            joiner,
            naming: ["cannot reach 'node6' at \(bench.address(6))", "still valid"],
            byWay: { token in
                let result = try bench.join(joiner, token)
                #expect(result.ending == .exited(1), "\(result.explanation)")
                #expect(result.errorOutput.contains("'node1'") || result.errorOutput.contains("'node2'"))
                return result.errorOutput
            },
            mend: { try bench.require(on: joiner, "nft", "delete", "table", "inet", "wall") }
        )
    }

    /// The agent never brings the overlay up, so the join is taken back although its token was redeemed.
    private func undoneAfterRedemption(_ bench: FormationBench, joiner: Int) throws {
        let cluster = bench.cluster
        let members = try cluster.list(from: 1).members.map(\.name).sorted()
        let token = try bench.token(bench.name(joiner))
        cluster.process(.agent, on: joiner)?.pause()
        let result = try bench.join(joiner, token, "--timeout", "2s")
        #expect(result.ending == .exited(1), "\(result.explanation)")
        for text in ["the overlay did not come up", "was taken back", "the token was redeemed", "cluster add node7"] {
            #expect(result.errorOutput.contains(text), "\(result.errorOutput)")
        }
        cluster.process(.agent, on: joiner)?.resume()
        try bench.expectNothing(on: joiner)
        #expect(try cluster.list(from: 1).members.map(\.name).sorted() == members)
        let again = try bench.join(joiner, token)
        #expect(again.ending == .exited(1) && again.errorOutput.contains("already used"), "\(again.explanation)")
        try cluster.waitUntilReady(joiner)
        let joined = try bench.join(joiner, bench.token(bench.name(joiner)))
        #expect(joined.isSuccess, "\(joined.explanation)")
    }

    private static var architecture: String {
        #if arch(arm64)
            "aarch64"
        #else
            "x86_64"
        #endif
    }
}
