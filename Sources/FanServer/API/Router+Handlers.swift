internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

extension Router {
    /// What answers an endpoint; the compiler sees to it that each has exactly one.
    func handler(of endpoint: Endpoint) -> Handler {
        switch endpoint {
        case .greet: .here(greeting)
        case .describe: .here { _ throws(ClusterError) in OpenAPI.document }
        case .watchLocal: .held(watch)
        case .reportLocal: .here(report)
        case .sendMessage: .here(send)
        case .takeMessages: .held(takeMessages)
        case .bootstrap:
            .here { call throws(ClusterError) in
                try Bootstrap(local: call.local).run(try call.body())
                return call.local.snapshot().document
            }
        case .rehearse: .here { call throws(ClusterError) in try Joining(local: call.local).rehearse(try call.body()) }
        case .join:
            .here { call throws(ClusterError) in
                try Joining(local: call.local).join(try call.body())
                return call.local.snapshot().document
            }
        case .leave: .here(leave)
        case .readdress:
            .here { call throws(ClusterError) in
                let place = try call.body { body throws(DocumentError) in try MemberPlace(body) }
                try Readdressing(local: call.local).run(place)
                return call.local.snapshot().document
            }
        case .showCluster:
            .leader({ leader, call throws(ClusterError) in
                leader.listing.overview(
                    fingerprint: try call.local.requireMember().certificates.withLock { $0.cluster.fingerprint }
                )
            })
        case .editCluster:
            .leader({ leader, call throws(ClusterError) in try leader.edits.edit(try call.body(), call.changeRequest) })
        case .rotate:
            .leader({ leader, call throws(ClusterError) in try call.rotation().run(leader, call.changeRequest) })
        case .listMembers:
            .leader(
                { leader, _ throws(ClusterError) in leader.listing.list().document },
                lastKnown: { node, error in MemberList.lastKnown(to: node, error).document }
            )
        case .showMember: .leader({ leader, call throws(ClusterError) in try leader.listing.show(call.name) })
        case .editMember:
            .leader({ leader, call throws(ClusterError) in
                try leader.edits.edit(call.name, try call.body(), call.changeRequest)
            })
        case .removeMember: .leader(remove)
        case .reportMember: .leader(receive)
        case .moveMember:
            .leader({ leader, call throws(ClusterError) in
                let place = try call.body { body throws(DocumentError) in try MemberPlace(body) }
                guard call.member?.name == call.name else { throw .notAuthorized }
                return try leader.edits.move(call.name, to: place)
            })
        case .addToken: .leader(issueToken)
        case .listTokens: .leader({ leader, _ throws(ClusterError) in try leader.tokens.list() })
        case .revokeToken:
            .leader({ leader, call throws(ClusterError) in try leader.tokens.revoke(call.name, call.changeRequest) })
        case .listAudit:
            .leader({ leader, call throws(ClusterError) in try leader.listing.audit(limit: call.number(.limit) ?? 100) }
            )
        case .dumpDatabase: .here(dump)
        case .askAdmission: .here { call throws(ClusterError) in try admit(call, redeeming: false) }
        case .redeem: .here { call throws(ClusterError) in try admit(call, redeeming: true) }
        case .judge:
            .leader({ leader, call throws(ClusterError) in try leader.candidacy.rehearse(try call.candidate(nil)) })
        case .admit:
            .leader({ leader, call throws(ClusterError) in try leader.candidacy.redeem(try call.candidate(nil)) })
        case .heartbeat: .held(hear)
        case .ticket:
            .leader({ leader, _ throws(ClusterError) in
                ["schema": "fanmesh.ticket/v1", "ticket": .string(leader.ticket)]
            })
        case .state: .held(state)
        case .openDatabase: .held(openTunnel)
        case .takeCertificate:
            .here { call throws(ClusterError) in
                let rotation = try call.rotation()
                guard let caller = call.member else { throw .notAuthorized }
                return try rotation.take(try call.body(), from: caller)
            }
        case .beRemoved:
            .here { call throws(ClusterError) in
                let clusterID = try call.body { body throws(DocumentError) in try body.text("cluster_id") }
                return try call.removal().take(claimOf: call.member?.name ?? "a former member", clusterID: clusterID)
            }
        case .deliverMessage: .here(deliver)
        }
    }

