internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Synchronization

extension Call {
    /// The candidate that a member sent on.
    func candidate() throws(APIError) -> Candidate {
        do { return try Candidate(try body(), fingerprint: nil) } catch {
            throw APIError(any: error)
        }
    }
}

// MARK: a new cluster

extension Server {
    /// Makes a cluster of this one node.
    func bootstrap(_ call: Call) throws(APIError) -> Document {
        let body = try call.body()
        return try exclusively { () throws(APIError) in
            try requireUnconfigured()
            let nodeID = try agentNodeID()
            let (config, member, identity) = try firstMember(body, nodeID: nodeID)
            do {
                let cluster = try Identity.generate(commonName: "fanmesh-cluster")
                let first = ClusterState(generation: 0, config: config, members: [member])
                try directory.forgetCluster()
                try directory.save(identity, as: .node)
                try directory.save(cluster, as: .cluster)
                try directory.save(first)
                let membership = Membership(
                    clusterID: config.clusterID,
                    id: 1,
                    name: member.name,
                    address: member.address,
                    isJoining: true
                )
                presented.withLock { $0 = cluster }
                try listen(on: member.address)
                try directory.save(membership)
                try begin(membership, identity, ClusterNode.Certificates(cluster: cluster), first, first: first)
                try requireLeader(within: .seconds(20))
            } catch {
                do { try forget() } catch { log.error("not-forgotten", "\(error)") }
                throw APIError(any: error)
            }
            log.notice("bootstrapped", "'\(member.name)' at \(member.address) is a new cluster")
            return snapshot().document
        }
    }

    private func firstMember(
        _ body: Document,
        nodeID: String
    ) throws(APIError) -> (ClusterConfig, Member, Identity) {
        do {
            let name = try body.parsed("name", checkedLabel)
            let address = try body.parsed("address") { try SocketAddress(parsing: $0) }
            let underlayAddress =
                try body.optionalParsed("underlay_address") { try IPv4Address(parsing: $0) } ?? address.address
            guard case .object(let fields) = body else { throw APIError(.badRequest, "the body is no object") }
            var known = fields.filter { $0.key != "cluster_id" }
            known.append(Document.Field(key: "cluster_id", value: .string(hexadecimal(randomBytes(16)))))
            let config = try ClusterConfig(.object(known))
            try config.validate()
            do throws(FanMappingError) { _ = try config.mapping.slice(of: underlayAddress) } catch {
                throw APIError(
                    .badRequest,
                    "\(error)",
                    remedy: "choose the underlay that contains \(underlayAddress), or another --address"
                )
            }
            let identity = try Identity.generate(commonName: name)
            let member = Member(
                id: 1,
                name: name,
                nodeID: nodeID,
                address: address,
                underlayAddress: underlayAddress,
                fingerprint: identity.fingerprint,
                failureDomain: try body.optionalParsed("failure_domain", checkedLabel) ?? "default",
                version: FanmeshVersion.text,
                schema: Schema.version,
                joinedAt: wallClockMilliseconds() / 1000
            )
            return (config, member, identity)
        } catch { throw APIError(any: error) }
    }

    /// Waits until this node leads its database.
    private func requireLeader(within time: Duration) throws(APIError) {
        let deadline = ContinuousClock.now + time
        while ContinuousClock.now < deadline {
            if state.withLock({ $0.node })?.leadership != nil { return }
            sleepThread(for: .milliseconds(5))
        }
        throw APIError(.timeout, "the database did not start within \(time.wholeSeconds) s")
    }

    private func requireUnconfigured() throws(APIError) {
        let current = state.withLock { ($0.node, $0.failure) }
        guard current.0 == nil, current.1 == nil else {
            let name = current.0.map { "'\($0.membership.name)', a member" } ?? "a member whose server cannot start"
            throw APIError(
                .alreadyConfigured,
                "this node is \(name) of a cluster already",
                remedy: "to leave it: fanmesh leave"
            )
        }
    }

    /// The identity of the agent on this node.
    private func agentNodeID() throws(APIError) -> String {
        guard snapshot().hasAgent, let agent = state.withLock({ $0.agent }) else {
            throw APIError(
                .agentMissing,
                "the agent of this node is not running",
                remedy: "start it first: systemctl start fanmesh-agent"
            )
        }
        return agent.nodeID
    }
}

// MARK: joining

extension Server {
    /// What a joining node brings with it, and where it knocks.
    private struct Application {
        var token: JoinToken
        var candidate: Candidate
        var identity: Identity
        var member: SocketAddress
    }

