import FanHTTP
import FanSystem
import FanTLS
import TestSupport
import Testing

@testable import FanCore
@testable import FanServer

/// How node2 joins with a token that names node1 and node3; both are fakes.
@Suite(.serialized) struct JoiningTests {
    private struct Joiner: Sendable {
        let lone: LoneNode
        let cluster: Identity
        let token: JoinToken
        var others: FakeMembers { lone.others }
        var joining: Joining { Joining(local: lone.local) }
        var body: Document { ["token": .string(token.encoded), "address": "127.9.0.2"] }

        init() throws {
            lone = try LoneNode()
            lone.local.agentCame(String(repeating: "2", count: 32))
            cluster = try Identity.generate(commonName: "cluster")
            token = JoinToken(
                serverName: "node2",
                fingerprint: cluster.fingerprint,
                addresses: [LoneNode.address(1), LoneNode.address(3)],
                secret: String(repeating: "5", count: 64),
                expiresAt: Timestamp(secondsSince1970: wallClockMilliseconds() / 1000 + 60)
            )
        }

        /// What a member says before a join.
        func rehearsal(_ result: HostCheck.Result = .ok) throws -> HTTPResponse {
            let state = try LoneNode.cluster(of: [LoneNode.member(1), LoneNode.member(3)])
            let checks = [
                HostCheck(check: "token", result: .ok, detail: "it is known"),
                HostCheck(check: "tcp-back", result: result, detail: "the way back", remedy: "open it"),
            ]
            let answer = RehearsalAnswer(name: "node2", config: state.config, members: state.members, checks: checks)
            return HTTPResponse(status: 200, document: answer.document)
        }

        /// What a member says once the token is used.
        func admission(id: Int = 2, key: String? = nil) throws -> HTTPResponse {
            var state = try LoneNode.cluster(of: [LoneNode.member(1), LoneNode.member(2), LoneNode.member(3)])
            state.generation = 7
            return HTTPResponse(
                status: 200,
                document: [
                    "schema": "fanmesh.admission/v1", "id": .number(id), "state": state.document,
                    "cluster_certificate": .string(cluster.certificatePEM),
                    "cluster_key": .string(key ?? cluster.keyPEM),
                ]
            )
        }

        /// Has the members answer: node1 what is said here, unless it is asked for what has another answer.
        func answer(rehearsal: HTTPResponse, redemption: HTTPResponse) {
            others.answer { _, request in
                switch request.path {
                case "/1.0/join/rehearsal": rehearsal
                case "/1.0/join/redemption": redemption
                case let path where path.hasPrefix("/1.0/members/"): HTTPResponse(status: 200, document: [:])
                default: ClusterError.unavailable("it is a fake").response
                }
            }
        }

        /// What became of a try that failed.
        func expectNothingKept(sourceLocation: SourceLocation = #_sourceLocation) throws {
            let files = lone.local.directory
            #expect(try files.membership() == nil && files.snapshot() == nil, sourceLocation: sourceLocation)
            #expect(try files.identity(.node) == nil, sourceLocation: sourceLocation)
            #expect(try files.identity(.cluster) == nil, sourceLocation: sourceLocation)
            #expect(others.port.last != "open 127.9.0.2:8473", "the port is closed", sourceLocation: sourceLocation)
            #expect(lone.local.state.withLock { $0.presented } == nil, sourceLocation: sourceLocation)
            #expect(refusal { try lone.local.requireUnconfigured() } == nil, sourceLocation: sourceLocation)
        }
    }

    @Test func aTokenIsReadBeforeAnythingIsDone() throws {
        let joiner = try Joiner()
        var body = joiner.body
        body.set("token", .string(String(joiner.token.encoded.dropLast(9))))
        #expect(refusal { try joiner.joining.join(body) }?.code == .tokenMalformed)
        body = joiner.body
        body.set("name", "node4")
        let error = refusal { try joiner.joining.join(body) }
        #expect(error?.code == .conflict && error?.message == "the token is for 'node2', not for 'node4'")
        #expect(joiner.others.port.isEmpty && joiner.others.state.withLock { $0.connections.isEmpty })
        try joiner.expectNothingKept()
    }

    @Test func aRehearsalOpensThePortForTheWayBack() throws {
        let joiner = try Joiner()
        let answer = try joiner.rehearsal(.fail)
        let (others, cluster) = (joiner.others, joiner.cluster)
        let wasOpen = Lock<[Bool]>([])
        others.answer { _, request in
            let presented = others.state.withLock { $0.presented }?().fingerprint
            let isOwn = others.state.withLock { $0.connections.last?.identity } == presented
            wasOpen.withLock { $0.append(others.port == ["open 127.9.0.2:8473"] && isOwn) }
            return answer
        }
        // What fails is for who asks to see.
        #expect(try joiner.joining.rehearse(joiner.body) == answer.document())
        #expect(others.asked == ["POST node1/1.0/join/rehearsal"] && wasOpen.withLock { $0 } == [true])
        #expect(others.port == ["open 127.9.0.2:8473", "close"])
        let connection = try #require(others.state.withLock { $0.connections.first })
        #expect(connection.trust == [cluster.fingerprint] && connection.from == IPv4Address(127, 9, 0, 2))
        try joiner.expectNothingKept()
    }