    // MARK: this node

    private func greeting(_ call: Call) -> Document {
        [
            "schema": "fanmesh.api/v1",
            "api": "1.0",
            "version": .string(FanmeshVersion.text),
            "schema_version": .number(Schema.version),
            "configured": .bool(call.local.isConfigured),
            "auth": .string(auth(call)),
        ]
    }

    /// Who calls, in a word.
    private func auth(_ call: Call) -> String {
        guard case .remote(_, let fingerprint) = call.request.peer else { return "local" }
        return call.local.member?.isMember(fingerprint: fingerprint) ?? false ? "member" : "untrusted"
    }

    /// Answers with what is known of the cluster, now or when it changes.
    private func watch(_ call: Call) throws(ClusterError) {
        let known = try call.number(.generation)
        let agent = call.text(.agent)
        // An agent that died while it waited is missed only when its answer is due.
        let longest = agent == nil ? 60 : 5
        let wait = min(try call.number(.wait) ?? 0, longest)
        if let agent {
            guard agent.utf8.count == 32 else {
                throw ClusterError(.badRequest, "'agent' has not 32 hexadecimal digits")
            }
            call.local.agentCame(agent)
        }
        let local = call.local
        let version = local.state.withLock { $0.version }
        let respond: @Sendable () -> Void = {
            if agent != nil { local.agentWasAnswered() }
            let snapshot = local.snapshot()
            // The membership is let go of while it stops: that is no leaving, and agents must not take it for that.
            guard !local.isStopping else {
                call.responder.respond(ClusterError.unavailable("it is stopping").response)
                return
            }
            call.responder.respond(HTTPResponse(status: 200, document: snapshot.document))
        }
        let now = local.snapshot()
        guard wait > 0, known == now.generation else { return respond() }
        local.watchers.park(until: .now + .seconds(wait), respond)
        if local.state.withLock({ $0.version }) != version { local.watchers.wake() }
    }

    /// Takes the own agent's report and has the leader keep it.
    private func report(_ call: Call) throws(ClusterError) -> Document {
        let report = try call.body { document throws(DocumentError) in try NodeReport(document) }
        let node = try call.local.requireMember()
        let name = node.membership.name
        let number = ReportNumber(start: node.incarnation, count: node.nextReport())
        var request = LeaderRequest(
            .reportMember,
            Endpoint.reportMember.target(name),
            body: report.document.compactJSON
        )
        request.headers[Endpoint.Header.report.name] = number.text
        let receipt = try node.atLeader(request) { leader throws(ClusterError) in
            leader.reports.receipt(stored: try leader.reports.take(report, of: name, number: number))
        }.document(isChange: true)
        if report.verdict != .error, report.settings?.mapping == node.state.config.mapping {
            do {
                if try node.finishJoining() { call.local.announce() }
            } catch { throw ClusterError(any: error) }
        }
        return receipt
    }

    private func messages(_ call: Call) throws(ClusterError) -> Messages {
        Messages(node: try call.local.requireMember(), receivers: call.local.receivers)
    }

    /// Sends a message of the own agent.
    private func send(_ call: Call) throws(ClusterError) -> Document {
        let (name, text) = try call.body { body throws(DocumentError) in (try body.text("to"), try body.text("text")) }
        try messages(call).send(text, to: name)
        return [:]
    }

    /// Gives the own agent its messages, now or when there are some.
    private func takeMessages(_ call: Call) throws(ClusterError) {
        // Who went away while it waited loses what comes until then.
        let wait = Duration.seconds(min(try call.number(.wait) ?? 0, 5))
        try messages(call).receive(within: wait) { messages in
            let document: Document = [
                "schema": "fanmesh.messages/v1", "messages": .array(messages.map(\.document)),
            ]
            call.responder.respond(HTTPResponse(status: 200, document: document))
        }
    }