    /// Finds out whether this node could join; nothing is kept on either side.
    func rehearse(_ call: Call) throws(APIError) -> Document {
        let body = try call.body()
        return try exclusively { () throws(APIError) in
            try requireUnconfigured()
            let application = try apply(body)
            defer { closeDoor() }
            try openDoor(application)
            return try knock(application, "/1.0/join/rehearsal").0
        }
    }

    /// Joins: rehearses, redeems the token, and starts to work as a member.
    func join(_ call: Call) throws(APIError) -> Document {
        let body = try call.body()
        return try exclusively { () throws(APIError) in
            try requireUnconfigured()
            let application = try apply(body)
            do throws(APIError) {
                try openDoor(application)
                let (rehearsal, member) = try knock(application, "/1.0/join/rehearsal")
                try requirePassed(rehearsal)
                var applied = application
                applied.member = member
                let (admission, _) = try knock(applied, "/1.0/join/redemption", only: member)
                try settle(applied, admission)
            } catch {
                closeDoor()
                throw error
            }
            log.notice("joined", "'\(application.candidate.name)' is a member now")
            return snapshot().document
        }
    }

    private func apply(_ body: Document) throws(APIError) -> Application {
        let nodeID = try agentNodeID()
        do {
            let token: JoinToken
            do { token = try JoinToken(parsing: body.text("token")) } catch let error as TokenError {
                throw APIError(
                    .tokenMalformed,
                    "\(error)",
                    remedy: "copy the whole token that 'fanmesh cluster add NAME' printed"
                )
            }
            let name = try body.optionalText("name") ?? token.serverName
            guard name == token.serverName else {
                throw APIError(
                    .conflict,
                    "the token is for '\(token.serverName)', not for '\(name)'",
                    remedy: "leave --name out, or get a token: fanmesh cluster add \(name)"
                )
            }
            guard let first = token.addresses.first else {
                throw APIError(.tokenMalformed, "the token names no address")
            }
            let address = try body.parsed("address") { try SocketAddress(parsing: $0) }
            let identity = try Identity.generate(commonName: name)
            let candidate = Candidate(
                name: name,
                secret: token.secret,
                nodeID: nodeID,
                address: address,
                underlayAddress: try body.optionalParsed("underlay_address") { try IPv4Address(parsing: $0) }
                    ?? address.address,
                fingerprint: identity.fingerprint,
                failureDomain: try body.optionalParsed("failure_domain", checkedLabel) ?? "default",
                version: FanmeshVersion.text,
                schema: Schema.version,
                clock: wallClockMilliseconds()
            )
            return Application(token: token, candidate: candidate, identity: identity, member: first)
        } catch { throw APIError(any: error) }
    }

    /// Opens the own port, so that the cluster can try the way back.
    private func openDoor(_ application: Application) throws(APIError) {
        presented.withLock { $0 = application.identity }
        do { try listen(on: application.candidate.address) } catch { throw APIError(any: error) }
    }

    private func closeDoor() {
        let listener = state.withLock { state in
            defer { state.listener = nil }
            return state.listener
        }
        listener?.stop()
        presented.withLock { $0 = nil }
    }

    /// Asks the members of the token one after the other.
    ///
    /// The certificate is checked in the handshake, before the secret leaves this node.
    private func knock(
        _ application: Application,
        _ path: String,
        only: SocketAddress? = nil
    ) throws(APIError) -> (Document, SocketAddress) {
        var unreachable: [String] = []
        var candidate = application.candidate
        for address in only.map({ [$0] }) ?? application.token.addresses {
            candidate.clock = wallClockMilliseconds()
            do {
                let connection = try HTTPConnection.tls(
                    to: address,
                    from: candidate.address.address,
                    identity: application.identity,
                    trusting: [application.token.fingerprint],
                    timeout: .seconds(5)
                )
                defer { connection.close() }
                let response = try connection.request(
                    "POST",
                    path,
                    body: candidate.document.compactJSON,
                    timeout: .seconds(15)
                )
                guard response.status < 300 else {
                    let refusal = APIError(from: response, of: address.description)
                    // Another member may know a leader when this one does not.
                    if refusal.code == .noQuorum || refusal.code == .notLeader {
                        unreachable.append("\(address): \(refusal.message)")
                        continue
                    }
                    throw joinerError(refusal, candidate)
                }
                return (try response.document(), address)
            } catch let error as HTTPError {
                if case .pinMismatch = error.reason {
                    throw APIError(
                        .wrongCluster,
                        "the server at \(address) is not the cluster of the token: \(error)",
                        remedy: "nothing was sent to it; get a new token if the certificate was rotated, or find out "
                            + "who answers at \(address)"
                    )
                }
                unreachable.append("\(error)")
            } catch { throw APIError(any: error) }
        }
        throw APIError(
            .timeout,
            "no member of the token can be reached from \(candidate.address.address): "
                + unreachable.joined(separator: "; "),
            remedy: "allow TCP \(application.member.port) between the hosts, in both directions"
        )
    }

