import FanHTTP
import FanSystem
import FanTLS
import OpenAPIValidator
import TestSupport
import Testing

@testable import FanCore
@testable import FanServer

/// All endpoints over real servers, as every kind of caller: what is answered is described, and what is described
/// occurs.
@Suite(.serialized) struct EndpointWalkTests {
    /// Who calls.
    private enum Caller: String, CaseIterable {
        case local, member, unknownPeer
    }

    /// A walk through the API: what was answered, and what occurred in it.
    private final class Walk {
        let servers: TestServers
        let leader: TestServers.Node
        let member: TestServers.Node
        let unknownPeer: Identity
        /// The endpoints that were answered with success.
        var answered: Set<Endpoint> = []
        /// The fields that occurred in answers and in bodies that were taken.
        var fields: Set<String> = []
        /// The parameters and headers that were seen to have an effect, such as `audit limit`.
        var effects: Set<String> = []

        init() throws {
            servers = try TestServers()
            leader = try servers.addFirst()
            member = try servers.join(through: leader)
            unknownPeer = try Identity.generate(commonName: "unknown")
        }

        /// Calls an endpoint of a node; the answer fits the description.
        @discardableResult
        func call(
            _ endpoint: Endpoint,
            _ name: String = "",
            at node: TestServers.Node? = nil,
            as identity: Identity? = nil,
            query: [(Endpoint.Parameter, String)] = [],
            headers: HTTPHeaders = [:],
            _ body: Document? = nil,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws -> (status: Int, document: Document) {
            let node = node ?? leader
            let connection: HTTPConnection
            if let identity {
                let cluster = try node.server.local.directory.identity(.cluster)
                let trusted = try #require(cluster).fingerprint
                connection = try .tls(to: node.address, identity: identity, trusting: [trusted], timeout: .seconds(5))
            } else {
                connection = try .unix(path: "\(node.directory)/server.sock", timeout: .seconds(2))
            }
            defer { connection.close() }
            let target = endpoint.target(name, query: query)
            let response = try connection.request(
                endpoint.method,
                target,
                headers: headers,
                body: body?.compactJSON,
                timeout: .seconds(30)
            )
            let document = try response.document()
            let validator = TestServers.validator
            let problems = validator.problems(endpoint.method, target, status: response.status, document)
            #expect(problems.isEmpty, "\(endpoint): \(document.compactJSONText)", sourceLocation: sourceLocation)
            if response.status == 200 {
                let described = endpoint.description
                answered.insert(endpoint)
                fields.formUnion(OpenAPI.fields(of: document, schema: described.response))
                if let body, let request = described.request {
                    #expect(
                        validator.requestProblems(endpoint.method, target, body) == [],
                        sourceLocation: sourceLocation
                    )
                    fields.formUnion(OpenAPI.fields(of: body, schema: request))
                }
            }
            return (response.status, document)
        }

        /// Expects a refusal because of a parameter or a header.
        func expectEffect(
            _ endpoint: Endpoint,
            _ name: String,
            _ answer: (status: Int, document: Document),
            _ status: Int,
            sourceLocation: SourceLocation = #_sourceLocation
        ) {
            #expect(answer.status == status, "\(answer.document.compactJSONText)", sourceLocation: sourceLocation)
            effects.insert("\(endpoint) \(name)")
        }

        func identity(_ node: TestServers.Node) throws -> Identity {
            try #require(try node.server.local.directory.identity(.node))
        }

        /// A host that is none, with its certificate.
        func candidate(_ number: UInt8) throws -> (identity: Identity, document: Document) {
            let name = "ghost\(number)"
            let identity = try Identity.generate(commonName: name)
            let token = try call(.addToken, ["name": .string(name), "expiry_s": 60]).document.text("token")
            let candidate = Candidate(
                name: name,
                secret: try JoinToken(parsing: token).secret,
                nodeID: hexadecimal(randomBytes(16)),
                address: SocketAddress(IPv4Address(127, 9, 0, number), port: TestServers.port),
                underlayAddress: IPv4Address(127, 9, 0, number),
                fingerprint: identity.fingerprint,
                failureDomain: "rack9",
                version: FanmeshVersion.text,
                schema: try call(.greet).document.integer(.schemaVersion),
                clock: wallClockMilliseconds()
            )
            return (identity, candidate.document)
        }

        func call(_ endpoint: Endpoint, _ body: Document) throws -> (status: Int, document: Document) {
            try call(endpoint, "", body)
        }
    }

