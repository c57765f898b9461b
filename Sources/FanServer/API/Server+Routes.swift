internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Synchronization

extension Server {
    /// The whole API.
    static let routes: [Route] = [
        Route("GET", "/1.0", .anyone, .here { call throws(APIError) in call.server.greeting(call) }),
        Route("GET", "/1.0/openapi.json", .members, .here { _ throws(APIError) in OpenAPI.document }),

        // This node.
        Route("GET", "/1.0/local", .local, .held { call throws(APIError) in try call.server.watch(call) }),
        Route("PUT", "/1.0/local/report", .local, .here { call throws(APIError) in try call.server.report(call) }),
        Route("POST", "/1.0/init", .local, .here { call throws(APIError) in try call.server.bootstrap(call) }),
        Route("POST", "/1.0/rehearse", .local, .here { call throws(APIError) in try call.server.rehearse(call) }),
        Route("POST", "/1.0/join", .local, .here { call throws(APIError) in try call.server.join(call) }),
        Route("POST", "/1.0/leave", .local, .here { call throws(APIError) in try call.server.leave(call) }),

        // The cluster.
        Route(
            "GET",
            "/1.0/cluster",
            .members,
            .leader { leader, call throws(APIError) in
                try leader.overview(call)
            }
        ),
        Route(
            "PATCH",
            "/1.0/cluster",
            .members,
            .change(
                .settings,
                { leader, call throws(APIError) in
                    try leader.edit(try call.body(), call.changeRequest)
                }
            )
        ),
        Route(
            "POST",
            "/1.0/cluster/rotate",
            .members,
            .change(
                .rotation,
                { leader, call throws(APIError) in
                    try call.server.rotate(leader, call.changeRequest)
                }
            )
        ),
        Route("GET", "/1.0/members", .members, .held { call throws(APIError) in try call.server.members(call) }),
        Route(
            "GET",
            "/1.0/members/*",
            .members,
            .leader { leader, call throws(APIError) in
                try leader.show(call.name)
            }
        ),
        Route(
            "PATCH",
            "/1.0/members/*",
            .members,
            .change(
                .member,
                { leader, call throws(APIError) in
                    try leader.edit(call.name, try call.body(), call.changeRequest)
                }
            )
        ),
        Route(
            "PUT",
            "/1.0/members/*/report",
            .members,
            .leader { leader, call throws(APIError) in
                try leader.receive(call)
            }
        ),
        Route(
            "DELETE",
            "/1.0/members/*",
            .members,
            .change(
                .removal,
                { leader, call throws(APIError) in
                    try call.server.remove(call, leader)
                }
            )
        ),
        Route(
            "POST",
            "/1.0/tokens",
            .members,
            .change(
                .token,
                { leader, call throws(APIError) in
                    try leader.issueToken(call)
                }
            )
        ),
        Route("GET", "/1.0/tokens", .members, .leader { leader, _ throws(APIError) in try leader.tokens() }),
        Route(
            "DELETE",
            "/1.0/tokens/*",
            .members,
            .change(
                .token,
                { leader, call throws(APIError) in
                    try leader.revokeToken(call.name, call.changeRequest)
                }
            )
        ),
        Route("GET", "/1.0/audit", .members, .leader { leader, call throws(APIError) in try leader.audit(call) }),
        Route("GET", "/1.0/database/dump", .members, .here { call throws(APIError) in try call.server.dump(call) }),

        // Candidates: whoever has the secret of a token.
        Route(
            "POST",
            "/1.0/join/rehearsal",
            .anyone,
            .here { call throws(APIError) in
                try call.server.admit(call, redeeming: false)
            }
        ),
        Route(
            "POST",
            "/1.0/join/redemption",
            .anyone,
            .here { call throws(APIError) in
                try call.server.admit(call, redeeming: true)
            }
        ),

        // Members among themselves.
        Route(
            "POST",
            "/1.0/internal/rehearsal",
            .peers,
            .leader { leader, call throws(APIError) in
                try leader.rehearse(try call.candidate())
            }
        ),
        Route(
            "POST",
            "/1.0/internal/redemption",
            .peers,
            .leader { leader, call throws(APIError) in
                try leader.redeem(try call.candidate())
            }
        ),
        Route(
            "POST",
            "/1.0/internal/heartbeat",
            .peers,
            .held { call throws(APIError) in
                try call.server.hear(call)
            }
        ),
        Route(
            "GET",
            "/1.0/internal/ticket",
            .peers,
            .leader { leader, _ throws(APIError) in
                ["schema": "fanmesh.ticket/v1", "ticket": .string(leader.ticket)]
            }
        ),
        Route("GET", "/1.0/internal/state", .peers, .held { call throws(APIError) in try call.server.state(call) }),
        Route(
            "GET",
            "/1.0/internal/database",
            .peers,
            .held { call throws(APIError) in
                try call.server.openTunnel(call)
            }
        ),
        Route(
            "POST",
            "/1.0/internal/certificate",
            .peers,
            .here { call throws(APIError) in
                try call.server.takeCertificate(call)
            }
        ),
        Route(
            "POST",
            "/1.0/internal/removed",
            .peers,
            .here { call throws(APIError) in
                try call.server.beRemoved(call)
            }
        ),
    ]

