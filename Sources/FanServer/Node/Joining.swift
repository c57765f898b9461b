internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// `join` and its rehearsal: how this node becomes a member with a token.
struct Joining {
    let local: LocalNode

    /// What a joining node brings with it, and whom it asks.
    private struct Application {
        var token: JoinToken
        var candidate: Candidate
        var identity: Identity
        var member: SocketAddress
        let transport: Transport

        /// Connects with its own certificate to a server that has the token's.
        func connect(to address: SocketAddress) throws(HTTPError) -> HTTPConnection {
            try transport.connect(address, candidate.address.address, identity, [token.fingerprint], .seconds(5))
        }

        var request: AdmissionRequest {
            AdmissionRequest(token: token, candidate: candidate) {
                address,
                endpoint,
                candidate,
                wasSent throws(HTTPError) in
                let connection = try connect(to: address)
                defer { connection.close() }
                do throws(HTTPError) {
                    let body = candidate.document.compactJSON
                    let target = endpoint.target()
                    return try connection.request(endpoint.method, target, body: body, timeout: .seconds(15))
                } catch {
                    wasSent = true
                    connection.reset()
                    throw error
                }
            }
        }
    }

    /// Finds out whether this node could join; nothing is kept on either side.
    func rehearse(_ body: Document) throws(ClusterError) -> Document {
        try local.exclusively { () throws(ClusterError) in
            try local.requireUnconfigured()
            let application = try apply(body)
            defer { closeListener() }
            try openListener(application)
            return try application.request.send(.askAdmission).0
        }
    }

    /// Joins: rehearses, redeems the token, and starts to work as a member.
    func join(_ body: Document) throws(ClusterError) {
        try local.exclusively { () throws(ClusterError) in
            try local.requireUnconfigured()
            let application = try apply(body)
            do throws(ClusterError) {
                try openListener(application)
                let (rehearsal, member) = try application.request.send(.askAdmission)
                try requirePassed(rehearsal)
                var applied = application
                applied.member = member
                let (admission, _) = try applied.request.send(.redeem, first: member)
                try settle(applied, admission)
            } catch {
                closeListener()
                throw error
            }
            local.log.notice("joined", "'\(application.candidate.name)' is a member now")
        }
    }

    private func apply(_ body: Document) throws(ClusterError) -> Application {
        let nodeID = try local.agentNodeID()
        do {
            let request = try JoinRequest(body)
            let token: JoinToken
            do throws(TokenError) { token = try JoinToken(parsing: request.token) } catch {
                throw ClusterError(
                    .tokenMalformed,
                    "\(error)",
                    remedy: "copy the whole token that 'fanmesh cluster add NAME' printed"
                )
            }
            let name = request.name ?? token.serverName
            guard name == token.serverName else {
                throw ClusterError(
                    .conflict,
                    "the token is for '\(token.serverName)', not for '\(name)'",
                    remedy: "leave --name out, or get a token: fanmesh cluster add \(name)"
                )
            }
            guard let first = token.addresses.first else {
                throw ClusterError(.tokenMalformed, "the token names no address")
            }
            let identity = try Identity.generate(commonName: name)
            let candidate = Candidate(
                request,
                name: name,
                secret: token.secret,
                nodeID: nodeID,
                fingerprint: identity.fingerprint,
                schema: Schema.version,
                clock: wallClockMilliseconds()
            )
            return Application(
                token: token,
                candidate: candidate,
                identity: identity,
                member: first,
                transport: local.transport
            )
        } catch { throw ClusterError(any: error) }
    }

    /// Opens the own port, so that the cluster can try the way back.
    private func openListener(_ application: Application) throws(ClusterError) {
        do { try local.listen(on: application.candidate.address, as: application.identity) } catch {
            throw ClusterError(any: error)
        }
    }

    private func closeListener() {
        local.closePort()
        local.present(nil)
    }

    private func requirePassed(_ rehearsal: Document) throws(ClusterError) {
        do {
            let failed = try rehearsal.list("checks").filter { try $0.text("result") == "fail" }
            guard let first = failed.first else { return }
            throw ClusterError(.rehearsalFailed, try first.text("detail"), remedy: try first.text("remedy"))
        } catch { throw ClusterError(any: error) }
    }

    /// Keeps the membership and begins to work; the token is used up by now.
    private func settle(_ application: Application, _ admission: Document) throws(ClusterError) {
        do {
            let known: ClusterState = try admission.value("state")
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
            try local.directory.forgetCluster()
            try local.directory.save(application.identity, as: .node)
            try local.directory.save(cluster, as: .cluster)
            try local.directory.save(known)
            try local.directory.save(membership)
            try local.begin(
                membership,
                application.identity,
                ClusterNode.Certificates(cluster: cluster),
                known,
                first: nil
            )
        } catch {
            let cause = ClusterError(any: error)
            undoAdmission(application)
            do { try local.forget() } catch { local.log.error("not-forgotten", "\(error)") }
            throw ClusterError(
                cause.code,
                "\(cause.message); the token is used up",
                remedy: "mend that, then get a new token: fanmesh cluster add \(application.candidate.name)"
            )
        }
    }

    /// Takes the membership back that a failed join has got.
    private func undoAdmission(_ application: Application) {
        do throws(HTTPError) {
            let connection = try application.connect(to: application.member)
            let request = LeaderRequest.leaving(application.candidate.name)
            _ = try connection.request(request.endpoint.method, request.target, timeout: .seconds(5))
        } catch { local.log.warning("not-undone", "\(error)") }
    }
}
