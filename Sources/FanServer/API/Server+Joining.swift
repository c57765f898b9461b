internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanTLS
internal import Synchronization

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
            return try knock(application, .knock).0
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
                let (rehearsal, member) = try knock(application, .knock)
                try requirePassed(rehearsal)
                var applied = application
                applied.member = member
                let (admission, _) = try knock(applied, .redeem, first: member)
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
        _ endpoint: Endpoint,
        first: SocketAddress? = nil
    ) throws(APIError) -> (Document, SocketAddress) {
        var unreachable: [String] = []
        // Whether a member that did not answer may have made this node one all the same.
        var isInDoubt = false
        var candidate = application.candidate
        let isRedeeming = endpoint == .redeem
        // Under the same certificate the same answer is given by all, also to who did not get it the first time.
        let others = application.token.addresses.filter { $0 != first }
        for address in [first].compactMap(\.self) + others {
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
                let response: HTTPResponse
                do {
                    let body = candidate.document.compactJSON
                    response = try connection.request(
                        endpoint.method,
                        endpoint.target(),
                        body: body,
                        timeout: .seconds(15)
                    )
                } catch {
                    isInDoubt = isInDoubt || isRedeeming
                    connection.reset()
                    throw error
                }
                guard response.status < 300 else {
                    let refusal = APIError(from: response, of: address.description)
                    // Another member may know a leader when this one does not.
                    if refusal.code == .unknown { isInDoubt = isInDoubt || isRedeeming }
                    if [.noQuorum, .notLeader, .unavailable, .unknown].contains(refusal.code) {
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
        if isInDoubt {
            throw APIError(
                .unknown,
                "whether the cluster took '\(candidate.name)' in is not known: \(unreachable.joined(separator: "; "))",
                remedy: "see 'fanmesh cluster list' on a member: if '\(candidate.name)' is there, run 'fanmesh cluster "
                    + "remove \(candidate.name) --force' and get a new token; if not, repeat the join"
            )
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
                id: try admission.integer(.id),
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
            let request = LeaderRequest.leaving(application.candidate.name)
            _ = try connection.request(request.endpoint.method, request.target, timeout: .seconds(5))
        } catch { log.warning("not-undone", "\(error)") }
    }
}