    @Test func whatFailsInTheRehearsalEndsTheJoin() throws {
        let joiner = try Joiner()
        joiner.answer(rehearsal: try joiner.rehearsal(.fail), redemption: try joiner.admission())
        let error = refusal { try joiner.joining.join(joiner.body) }
        #expect(error?.code == .rehearsalFailed && error?.message == "the way back" && error?.remedy == "open it")
        #expect(joiner.others.asked == ["POST node1/1.0/join/rehearsal"], "the token is not used")
        #expect(joiner.others.port == ["open 127.9.0.2:8473", "close"])
        try joiner.expectNothingKept()
    }

    @Test func aRefusedTokenIsNotSaidToBeUsedUp() throws {
        let joiner = try Joiner()
        joiner.answer(
            rehearsal: try joiner.rehearsal(.warning),
            redemption: ClusterError(.tokenUsed, "it was used").response
        )
        let error = refusal { try joiner.joining.join(joiner.body) }
        #expect(error?.code == .tokenUsed && error?.message == "it was used")
        #expect(joiner.others.asked == ["POST node1/1.0/join/rehearsal", "POST node1/1.0/join/redemption"])
        try joiner.expectNothingKept()
    }

    /// An answer without the key, and a number that a new member cannot have: files are there by then.
    @Test(arguments: [false, true]) func whatCannotBeSettledIsUndone(_ hasFiles: Bool) throws {
        let joiner = try Joiner()
        let rehearsal = try joiner.rehearsal()
        let admission = try hasFiles ? joiner.admission(id: 1) : joiner.admission(key: "none")
        joiner.others.state.withLock { $0.unreachable = [LoneNode.address(1)] }
        joiner.answer(rehearsal: rehearsal, redemption: admission)
        let error = refusal { try joiner.joining.join(joiner.body) }
        #expect(error?.message.hasSuffix("; the token is used up") == true, "\(String(describing: error))")
        #expect(error?.remedy == "mend that, then get a new token: fanmesh cluster add node2")
        // Whoever judged it is asked first from then on.
        let asked = joiner.others.asked
        #expect(
            asked == [
                "POST node3/1.0/join/rehearsal", "POST node3/1.0/join/redemption", "DELETE node3/1.0/members/node2",
            ]
        )
        let last = try #require(joiner.others.state.withLock { $0.requests.last?.request })
        #expect(last.query["leaving"] == "1")
        #expect(joiner.others.log == [])
        try joiner.expectNothingKept()
        // What cannot be taken back is in the log.
        joiner.others.answer { _, request in
            switch request.path {
            case "/1.0/join/rehearsal": rehearsal
            case "/1.0/join/redemption": admission
            default: nil
            }
        }
        let again = refusal { try joiner.joining.join(joiner.body) }
        #expect(again?.message == error?.message && joiner.others.log == ["not-undone"])
        try joiner.expectNothingKept()
    }

    @Test func aMemberKeepsWhatItWasGiven() throws {
        let joiner = try Joiner()
        joiner.answer(rehearsal: try joiner.rehearsal(), redemption: try joiner.admission())
        try joiner.joining.join(joiner.body)
        let local = joiner.lone.local
        #expect(local.member?.membership.name == "node2" && joiner.others.log.contains("joined"))
        #expect(joiner.others.port == ["open 127.9.0.2:8473"])
        let presented = try #require(joiner.others.state.withLock { $0.presented })
        #expect(presented().fingerprint == joiner.cluster.fingerprint, "what members know each other by")
        #expect(refusal { try joiner.joining.join(joiner.body) }?.code == .alreadyConfigured)
        let own = joiner.others.state.withLock { $0.connections.first?.identity }
        let certificates = try [.node, .cluster, .next].map { try local.directory.identity($0)?.fingerprint }
        #expect(certificates == [own, joiner.cluster.fingerprint, nil])
        #expect(try local.directory.identity(.cluster)?.keyPEM == joiner.cluster.keyPEM)
        #expect(
            try local.directory.membership()
                == Membership(
                    clusterID: LoneNode.clusterID,
                    id: 2,
                    name: "node2",
                    address: LoneNode.address(2),
                    isJoining: true
                )
        )
        let known = try #require(try local.directory.snapshot())
        #expect(known.generation == 7 && known.members.map(\.name) == ["node1", "node2", "node3"])
        local.stop()
        #expect(joiner.others.port == ["open 127.9.0.2:8473", "close"])
        // It is enough to be the same member after a restart.
        let next = LocalNode(
            directory: local.directory,
            log: joiner.others.serverLog,
            transport: joiner.others.transport
        ) { _, _, _ in }
        defer { next.stop() }
        next.resume { _ in true }
        #expect(next.member?.membership.id == 2 && next.snapshot().state == .joining)
    }
}