    /// A refusal as the joiner should read it.
    private func joinerError(_ refusal: APIError, _ candidate: Candidate) -> APIError {
        guard refusal.code == .notAuthorized else { return refusal }
        return APIError(
            .tokenUnknown,
            "the cluster does not know the token for '\(candidate.name)'",
            remedy: "get a new one on a member: fanmesh cluster add \(candidate.name)"
        )
    }

    private func requirePassed(_ rehearsal: Document) throws(APIError) {
        do {
            let failed = try rehearsal.list("checks").filter { try $0.text("result") == "fail" }
            guard let first = failed.first else { return }
            throw APIError(.rehearsalFailed, try first.text("detail"), remedy: try first.text("remedy"))
        } catch { throw APIError(any: error) }
    }

    /// Keeps the membership and begins to work; the token is used up by now.
    private func settle(_ application: Application, _ admission: Document) throws(APIError) {
        do {
            guard let object = try admission.optionalObject("state") else {
                throw DocumentError(path: "state", problem: "is missing")
            }
            let known = try ClusterState(object)
            let cluster = try Identity(
                certificatePEM: admission.text("cluster_certificate"),
                keyPEM: admission.text("cluster_key")
            )
            let membership = Membership(
                clusterID: known.config.clusterID,
                id: try admission.integer("id"),
                name: application.candidate.name,
                address: application.candidate.address,
                isJoining: true
            )
            try directory.forgetCluster()
            try directory.save(application.identity, as: .node)
            try directory.save(cluster, as: .cluster)
            try directory.save(known)
            try directory.save(membership)
            try begin(
                membership,
                application.identity,
                ClusterNode.Certificates(cluster: cluster),
                known,
                first: nil
            )
        } catch {
            let cause = APIError(any: error)
            undoAdmission(application)
            do { try forget() } catch { log.error("not-forgotten", "\(error)") }
            throw APIError(
                cause.code,
                "\(cause.message); the token is used up",
                remedy: "mend that, then get a new token: fanmesh cluster add \(application.candidate.name)"
            )
        }
    }

    /// Takes the membership back that a failed join has got.
    private func undoAdmission(_ application: Application) {
        do throws(HTTPError) {
            let connection = try HTTPConnection.tls(
                to: application.member,
                from: application.candidate.address.address,
                identity: application.identity,
                trusting: [application.token.fingerprint],
                timeout: .seconds(5)
            )
            _ = try connection.request(
                "DELETE",
                "/1.0/members/\(application.candidate.name)?leaving=1",
                timeout: .seconds(5)
            )
        } catch { log.warning("not-undone", "\(error)") }
    }

    // MARK: the cluster's side

    /// Answers a candidate: the leader judges, this member tries the way back and hands the certificate over.
    func admit(_ call: Call, redeeming: Bool) throws(APIError) -> Document {
        guard let node = state.withLock({ $0.node }) else { throw .notAuthorized }
        guard case .remote(let source, let fingerprint) = call.request.peer else {
            throw APIError(.badRequest, "candidates come over the network; see 'fanmesh join'")
        }
        let host = String(source.prefix { $0 != ":" })
        if let wait = attempts.withLock({ $0.take(host, at: .now) }) {
            log.warning("rate-limited", "\(source) tries tokens too often")
            let seconds = wait.wholeSeconds + 1
            throw APIError(.rateLimited, "too many attempts", remedy: "try again in \(seconds) s")
        }
        let candidate: Candidate
        do { candidate = try Candidate(try call.body(), fingerprint: fingerprint) } catch {
            // The shape of the answer says nothing about tokens.
            throw APIError(any: error)
        }
        do throws(APIError) {
            var answer = try node.atLeader(
                "POST",
                redeeming ? "/1.0/internal/redemption" : "/1.0/internal/rehearsal",
                candidate.document.compactJSON
            ) { leader throws(APIError) in
                redeeming ? try leader.redeem(candidate) : try leader.rehearse(candidate)
            }
            guard case .object(var fields) = answer else { throw APIError(.failed, "the leader's answer is no object") }
            if redeeming {
                let cluster = node.certificates.withLock { $0.cluster }
                fields.append(Document.Field(key: "cluster_certificate", value: .string(cluster.certificatePEM)))
                fields.append(Document.Field(key: "cluster_key", value: .string(cluster.keyPEM)))
                log.notice("admitted", "'\(candidate.name)' at \(candidate.address) is a member now")
            } else if let index = fields.firstIndex(where: { $0.key == "checks" }),
                case .array(let checks) = fields[index].value
            {
                fields[index].value = .array(checks + [wayBack(candidate, node).document])
            }
            answer = .object(fields)
            return answer
        } catch {
            if error.code == .notAuthorized {
                log.warning("token-refused", "\(source) came with a token that nobody knows")
            }
            throw error
        }
    }

