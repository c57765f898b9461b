internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Synchronization

extension Router {
    /// What answers an endpoint; the compiler sees to it that each has exactly one.
    func handler(of endpoint: Endpoint) -> Handler {
        switch endpoint {
        case .greet: .here(greeting)
        case .describe: .here { _ throws(APIError) in OpenAPI.document }
        case .watchLocal: .held(watch)
        case .reportLocal: .here(report)
        case .bootstrap: .here(server.bootstrap)
        case .rehearse: .here(server.rehearse)
        case .join: .here(server.join)
        case .leave: .here(server.leave)
        case .showCluster:
            .leader({ leader, _ throws(APIError) in
                leader.overview(fingerprint: try server.member().certificates.withLock { $0.cluster.fingerprint })
            })
        case .editCluster:
            .leader({ leader, call throws(APIError) in try leader.edit(try call.body(), call.changeRequest) })
        case .rotate: .leader({ leader, call throws(APIError) in try server.rotate(leader, call.changeRequest) })
        case .listMembers:
            .leader(
                { leader, _ throws(APIError) in leader.list().document },
                lastKnown: { node, error in node.lastKnown(error).document }
            )
        case .showMember: .leader({ leader, call throws(APIError) in try leader.show(call.name) })
        case .editMember:
            .leader({ leader, call throws(APIError) in
                try leader.edit(call.name, try call.body(), call.changeRequest)
            })
        case .removeMember: .leader({ leader, call throws(APIError) in try server.remove(call, leader) })
        case .reportMember: .leader(receive)
        case .addToken: .leader(issueToken)
        case .listTokens: .leader({ leader, _ throws(APIError) in try leader.tokens() })
        case .revokeToken:
            .leader({ leader, call throws(APIError) in try leader.revokeToken(call.name, call.changeRequest) })
        case .listAudit:
            .leader({ leader, call throws(APIError) in try leader.audit(limit: call.number(.limit) ?? 100) })
        case .dumpDatabase: .here(dump)
        case .knock: .here { call throws(APIError) in try server.admit(call, redeeming: false) }
        case .redeem: .here { call throws(APIError) in try server.admit(call, redeeming: true) }
        case .judge: .leader({ leader, call throws(APIError) in try leader.rehearse(try call.candidate()) })
        case .admit: .leader({ leader, call throws(APIError) in try leader.redeem(try call.candidate()) })
        case .heartbeat: .held(hear)
        case .ticket:
            .leader({ leader, _ throws(APIError) in
                ["schema": "fanmesh.ticket/v1", "ticket": .string(leader.ticket)]
            })
        case .state: .held(state)
        case .openDatabase: .held(openTunnel)
        case .takeCertificate: .here(server.takeCertificate)
        case .beRemoved: .here(server.beRemoved)
        }
    }

    // MARK: this node

    private func greeting(_ call: Call) -> Document {
        [
            "schema": "fanmesh.api/v1",
            "api": "1.0",
            "version": .string(FanmeshVersion.text),
            "schema_version": .number(Schema.version),
            "configured": .bool(server.isConfigured),
            "auth": .string(auth(call.request.peer)),
        ]
    }

    /// Who calls, in a word.
    private func auth(_ peer: HTTPPeer) -> String {
        guard case .remote(_, let fingerprint) = peer else { return "local" }
        return server.node?.isMember(fingerprint: fingerprint) ?? false ? "member" : "untrusted"
    }

    /// Answers with what is known of the cluster, now or when it changes.
    private func watch(_ call: Call) throws(APIError) {
        let known = try call.number(.generation)
        let agent = call.text(.agent)
        // An agent that died while it waited is missed only when its answer is due.
        let longest = agent == nil ? 60 : 5
        let wait = min(try call.number(.wait) ?? 0, longest)
        if let agent {
            guard agent.utf8.count == 32 else { throw APIError(.badRequest, "'agent' has not 32 hexadecimal digits") }
            let isNew = server.state.withLock { state in
                let isOther = state.agent?.nodeID != agent
                // Who waits for an agent is told when the same one comes back, too.
                let isNew = isOther || state.agent?.isThere != true
                state.agent = Server.Agent(
                    nodeID: agent,
                    watching: (isOther ? 0 : state.agent?.watching ?? 0) + 1,
                    seen: .now
                )
                return isNew
            }
            if isNew { server.announce() }
        }
        let version = server.state.withLock { $0.version }
        let respond: @Sendable () -> Void = { [server] in
            if agent != nil {
                server.state.withLock { state in
                    guard var watcher = state.agent else { return }
                    watcher.watching = max(0, watcher.watching - 1)
                    watcher.seen = .now
                    state.agent = watcher
                }
            }
            let snapshot = server.snapshot()
            // The membership is let go of while it stops: that is no leaving, and agents must not take it for that.
            guard !server.isStopping.withLock({ $0 }) else {
                call.responder.respond(APIError.unavailable("it is stopping").response)
                return
            }
            call.responder.respond(HTTPResponse(status: 200, document: snapshot.document))
        }
        let now = server.snapshot()
        guard wait > 0, known == now.generation else { return respond() }
        server.watchers.park(until: .now + .seconds(wait), respond)
        if server.state.withLock({ $0.version }) != version { server.watchers.wake() }
    }

