internal import FanAgent
internal import FanCore
internal import FanStore

/// Takes this node into a cluster with a token: rehearse, plan, redeem, wait for the overlay; or take it all back.
struct JoinRun {
    /// What the operator said.
    struct Choices {
        /// The token as it was given.
        var token: String
        /// The name that the token must be for, nil to take the token's.
        var name: String?
        /// Where this node's server shall listen, nil to choose.
        var address: SocketAddress?
        /// What may fail together with this node.
        var failureDomain: String?
        /// What this node does when its underlay address is replaced; nil leaves it as it is.
        var onAddressChange: AddressPolicy?
        /// How long the overlay may take to come up.
        var timeout: Duration
    }

    let invocation: Invocation
    let choices: Choices
    private let cluster: any ClusterAdministration

    /// Prepares a join.
    init(_ invocation: Invocation, _ choices: Choices) throws(CommandFailure) {
        (self.invocation, self.choices, cluster) = (invocation, choices, try invocation.administration())
    }

    /// Joins.
    ///
    /// - Returns: how the node stands.
    /// - Throws: what stood in the way, what became of the token, and what to do next.
    func run() throws -> OverlayWait.Outcome {
        let token = try token()
        let snapshot = try invocation.nodeWithAgent()
        if snapshot.state != .unconfigured { return try finishEarlierRun(snapshot, token) }
        try refuseExpired(token)
        let facts = try invocation.environment.hostFacts()
        let address = try address(facts, token)

        invocation.progress("rehearsing with \(token.addresses.map(\.description).joined(separator: ", "))")
        let (rehearsal, underlayAddress) = try rehearse(facts, token, address)
        try rehearsal.refuseFailures(joiner: token.serverName, at: address)
        try invocation.checkOverlay(rehearsal.config, host: underlayAddress, peers: rehearsal.members)

        invocation.progress("joining as \(token.serverName)")
        var request = request(token, address, underlayAddress)
        request.failureDomain = choices.failureDomain
        do {
            try cluster.join(request)
            invocation.progress("waiting for the overlay to be verified")
            return try OverlayWait(cluster: cluster, timeout: choices.timeout).run()
        } catch { throw takeBack(CommandFailure(error), token, rehearsal, request) }
    }

    // MARK: - Before

    private func token() throws -> JoinToken {
        let token = try JoinToken(parsing: choices.token)
        if let name = choices.name, name != token.serverName {
            throw CommandFailure.badInput(
                "the token is for \(token.serverName), not for \(name)",
                remedy: "leave --name out, or run 'fanmesh cluster add \(name)' on a member and use that token"
            )
        }
        return token
    }

    /// Not before it is known that nothing is to be finished: a redeemed token may be old.
    private func refuseExpired(_ token: JoinToken) throws(CommandFailure) {
        let age = invocation.environment.now().secondsSince1970 - token.expiresAt.secondsSince1970
        guard age < 0 else {
            throw CommandFailure(
                "the token for \(token.serverName) expired \(TimeText.length(.seconds(age))) ago, at \(token.expiresAt)",
                remedy:
                    "run 'fanmesh cluster add \(token.serverName)' on a member and use the new token; if it is new, "
                    + "set this machine's clock, which says \(invocation.environment.now())"
            )
        }
    }

    /// What to do on a node that is in a cluster: an earlier run of the same command may have been interrupted.
    private func finishEarlierRun(
        _ snapshot: ClusterSnapshot,
        _ token: JoinToken
    ) throws(CommandFailure) -> OverlayWait.Outcome {
        let name = snapshot.name ?? "a member"
        guard name == token.serverName, (try? cluster.cluster().fingerprint) == token.fingerprint else {
            throw CommandFailure(
                "this node is in a cluster already, as \(name)",
                remedy: "see 'fanmesh cluster list'; to join another cluster run 'fanmesh leave' first"
            )
        }
        invocation.note("this node is \(name) in that cluster already: waiting for its overlay only")
        return try OverlayWait(cluster: cluster, timeout: choices.timeout).run()
    }

    /// Where this node's server shall listen: the address from which the cluster is reached.
    private func address(_ facts: HostFacts, _ token: JoinToken) throws(CommandFailure) -> SocketAddress {
        if let address = choices.address {
            try facts.requireOwn(address.address)
            return address
        }
        var problems: [String] = []
        for peer in token.addresses {
            do throws(UnderlayError) {
                // The overlay is not known yet; the default is what most clusters have.
                let choice = try facts.chooseUnderlay(.via(peer.address), overlay: .defaultOverlay)
                return SocketAddress(choice.address)
            } catch {
                problems.append("\(error)")
            }
        }
        throw CommandFailure(
            "no address of this host fits the token's: \(problems.joined(separator: "; "))",
            remedy: "check the routes, or name this host's address with --address"
        )
    }