    // MARK: this node

    private func greeting(_ call: Call) -> Document {
        [
            "schema": "fanmesh.api/v1",
            "api": "1.0",
            "version": .string(FanmeshVersion.text),
            "schema_version": .number(Schema.version),
            "configured": .bool(isConfigured),
            "auth": .string(auth(call).rawValue),
        ]
    }

    /// Whether this node is in a cluster, also while its server starts or stops.
    private var isConfigured: Bool {
        switch standing {
        case .member, .failed: true
        case .unconfigured: false
        case .starting, .changing, .stopping: (try? directory.membership()) != nil
        }
    }

    /// Answers with what is known of the cluster, now or when it changes.
    private func watch(_ call: Call) throws(APIError) {
        let known: Int? = try call.number(.generation)
        let agent = call.request.query["agent"]
        // An agent that died while it waited is missed only when its answer is due.
        let longest = agent == nil ? 60 : 5
        let wait = min(try call.number(.wait) ?? 0, longest)
        if let agent {
            guard agent.utf8.count == 32 else { throw APIError(.badRequest, "'agent' has not 32 hexadecimal digits") }
            let isNew = state.withLock { state in
                let isOther = state.agent?.nodeID != agent
                // Who waits for an agent is told when the same one comes back, too.
                let isNew = isOther || state.agent?.isThere != true
                state.agent = Agent(
                    nodeID: agent,
                    watching: (isOther ? 0 : state.agent?.watching ?? 0) + 1,
                    seen: .now
                )
                return isNew
            }
            if isNew { announce() }
        }
        let version = state.withLock { $0.version }
        let respond: @Sendable () -> Void = { [self] in
            if agent != nil {
                state.withLock { state in
                    guard var watcher = state.agent else { return }
                    watcher.watching = max(0, watcher.watching - 1)
                    watcher.seen = .now
                    state.agent = watcher
                }
            }
            let snapshot = snapshot()
            // The membership is let go of while it stops: that is no leaving, and agents must not take it for that.
            guard !isStopping.withLock({ $0 }) else {
                call.responder.respond(APIError.unavailable("it is stopping").response)
                return
            }
            call.responder.respond(HTTPResponse(status: 200, document: snapshot.document))
        }
        let now = snapshot()
        guard wait > 0, known == now.generation else { return respond() }
        watchers.park(until: .now + .seconds(wait), respond)
        if state.withLock({ $0.version }) != version { watchers.wake() }
    }

    /// Takes the own agent's report and has the leader keep it.
    private func report(_ call: Call) throws(APIError) -> Document {
        let report: NodeReport
        do { report = try NodeReport(try call.body()) } catch { throw APIError(any: error) }
        let node = try member()
        let number = ReportNumber(start: node.incarnation, count: node.nextReport())
        let receipt = try node.atLeader(
            "PUT",
            "/1.0/members/\(node.membership.name)/report",
            report.document.compactJSON,
            headers: [ReportNumber.header: number.text]
        ) { leader throws(APIError) in
            try leader.receipt(stored: leader.take(report, of: node.membership.name, number: number))
        }
        if report.verdict != .error, report.mapping == node.state.config.mapping {
            do {
                if try node.finishJoining() { announce() }
            } catch { throw APIError(any: error) }
        }
        return receipt
    }