    /// Tries the candidate's port, as the other members will have to.
    private func wayBack(_ candidate: Candidate, _ node: ClusterNode) -> HostCheck {
        do throws(HTTPError) {
            let connection = try HTTPConnection.tls(
                to: candidate.address,
                from: node.membership.address.address,
                identity: node.nodeIdentity,
                trusting: [candidate.fingerprint],
                timeout: .seconds(3)
            )
            connection.close()
            return HostCheck(
                check: "tcp-back",
                result: .ok,
                detail: "'\(node.membership.name)' reaches \(candidate.address)",
                remedy: ""
            )
        } catch {
            return HostCheck(
                check: "tcp-back",
                result: .fail,
                detail: "'\(node.membership.name)' cannot reach '\(candidate.name)' at \(candidate.address): \(error)",
                remedy: "allow TCP \(candidate.address.port) from \(node.membership.address.address) to "
                    + "\(candidate.address.address)"
            )
        }
    }

    // MARK: leaving

    /// Leaves the cluster, handing over first; or forgets it by force.
    func leave(_ call: Call) throws(APIError) -> Document {
        let isForced: Bool
        do { isForced = try call.body().optionalFlag("force") ?? false } catch { throw APIError(any: error) }
        return try exclusively { () throws(APIError) in
            let current = state.withLock { ($0.node, $0.failure) }
            guard current.0 != nil || current.1 != nil else { throw .notConfigured }
            var changes: [String] = []
            if let node = current.0 {
                do throws(APIError) {
                    // Whom the cluster refuses has nothing to hand in.
                    if isForced, let refusal = node.refusal { throw refusal }
                    changes += try handIn(node, patience: isForced ? .seconds(5) : .seconds(20))
                } catch {
                    guard isForced else { throw error }
                    changes.append("the cluster was not told: \(error.message)")
                }
            } else if !isForced {
                throw APIError(
                    .failed,
                    "this node's server could not start: \(current.1 ?? "")",
                    remedy: "fanmesh leave --force here, and fanmesh cluster remove NAME --force on another member"
                )
            }
            do { try forget() } catch { throw APIError(any: error) }
            changes.append("the certificates and the database of this node are removed")
            return ["schema": "fanmesh.leave/v1", "changes": .array(changes.map { .string($0) })]
        }
    }

    /// Hands the roles over and the membership in.
    private func handIn(_ node: ClusterNode, patience: Duration) throws(APIError) -> [String] {
        var changes: [String] = []
        let name = node.membership.name
        guard node.state.members.count > 1 else { return ["the cluster had no other member, and ends"] }
        let deadline = ContinuousClock.now + patience
        while true {
            if let leadership = node.leadership {
                do {
                    let client = try DatabaseClient(descriptor: node.database.connectLocally(), timeout: .seconds(10))
                    guard let heir = try leadership.handOver(client) else {
                        throw APIError.noQuorum("there is no other member online that could lead")
                    }
                    changes.append("'\(heir)' leads the database")
                } catch { throw APIError(any: error) }
                node.watchBell.ring()
            }
            do throws(APIError) {
                let response = try node.link.forward(
                    "DELETE",
                    "/1.0/members/\(name)?leaving=1",
                    nil,
                    unless: {
                        node.leadership != nil
                    }
                )
                if let response {
                    let isGone = response.status < 300 || response.status == 404 || response.status == 403
                    guard isGone else { throw APIError(from: response, of: "the leader") }
                    changes.append("'\(name)' is no member any more")
                    return changes
                }
            } catch {
                guard ContinuousClock.now < deadline, error.code == .noQuorum || error.code == .conflict else {
                    throw error
                }
            }
            guard ContinuousClock.now < deadline else {
                throw .noQuorum("the leadership could not be handed over within \(patience.components.seconds) s")
            }
            sleepThread(for: .milliseconds(50))
        }
    }
}