    /// Who may call, whatever is asked: what would change something has a key that is refused.
    @Test func everyEndpointKnowsItsCallers() throws {
        let walk = try Walk()
        defer { walk.servers.tearDown() }
        for endpoint in Endpoint.allCases {
            let description = endpoint.description
            for caller in Caller.allCases {
                let identity: Identity? =
                    switch caller {
                    case .local: nil
                    case .member: try walk.identity(walk.member)
                    case .unknownPeer: walk.unknownPeer
                    }
                let answer = try walk.call(
                    endpoint,
                    "node2",
                    as: identity,
                    headers: ["Idempotency-Key": "short"],
                    description.request == nil ? nil : ["force": "no"]
                )
                let code = answer.document["code"]
                let isAllowed =
                    switch (description.access, caller) {
                    case (.anyone, _), (.members, .local), (.members, .member), (.peers, .member), (.local, .local):
                        true
                    default: false
                    }
                if isAllowed {
                    #expect(code != "not_authorized", "\(endpoint) by \(caller)")
                } else if caller == .local {
                    #expect(answer.status == 400, "\(endpoint) by \(caller)")
                } else {
                    #expect(answer.status == 403 && code == "not_authorized", "\(endpoint) by \(caller)")
                }
                if case .change = description.place, isAllowed {
                    #expect(answer.status == 400 && answer.document.compactJSONText.contains("Idempotency-Key"))
                }
            }
        }
        // Nothing was changed by any of it.
        #expect(try walk.call(.listMembers).document.list("members").count == 2)
    }

    @Test func everyEndpointIsAsDescribed() throws {
        let walk = try Walk()
        defer { walk.servers.tearDown() }
        try walkThisNode(walk)
        try walkTheCluster(walk)
        try walkMembers(walk)
        try walkCandidates(walk)
        try walkMoves(walk)
        try walkTheEnd(walk)
        for endpoint in Endpoint.allCases {
            #expect(walk.answered.contains(endpoint), "\(endpoint) was never answered")
            let description = endpoint.description
            let fields = OpenAPI.fields(ofSchema: description.response)
                .union(description.request.map { OpenAPI.fields(ofSchema: $0) } ?? [])
            #expect(fields.subtracting(walk.fields).sorted() == [], "never seen in \(endpoint)")
            let parameters = description.query.map(\.name) + description.headers.map(\.name)
            let without = parameters.filter { !walk.effects.contains("\(endpoint) \($0)") }
            #expect(without == [], "without effect in \(endpoint)")
        }
    }

    private func walkThisNode(_ walk: Walk) throws {
        try walk.call(.greet)
        try walk.call(.describe)
        try walk.call(.watchLocal)
        walk.expectEffect(.watchLocal, "generation", try walk.call(.watchLocal, query: [(.generation, "-1")]), 400)
        walk.expectEffect(.watchLocal, "wait", try walk.call(.watchLocal, query: [(.wait, "61")]), 400)
        walk.expectEffect(.watchLocal, "agent", try walk.call(.watchLocal, query: [(.agent, "short")]), 400)
        #expect(try walk.call(.reportLocal, report(walk.leader)).status == 200)
        #expect(try walk.call(.sendMessage, ["to": "node2", "text": "hello"]).status == 200)
        let messages = try walk.call(.takeMessages, at: walk.member, query: [(.wait, "1")]).document["messages"]
        #expect(messages == [["from": "node1", "text": "hello"]])
        walk.expectEffect(.takeMessages, "wait", try walk.call(.takeMessages, query: [(.wait, "61")]), 400)
    }

    private func report(_ node: TestServers.Node) -> Document {
        [
            "schema": "fanmesh.report/v1", "node_id": .string(node.nodeID), "verdict": "warning", "network": "fan0",
            "overlay": "240.0.0.0/8", "underlay": "127.9.0.0/16", "underlay_address": .text(node.address.address),
            "slice": "240.0.11.0/24", "forwarder": "ebpf", "mtu": 1450, "underlay_mtu": 1500, "vni": 15_728_640,
            "port": 8472,
            "counters": ["forwarded": 1, "spoofed": 2, "outside": 3, "unsupported": 4],
            "peers": [["name": "node2", "reachable": false, "rtt_ms": 0.5, "diagnosis": "no answer"]],
            "warnings": [["code": "peer-unreachable", "severity": "warning", "message": "m", "remedy": "r"]],
            "version": "1", "kernel": "6", "generation": 1,
        ]
    }