    // MARK: members among themselves

    /// Takes a heartbeat; a server that does not lead says who does.
    private func hear(_ call: Call) throws(APIError) {
        let node = try member()
        let heartbeat: Heartbeat
        do { heartbeat = try Heartbeat(try call.body()) } catch { throw APIError(any: error) }
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
        let node = try member()
        let body =
            node.leadership?.encodedState ?? node.state.document.compactJSON
        call.responder.respond(HTTPResponse(status: 200, json: body))
    }

    /// Joins another member's connection with the database's own.
    private func openTunnel(_ call: Call) throws(APIError) {
        let node = try member()
        guard case .remote(_, let fingerprint) = call.request.peer else { throw .notAuthorized }
        guard call.request.headers["Fanmesh-Cluster"] == node.membership.clusterID else {
            throw APIError(.wrongCluster, "this is the database of another cluster")
        }
        guard call.request.headers["Upgrade"] == ClusterNode.databaseProtocol else {
            throw APIError(.badRequest, "this path wants 'Upgrade: \(ClusterNode.databaseProtocol)'")
        }
        let own: Int32
        do throws(DatabaseError) { own = try node.database.connectLocally() } catch { throw APIError(error) }
        call.responder.upgrade(to: ClusterNode.databaseProtocol) { [self] peer in
            node.tunnels.join(
                peer,
                own,
                of: fingerprint,
                judge: { message throws(PeerStream.Refusal) in try node.judge(message, from: fingerprint) },
                refused: { [weak self] refusal in
                    guard let self, !refusal.isPassing,
                        refusals.withLock({ $0.take("tunnel \(fingerprint)", at: .now) }) == nil
                    else {
                        return
                    }
                    let name = node.state.members.first { $0.fingerprint == fingerprint }?.name ?? "a former member"
                    log.warning("tunnel-refused", "the database connection of '\(name)' was cut: \(refusal)")
                }
            )
        }
    }

    // MARK: the database

    /// Says what this node's own copy of the tables holds: the same digest for the same rows.
    private func dump(_ call: Call) throws(APIError) -> Document {
        let node = try member()
        do {
            let text = Array(try node.database.copy(timeout: .seconds(10)).text().utf8)
            return [
                "schema": "fanmesh.dump/v1", "member": .string(node.membership.name),
                "digest": .string(sha256Hex(text)), "bytes": .number(text.count),
            ]
        } catch { throw APIError(any: error) }
    }
}

extension ClusterNode {
    /// Runs at the leader: here when this node leads, else over there.
    func atLeader(
        _ method: String,
        _ target: String,
        _ body: [UInt8]?,
        headers: HTTPHeaders = [:],
        _ here: (Leadership) throws(APIError) -> Document
    ) throws(APIError) -> Document {
        if let leadership { return try here(leadership) }
        var headers = headers
        headers["Fanmesh-Forwarded"] = "1"
        if let response = try link.forward(method, target, body, headers: headers, unless: { leadership != nil }) {
            guard response.status < 300 else { throw APIError(from: response, of: "the leader") }
            do throws(HTTPError) { return try response.document() } catch { throw APIError(.failed, "\(error)") }
        }
        guard let leadership else { throw .noQuorum("the leadership changed while it was asked") }
        return try here(leadership)
    }
}

extension ClusterNode {
    /// Judges what another member says to this node's database: it speaks for its own database node alone.
    func judge(_ message: PeerStream.Message, from fingerprint: String) throws(PeerStream.Refusal) {
        guard let member = state.members.first(where: { $0.fingerprint == fingerprint }) else {
            throw PeerStream.Refusal("its certificate is no member's")
        }
        switch message {
        case .connect(let id, let address):
            guard id == member.id, address == member.address.description else {
                throw PeerStream.Refusal("it says that it is node \(id) at \(address.prefix(64).debugDescription)")
            }
        case .raft(let kind, let term): try judge(kind, term: term, of: member)
        }
    }
}
