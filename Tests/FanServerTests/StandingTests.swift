import FanHTTP
import FanTLS
import TestSupport
import Testing

@testable import FanCore
@testable import FanServer

/// Where a node stands, and how it joins, without a socket.
@Suite struct StandingTests {
    @Test func whoStopsGoesNowhereElse() {
        var standing = Standing<Int>.starting
        #expect(standing.enter(.unconfigured) && standing.enter(.member(7)) && standing.member == 7)
        #expect(standing.enter(.failed("why")) && standing.member == nil && standing.failure == "why")
        #expect(standing.enter(.member(8)) && standing.enter(.stopping(standing.member)))
        #expect(standing.member == 8 && standing.isStopping, "it hands over first")
        #expect(!standing.enter(.unconfigured) && !standing.enter(.member(9)) && standing.member == 8)
    }

    private func withNode(_ body: (LocalNode) throws -> Void) throws {
        let directory = try TestDirectory()
        let files = ServerDirectory(path: directory.file("server"))
        try files.make()
        let node = LocalNode(directory: files, log: ServerLog()) { _, _, responder in
            responder.respond(HTTPResponse(status: 500))
        }
        try body(node)
        node.stop()
    }

    private func code(_ body: () throws -> Void) -> ClusterError.Code? {
        do { try body() } catch { return (error as? ClusterError)?.code }
        return nil
    }

    @Test func saysWhyThereIsNoMember() throws {
        try withNode { node in
            #expect(code { _ = try node.requireMember() } == .unavailable, "it is starting")
            #expect(node.resume { _ in true })
            #expect(code { _ = try node.requireMember() } == .notConfigured)
            #expect(!node.isConfigured && node.snapshot().state == .unconfigured)
            // Whoever is at work is alone, and what it is about is not yet an answer.
            var codes: [ClusterError.Code?] = []
            var isResumed = true
            try node.exclusively { () throws(ClusterError) in
                codes.append(code { _ = try node.requireMember() })
                codes.append(code { try node.exclusively { () throws(ClusterError) in } })
                isResumed = node.resume { _ in true }
            }
            #expect(codes == [.unavailable, .conflict] && !isResumed)
            let address = SocketAddress(IPv4Address(127, 9, 0, 1))
            let id = String(repeating: "c", count: 32)
            try node.directory.save(Membership(clusterID: id, id: 1, name: "a", address: address, isJoining: false))
            #expect(node.resume { _ in true })
            #expect(code { _ = try node.requireMember() } == .failed, "it has no certificates")
            #expect(code { try node.requireUnconfigured() } == .alreadyConfigured && node.isConfigured)
            #expect(node.snapshot().state == .failed && node.snapshot().message.contains("certificates"))
            #expect(try Leaving(local: node).run(isForced: true).count == 1)
            #expect(code { try node.requireUnconfigured() } == nil)
            #expect(code { _ = try Leaving(local: node).run(isForced: false) } == .notConfigured)
            #expect(node.beginStopping() == nil)
            #expect(code { _ = try node.requireMember() } == .unavailable)
            #expect(!node.resume { _ in true }, "it stops")
        }
    }

    /// A copy of a member's disk, on another machine, is not that member.
    @Test func aCopyIsNoMember() throws {
        let directory = try TestDirectory()
        func files(_ machine: String) -> ServerDirectory {
            ServerDirectory(
                path: directory.file("server"),
                machine: MachineBinding(machineID: machine, productUUID: nil)
            )
        }
        func withNode(on machine: String, _ body: (LocalNode) throws -> Void) throws {
            let node = LocalNode(directory: files(machine), log: ServerLog()) { _, _, responder in
                responder.respond(HTTPResponse(status: 500))
            }
            #expect(node.resume { _ in true })
            try body(node)
            node.stop()
        }
        try files("one").make()
        let address = SocketAddress(IPv4Address(127, 9, 0, 1))
        let id = String(repeating: "c", count: 32)
        let membership = Membership(clusterID: id, id: 1, name: "node2", address: address, isJoining: false)
        try files("one").save(membership)
        // Where it was made its certificates are missed, and not before.
        try withNode(on: "one") { #expect($0.snapshot().message.contains("certificates")) }
        try withNode(on: "two") { node in
            let message = node.snapshot().message
            #expect(message.contains("made on another machine") && message.contains("'node2'"))
            #expect(message.contains("fanmesh leave --force") && !message.contains("remove"))
            #expect(node.snapshot().name == nil && node.isConfigured)
            do {
                _ = try Leaving(local: node).run(isForced: false)
                Issue.record("it left without force")
            } catch let error as ClusterError {
                #expect(error.remedy == "run: fanmesh leave --force", "not the other one's removal")
            }
            // The remedy mends it.
            _ = try Leaving(local: node).run(isForced: true)
            #expect(!node.isConfigured)
            try node.directory.save(membership)
            #expect(!node.directory.isCopy)
        }
        // A binding that says less is completed.
        try files("two").requireOwn(membership)
        #expect(files("one").isCopy)
    }

    @Test func anAgentIsWaitedFor() throws {
        try withNode { node in
            #expect(code { _ = try node.agentNodeID(within: .milliseconds(50)) } == .agentMissing)
            node.agentCame("a")
            let agent = try node.agentNodeID(within: .zero)
            #expect(agent == "a" && node.hasAgent)
            node.agentWasAnswered()
            #expect(node.hasAgent, "it was here a moment ago")
            // A join begins with what this node is, and then with its token.
            let joining = Joining(local: node)
            #expect(code { try joining.join(["token": "none", "address": "127.9.0.1"]) } == .tokenMalformed)
            #expect(code { try Bootstrap(local: node).run(["name": "a"]) } == .badRequest)
        }
    }
}

/// What a candidate makes of the answers of the members that its token names.
@Suite struct AdmissionRequestTests {
    private let addresses = (1...3).map { SocketAddress(IPv4Address(127, 9, 0, $0)) }