    private func leave(_ call: Call) throws(ClusterError) -> Document {
        let isForced = try call.body { body throws(DocumentError) in try body.optional("force") ?? false }
        let changes = try Leaving(local: call.local).run(isForced: isForced)
        return ["schema": "fanmesh.leave/v1", "changes": .array(changes.map { .string($0) })]
    }

    // MARK: the cluster

    private func remove(_ leader: Leadership, _ call: Call) throws(ClusterError) -> Document {
        guard call.isLeaving || call.member?.name != call.name else {
            throw ClusterError(
                .conflict,
                "'\(call.name)' is the member that this was asked on",
                remedy: "run: fanmesh leave"
            )
        }
        return try call.removal().remove(
            call.name,
            isForced: call.flag(.force),
            isLeaving: call.isLeaving,
            leader,
            key: call.key,
            call.changeRequest
        )
    }

    /// Answers a candidate.
    private func admit(_ call: Call, redeeming: Bool) throws(ClusterError) -> Document {
        guard let node = call.local.member else { throw .notAuthorized }
        guard case .remote(let source, let fingerprint) = call.request.peer else {
            throw ClusterError(.badRequest, "candidates come over the network; see 'fanmesh join'")
        }
        let admission = Admission(node: node)
        try admission.requireFewAttempts(from: source)
        // The shape of the answer says nothing about tokens.
        return try admission.admit(try call.candidate(fingerprint), from: source, redeeming: redeeming)
    }

    /// Takes a report that came over the API.
    private func receive(_ leader: Leadership, _ call: Call) throws(ClusterError) -> Document {
        if case .remote = call.request.peer, call.member?.name != call.name { throw .notAuthorized }
        guard call.request.body.count <= NodeReport.maximumBytes else {
            throw ClusterError(.tooLarge, "the report has \(call.request.body.count) bytes, at most 65536 are taken")
        }
        let report = try call.body { document throws(DocumentError) in try NodeReport(document) }
        let number = call.header(.report).flatMap { ReportNumber($0) }
        return leader.reports.receipt(stored: try leader.reports.take(report, of: call.name, number: number))
    }

    /// Makes a token and says what to do with it.
    private func issueToken(_ leader: Leadership, _ call: Call) throws(ClusterError) -> Document {
        let (name, expiry) = try call.body { body throws(DocumentError) in
            (try body.text("name"), try body.optionalInteger(.expiry, as: Int64.self).map { Duration.seconds($0) })
        }
        let (token, expiresAt) = try leader.tokens.add(
            name: name,
            expiry: expiry,
            cluster: try call.local.requireMember().certificates.withLock { $0.cluster },
            key: call.key,
            call.changeRequest
        )
        return [
            "schema": "fanmesh.token/v1",
            "name": .string(name),
            "token": .string(token.encoded),
            "expires_at": .string(Timestamp(secondsSince1970: expiresAt).description),
            "command": .string("fanmesh join \(token.encoded)"),
        ]
    }

    // MARK: members among themselves

    /// Takes a heartbeat; a server that does not lead says who does.
    private func hear(_ call: Call) throws(ClusterError) {
        let node = try call.local.requireMember()
        let heartbeat = try call.body { document throws(DocumentError) in try Heartbeat(document) }
        // A member speaks for itself alone, and what nobody is called is nobody's.
        guard call.member?.name == heartbeat.name else { throw .notAuthorized }
        if let term = heartbeat.term, let address = call.member?.address {
            node.link.search.note { $0.announced(address, term: term, at: $1) }
        }
        guard let leadership = node.leadership else {
            guard let leader = node.link.leader, leader != node.membership.address else {
                throw ClusterError(.notLeader, "'\(node.membership.name)' knows no leader")
            }
            call.responder.respond(
                HTTPResponse(
                    status: 200,
                    document: [
                        "schema": "fanmesh.heartbeat/v1", "generation": .number(heartbeat.generation),
                        "leader": .text(node.leaderName), "leader_address": .text(leader),
                    ]
                )
            )
            return
        }
        try leadership.hear(heartbeat, isAwaited: call.responder.isAwaited)
        leadership.answer(heartbeat) { outcome in
            switch outcome {
            case .success(let document): call.responder.respond(HTTPResponse(status: 200, document: document))
            case .failure(let error): call.responder.respond(error.response)
            }
        }
        if !leadership.roles.hasDatabaseNode(of: heartbeat.name) { node.roleSignal.raise() }
    }