    private func walkTheCluster(_ walk: Walk) throws {
        let settings: Document = [
            "offline_after_s": 5, "voters": 3, "standbys": 2, "token_expiry_s": 600, "mtu": 1400, "forwarder": "ebpf",
            "administrators": "node1,node2",
        ]
        #expect(try walk.call(.editCluster, settings).status == 200)
        let change: Document = ["failure_domain": "rack1", "role": "voter"]
        #expect(try walk.call(.editMember, "node1", change).status == 200)
        for (endpoint, name, body) in [(Endpoint.editCluster, "", settings), (.editMember, "node1", change)] {
            let stale = try walk.call(endpoint, name, headers: ["If-Match": "\"x\""], body)
            walk.expectEffect(endpoint, "If-Match", stale, 412)
        }
        for endpoint in Endpoint.allCases where endpoint.description.headers.contains(.idempotencyKey) {
            let body: Document? = endpoint.description.request == nil ? nil : [:]
            let refused = try walk.call(endpoint, "node1", headers: ["Idempotency-Key": "short"], body)
            walk.expectEffect(endpoint, "Idempotency-Key", refused, 400)
        }
        // A report that a later one has overtaken is not stored.
        var stored: [Document] = []
        var text = report(walk.member)
        for (number, kernel) in [("9.2", "7"), ("9.1", "8"), ("9.3", "9")] {
            text = text.with("kernel", .string(kernel))
            let headers: HTTPHeaders = ["Fanmesh-Report": number]
            let own = try walk.identity(walk.member)
            stored.append(try walk.call(.reportMember, "node2", as: own, headers: headers, text).document["stored"])
        }
        #expect(stored == [true, false, true])
        walk.effects.insert("reportMember Fanmesh-Report")
        try walk.call(.showCluster)
        try walk.call(.showMember, "node1")
        #expect(try walk.call(.addToken, ["name": "node7", "expiry_s": 60]).status == 200)
        try walk.call(.listTokens)
        #expect(try walk.call(.revokeToken, "node7").status == 200)
        #expect(try walk.call(.listAudit, query: [(.limit, "1")]).document.list("entries").count == 1)
        walk.expectEffect(.listAudit, "limit", try walk.call(.listAudit, query: [(.limit, "0")]), 400)
        #expect(soon { try walk.call(.dumpDatabase).status == 200 })
    }