    /// Takes the own agent's report and has the leader keep it.
    private func report(_ call: Call) throws(APIError) -> Document {
        let report = try call.body { document throws(DocumentError) in try NodeReport(document) }
        let node = try server.member()
        let name = node.membership.name
        let number = ReportNumber(start: node.incarnation, count: node.nextReport())
        var request = LeaderRequest(
            .reportMember,
            Endpoint.reportMember.target(name),
            body: report.document.compactJSON
        )
        request.headers[Endpoint.Header.report.name] = number.text
        let receipt = try node.atLeader(request) { leader throws(APIError) in
            leader.receipt(stored: try leader.take(report, of: name, number: number))
        }.document(isChange: true)
        if report.verdict != .error, report.mapping == node.state.config.mapping {
            do {
                if try node.finishJoining() { server.announce() }
            } catch { throw APIError(any: error) }
        }
        return receipt
    }

    /// Takes a report that came over the API.
    private func receive(_ leader: Leadership, _ call: Call) throws(APIError) -> Document {
        if case .remote = call.request.peer, call.member?.name != call.name { throw .notAuthorized }
        guard call.request.body.count <= NodeReport.maximumBytes else {
            throw APIError(.tooLarge, "the report has \(call.request.body.count) bytes, at most 65536 are taken")
        }
        let report = try call.body { document throws(DocumentError) in try NodeReport(document) }
        let number = call.header(.report).flatMap { ReportNumber($0) }
        return leader.receipt(stored: try leader.take(report, of: call.name, number: number))
    }

    /// Makes a token and says what to do with it.
    private func issueToken(_ leader: Leadership, _ call: Call) throws(APIError) -> Document {
        let (name, expiry) = try call.body { body throws(DocumentError) in
            (try body.text("name"), try body.optionalInteger(.expiry, as: Int64.self).map { Duration.seconds($0) })
        }
        let (token, expiresAt) = try leader.addToken(
            name: name,
            expiry: expiry,
            cluster: try server.member().certificates.withLock { $0.cluster },
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
    private func hear(_ call: Call) throws(APIError) {
        let node = try server.member()
        let heartbeat = try call.body { document throws(DocumentError) in try Heartbeat(document) }
        // A member speaks for itself alone, and what nobody is called is nobody's.
        guard call.member?.name == heartbeat.name else { throw .notAuthorized }
        if let term = heartbeat.term, let address = call.member?.address {
            node.link.search.note { $0.announced(address, term: term, at: $1) }
        }
        guard let leadership = node.leadership else {
            guard let leader = node.link.leader, leader != node.membership.address else {
                throw APIError(.notLeader, "'\(node.membership.name)' knows no leader")
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
        try leadership.hear(heartbeat)
        leadership.answer(heartbeat, with: call.responder)
        if !leadership.hasDatabaseNode(of: heartbeat.name) { node.roleBell.ring() }
    }

    private func state(_ call: Call) throws(APIError) {
        let node = try server.member()
        let body =
            node.leadership?.encodedState ?? node.state.document.compactJSON
        call.responder.respond(HTTPResponse(status: 200, json: body))
    }

    /// Joins another member's connection with the database's own.
    private func openTunnel(_ call: Call) throws(APIError) {
        let node = try server.member()
        guard case .remote(_, let fingerprint) = call.request.peer else { throw .notAuthorized }
        guard call.header(.cluster) == node.membership.clusterID else {
            throw APIError(.wrongCluster, "this is the database of another cluster")
        }
        guard call.header(.upgrade) == ClusterNode.databaseProtocol else {
            throw APIError(.badRequest, "this path wants 'Upgrade: \(ClusterNode.databaseProtocol)'")
        }
        let own: Int32
        do throws(DatabaseError) { own = try node.database.connectLocally() } catch { throw APIError(error) }
        call.responder.upgrade(to: ClusterNode.databaseProtocol) { [server] peer in
            node.tunnels.join(
                peer,
                own,
                of: fingerprint,
                judge: { message throws(PeerStream.Refusal) in try node.judge(message, from: fingerprint) },
                refused: { [weak server] refusal in
                    guard let server, !refusal.isPassing,
                        server.refusals.withLock({ $0.take("tunnel \(fingerprint)", at: .now) }) == nil
                    else { return }
                    let name = node.state.members.first { $0.fingerprint == fingerprint }?.name ?? "a former member"
                    server.log.warning("tunnel-refused", "the database connection of '\(name)' was cut: \(refusal)")
                }
            )
        }
    }

    // MARK: the database

    /// Says what this node's own copy of the tables holds: the same digest for the same rows.
    private func dump(_ call: Call) throws(APIError) -> Document {
        let node = try server.member()
        do {
            let text = Array(try node.database.copy(timeout: .seconds(10)).text().utf8)
            return [
                "schema": "fanmesh.dump/v1", "member": .string(node.membership.name),
                "digest": .string(sha256Hex(text)), "bytes": .number(text.count),
            ]
        } catch { throw APIError(any: error) }
    }
}