    // MARK: - The rehearsal

    private func rehearse(
        _ facts: HostFacts,
        _ token: JoinToken,
        _ address: SocketAddress
    ) throws -> (RehearsalAnswer, IPv4Address) {
        let first = try cluster.rehearse(request(token, address, address.address))
        guard !first.config.mapping.underlay.contains(address.address) else { return (first, address.address) }
        // The servers talk over another network than the underlay: this host may have an address there too.
        let mapping = first.config.mapping
        let choice: UnderlayChoice
        do throws(UnderlayError) {
            choice = try facts.chooseUnderlay(.prefix(mapping.underlay), overlay: mapping.overlay)
        } catch {
            throw CommandFailure(
                "\(token.serverName) (\(address)) cannot join \(first.who): \(error); nothing was changed, the token is "
                    + "still valid",
                remedy: "give this host an address in \(mapping.underlay), the underlay of the cluster"
            )
        }
        return (try cluster.rehearse(request(token, address, choice.address)), choice.address)
    }

    private func request(_ token: JoinToken, _ address: SocketAddress, _ underlay: IPv4Address) -> JoinRequest {
        JoinRequest(
            token: choices.token.trimmingBlanks(),
            name: token.serverName,
            address: address,
            underlayAddress: underlay
        )
    }

    // MARK: - After a failure

    /// Leaves nothing behind, and says what became of the token.
    private func takeBack(
        _ cause: CommandFailure,
        _ token: JoinToken,
        _ rehearsal: RehearsalAnswer,
        _ request: JoinRequest
    ) -> CommandFailure {
        // A server that never began to join has nothing to take back, and its own remedy is the one that helps.
        if let snapshot = try? cluster.node(), snapshot.state == .unconfigured {
            var failure = cause
            if failure.remedy == nil { failure.remedy = "mend it and run the same command again" }
            return failure
        }
        invocation.progress("taking the join back")
        let undone = LeaveVerb.undo(cluster, asksCluster: true)
        // Asked for at once: an agent that hangs is soon taken for none, and the server asks for nobody without one.
        let isRedeemed = isRedeemed(request)
        _ = LeaveVerb.overlayIsDown(invocation.runtimeDirectory)
        var failure = cause
        failure.message += "; \(undone.text)"
        let member = rehearsal.members.first.map { "\($0.name) (\($0.address.address))" } ?? "a member"
        let name = token.serverName
        var steps = failure.remedy.map { [$0] } ?? []
        if case .done = undone {} else { steps.append("run 'fanmesh cluster remove \(name) --force' on \(member)") }
        let renewal = "run 'fanmesh cluster add \(name)' on \(member) and join with the new token"
        switch isRedeemed {
        case false?: steps.append("run the same command again: the token was not redeemed")
        case true?:
            failure.message += "; the token was redeemed"
            steps.append(renewal)
        case nil:
            failure.message += "; the token may have been redeemed"
            steps.append("run the same command again; if it says that the token was used, \(renewal)")
        }
        failure.remedy = steps.joined(separator: "; then ")
        return failure
    }

    /// Whether the token is used up by now, nil when nobody can tell.
    private func isRedeemed(_ request: JoinRequest) -> Bool? {
        do throws(StoreError) {
            _ = try cluster.rehearse(request)
            return false
        } catch {
            return error.refusal?.code == "token_used" ? true : nil
        }
    }
}

extension RehearsalAnswer {
    /// The members in a few words.
    var who: String { members.map { "\($0.name) (\($0.address))" }.listed(atMost: 3) }

    /// Refuses to go on when a check failed; each is named with the host it is about.
    func refuseFailures(joiner: String, at address: SocketAddress) throws(CommandFailure) {
        let failed = checks.filter { $0.result == .fail }.map(\.finding)
        guard !failed.isEmpty else { return }
        let details = failed.map { "\($0.subject): \($0.message)" }.joined(separator: "; ")
        let remedies = failed.map(\.remedy).filter { !$0.isEmpty }
        throw CommandFailure(
            "\(joiner) (\(address)) cannot join \(who): \(details); nothing was changed, the token is still valid",
            remedy: remedies.isEmpty ? nil : remedies.joined(separator: "; ")
        )
    }
}

extension HostFacts {
    /// Refuses an address that this host does not have.
    func requireOwn(_ address: IPv4Address) throws(CommandFailure) {
        guard !addresses.contains(where: { $0.address.address == address }) else { return }
        let own = addresses.map { $0.address.address }.filter { $0.rawValue >> 24 != 127 }
        throw .badInput(
            "\(address) is no address of this host; "
                + (own.isEmpty ? "it has none" : "it has \(own.map(\.description).joined(separator: ", "))")
        )
    }
}