    /// Takes a message for the own agent, in the name that its sender's certificate has.
    private func deliver(_ call: Call) throws(ClusterError) -> Document {
        let text = try call.body { body throws(DocumentError) in try body.text("text") }
        guard let sender = call.member else { throw .notAuthorized }
        try messages(call).take(AgentMessage(from: sender.name, text))
        return [:]
    }

    private func state(_ call: Call) throws(ClusterError) {
        let node = try call.local.requireMember()
        let body =
            node.leadership?.encodedState ?? node.state.document.compactJSON
        call.responder.respond(HTTPResponse(status: 200, headers: ["Content-Type": "application/json"], body: body))
    }

    /// Joins another member's connection with the database's own.
    private func openTunnel(_ call: Call) throws(ClusterError) {
        let node = try call.local.requireMember()
        guard case .remote(_, let fingerprint) = call.request.peer else { throw .notAuthorized }
        guard call.header(.cluster) == node.membership.clusterID else {
            throw ClusterError(.wrongCluster, "this is the database of another cluster")
        }
        guard call.header(.upgrade) == ClusterNode.databaseProtocol else {
            throw ClusterError(.badRequest, "this path wants 'Upgrade: \(ClusterNode.databaseProtocol)'")
        }
        let own: Int32
        do throws(DatabaseError) { own = try node.database.connectLocally() } catch { throw ClusterError(error) }
        call.responder.upgrade(to: ClusterNode.databaseProtocol) { [local = call.local] peer in
            node.tunnels.join(
                peer,
                own,
                of: fingerprint,
                judge: { message throws(PeerStream.Refusal) in try node.judge(message, from: fingerprint) },
                asked: { [database = node.database] in database.vote(for: $0) },
                refused: { [weak local] refusal in
                    guard let local, !refusal.isPassing,
                        local.refusals.withLock({ $0.take("tunnel \(fingerprint)", at: .now) }) == nil
                    else { return }
                    let name = node.state.members.first { $0.fingerprint == fingerprint }?.name ?? "a former member"
                    local.log.warning("tunnel-refused", "the database connection of '\(name)' was cut: \(refusal)")
                }
            )
        }
    }

    // MARK: the database

    /// Says what this node's own copy of the tables holds: the same digest for the same rows.
    private func dump(_ call: Call) throws(ClusterError) -> Document {
        let node = try call.local.requireMember()
        do {
            let text = Array(try node.database.copy(timeout: .seconds(10)).text().utf8)
            return [
                "schema": "fanmesh.dump/v1", "member": .string(node.membership.name),
                "digest": .string(sha256Hex(text)), "bytes": .number(text.count),
            ]
        } catch { throw ClusterError(any: error) }
    }
}

extension Call {
    /// The candidate that is meant, with the certificate that it came with; nil when a member sent it on.
    fileprivate func candidate(_ fingerprint: String?) throws(ClusterError) -> Candidate {
        try body { document throws(DocumentError) in try Candidate(document, fingerprint: fingerprint) }
    }

    fileprivate func rotation() throws(ClusterError) -> Rotation {
        Rotation(local: local, node: try local.requireMember())
    }

    fileprivate func removal() throws(ClusterError) -> Removal {
        Removal(local: local, node: try local.requireMember())
    }
}