    private func walkMembers(_ walk: Walk) throws {
        let own = try walk.identity(walk.member)
        let leads = try walk.identity(walk.leader)
        let membership = try #require(try walk.member.server.local.directory.membership())
        let clusterID = Document.string(membership.clusterID)
        let node = try #require(walk.member.server.local.member)
        var heartbeat = node.heartbeats.heartbeat(wait: .zero)
        heartbeat.term = 0
        #expect(try walk.call(.heartbeat, as: own, heartbeat.document).status == 200)
        // It names the voters as soon as it has asked who they are.
        #expect(
            soon {
                _ = try walk.call(.heartbeat, as: own, heartbeat.document)
                return walk.fields.contains("HeartbeatAnswer.voters.address")
            }
        )
        try walk.call(.ticket, as: own)
        try walk.call(.state, as: own)
        #expect(try walk.call(.deliverMessage, as: own, ["text": "hello"]).status == 200)
        let next = try Identity.generate(commonName: "next")
        let order: Document = [
            "cluster_id": clusterID, "step": "accept", "certificate": .string(next.certificatePEM),
            "key": .string(next.keyPEM),
        ]
        #expect(try walk.call(.takeCertificate, at: walk.member, as: leads, order).status == 200)
        #expect(try walk.call(.beRemoved, as: own, ["cluster_id": clusterID]).status == 200)
        let wrong = try walk.call(.openDatabase, as: own, headers: ["Fanmesh-Cluster": "other"])
        walk.expectEffect(.openDatabase, "Fanmesh-Cluster", wrong, 403)
        let plain = try walk.call(.openDatabase, as: own, headers: ["Fanmesh-Cluster": membership.clusterID])
        walk.expectEffect(.openDatabase, "Upgrade", plain, 400)
        let trusted = try #require(try walk.leader.server.local.directory.identity(.cluster))
        // It has no body: it is answered with 101.
        _ = try dialUpgraded(
            to: walk.leader.address,
            identity: own,
            trusting: [trusted.fingerprint],
            path: Endpoint.openDatabase.target(),
            protocol: ClusterNode.databaseProtocol,
            headers: ["Fanmesh-Cluster": membership.clusterID],
            timeout: .seconds(5)
        )
        walk.answered.insert(.openDatabase)
    }

    private func walkCandidates(_ walk: Walk) throws {
        let joiner = try walk.servers.add()
        let token = try walk.call(.addToken, ["name": .string(joiner.name)]).document.text("token")
        let join: Document = [
            "token": .string(token), "name": .string(joiner.name), "address": .text(joiner.address),
            "underlay_address": .text(joiner.address.address), "failure_domain": "rack2",
        ]
        #expect(try walk.call(.rehearse, at: joiner, join).status == 200)
        #expect(try walk.call(.join, at: joiner, join).status == 200)
        let own = try walk.identity(walk.member)
        let (first, second) = (try walk.candidate(101), try walk.candidate(102))
        #expect(try walk.call(.askAdmission, as: first.identity, first.document).status == 200)
        #expect(try walk.call(.redeem, as: first.identity, first.document).status == 200)
        #expect(try walk.call(.judge, as: own, second.document).status == 200)
        #expect(try walk.call(.admit, as: own, second.document).status == 200)
        // Their servers do not run: they go OFFLINE.
        #expect(
            soon {
                try walk.call(.listMembers).document.list("members")
                    .filter { try $0.text("name").hasPrefix("ghost") && $0.text("state") == "OFFLINE" }.count == 2
            }
        )
        #expect(try walk.call(.removeMember, "ghost101", query: [(.force, "0")]).status == 409)
        let forced = try walk.call(.removeMember, "ghost101", query: [(.force, "1")])
        walk.expectEffect(.removeMember, "force", forced, 200)
        #expect(try walk.call(.removeMember, "ghost102").status == 409)
        let left = try walk.call(.removeMember, "ghost102", as: second.identity, query: [(.leaving, "1")])
        walk.expectEffect(.removeMember, "leaving", left, 200)
        #expect(soon { try walk.call(.listMembers).document.list("members").count == 3 })
    }

    private func walkMoves(_ walk: Walk) throws {
        let own = try walk.identity(walk.member)
        let place: Document = ["underlay_address": "127.9.0.55", "address": .text(walk.member.address)]
        #expect(try walk.call(.moveMember, "node2", as: own, place).status == 200)
        #expect(try walk.call(.moveMember, "node1", as: own, place).status == 403, "a member moves itself alone")
        let taken: Document = ["underlay_address": .text(walk.leader.address.address)]
        let refused = try walk.call(.readdress, at: walk.member, taken)
        #expect(refused.status == 409 && refused.document.compactJSONText.contains("to 'node1'"))
        #expect(try walk.call(.readdress, at: walk.member, ["underlay_address": "8.8.8.8"]).status == 409)
        let target = SocketAddress(IPv4Address(127, 9, 0, 66), port: TestServers.port)
        let move: Document = ["underlay_address": "127.9.0.66", "address": .text(target)]
        let before = try walk.call(.showMember, "node2").document["member"]
        #expect(try walk.call(.readdress, at: walk.member, move).status == 200)
        let after = try walk.call(.showMember, "node2").document["member"]
        #expect(after["address"] == .text(target) && after["underlay_address"] == "127.9.0.66")
        #expect(after["fingerprint"] == before["fingerprint"] && after["id"] != before["id"])
        // It works there: the leader answers through it.
        #expect(soon { try walk.call(.listMembers, at: walk.member).document.flag("quorum") })
        #expect(soon { try walk.call(.dumpDatabase, at: walk.member).status == 200 })
    }

    private func walkTheEnd(_ walk: Walk) throws {
        #expect(try walk.call(.rotate, [:]).status == 200)
        #expect(try walk.call(.leave, at: walk.member, ["force": false]).status == 200)
        let founder = try walk.servers.add()
        var body = walk.servers.initBody(founder)
        for (key, value): (String, Document) in [
            ("underlay_address", .text(founder.address.address)), ("network", "fan0"), ("vni", 15_728_640),
            ("port", 8472), ("mtu", 1400), ("forwarder", "ebpf"), ("failure_domain", "rack3"), ("voters", 3),
            ("standbys", 2), ("token_expiry_s", 600),
        ] {
            body = body.with(key, value)
        }
        #expect(try walk.call(.bootstrap, at: founder, body).status == 200)
    }

    /// What is said in the query of another endpoint's has no effect: it would let every member administer itself.
    @Test func leavingIsNoWordForOtherChanges() throws {
        let walk = try Walk()
        defer { walk.servers.tearDown() }
        #expect(try walk.call(.editCluster, ["administrators": "node1"]).status == 200)
        let answer = try walk.call(
            .editMember,
            "node2",
            at: walk.member,
            query: [(.leaving, "1")],
            ["role": "spare"]
        )
        #expect(answer.status == 403)
    }
}

extension Document {
    /// The object with another value for a key, or one more.
    fileprivate func with(_ key: String, _ value: Document) -> Document {
        .object(fields.filter { $0.key != key } + [Field(key: key, value: value)])
    }
}