    /// One answer per member: a status with a code, an answer, or nil for none after it was asked.
    private func send(
        _ endpoint: Endpoint,
        _ answer: @escaping (SocketAddress) -> (status: Int, document: Document)?
    ) -> (Result<SocketAddress, ClusterError>, asked: [SocketAddress]) {
        let token = JoinToken(
            serverName: "node4",
            fingerprint: String(repeating: "f", count: 64),
            addresses: addresses,
            secret: "secret",
            expiresAt: Timestamp(secondsSince1970: 0)
        )
        let candidate = Candidate(
            name: "node4",
            secret: "secret",
            nodeID: String(repeating: "0", count: 32),
            address: SocketAddress(IPv4Address(127, 9, 0, 4)),
            underlayAddress: IPv4Address(127, 9, 0, 4),
            fingerprint: "",
            failureDomain: "default",
            version: "1",
            schema: 1,
            clock: 0
        )
        var asked: [SocketAddress] = []
        let request = AdmissionRequest(token: token, candidate: candidate) { address, _, _, wasSent throws(HTTPError) in
            asked.append(address)
            guard let answer = answer(address) else {
                wasSent = true
                throw HTTPError(.timeout("read"), peer: "\(address)")
            }
            return HTTPResponse(status: answer.status, document: answer.document)
        }
        do throws(ClusterError) {
            return (.success(try request.send(endpoint, first: endpoint == .redeem ? addresses[1] : nil).1), asked)
        } catch { return (.failure(error), asked) }
    }

    private func refusal(_ code: ClusterError.Code) -> (status: Int, document: Document) {
        (code.status, ClusterError(code, "m").answer.document)
    }

    private func code(_ result: Result<SocketAddress, ClusterError>) -> ClusterError.Code? {
        if case .failure(let error) = result { error.code } else { nil }
    }

    @Test func membersAreAskedOneAfterTheOther() {
        let (result, asked) = send(.askAdmission) { $0 == self.addresses[2] ? (200, [:]) : self.refusal(.noQuorum) }
        #expect(result == .success(addresses[2]) && asked == addresses)
        let redeemed = send(.redeem) { _ in (200, [:]) }
        #expect(redeemed.0 == .success(addresses[1]) && redeemed.asked == [addresses[1]])
    }

    @Test func aRefusalIsFinal() {
        let (result, asked) = send(.redeem) { _ in self.refusal(.tokenUsed) }
        #expect(code(result) == .tokenUsed && asked.count == 1)
        #expect(code(send(.askAdmission) { _ in self.refusal(.notAuthorized) }.0) == .tokenUnknown)
    }

    @Test func whatWasNotAnsweredIsInDoubt() {
        #expect(code(send(.askAdmission) { _ in nil }.0) == .timeout, "nothing is changed by asking")
        #expect(code(send(.redeem) { _ in nil }.0) == .unknown)
        #expect(code(send(.redeem) { _ in self.refusal(.unavailable) }.0) == .timeout)
        #expect(code(send(.redeem) { _ in self.refusal(.unknown) }.0) == .unknown)
        // One that did not answer may have done what another one then could not.
        let (result, asked) = send(.redeem) { $0 == self.addresses[1] ? nil : self.refusal(.noQuorum) }
        #expect(code(result) == .unknown && asked.count == 3)
    }
}
