internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// This member moves to another address: the cluster takes it first, then this node's own server.
///
/// It works from the files: a server whose address is gone may not even have started.
struct Readdressing {
    let local: LocalNode

    /// How long a leader is looked for: the others may have to elect one first, when this node led.
    private static let timeout = Duration.seconds(20)

    private struct Member {
        var membership: Membership
        var identity: Identity
        var certificates: ClusterNode.Certificates
        var known: ClusterState
        var own: FanCore.Member
    }

    /// Moves.
    ///
    /// - Parameter place: where to; without an address the server's moves along when it was the underlay's.
    /// - Throws: ``ClusterError``; where the cluster refuses, nothing is changed.
    func run(_ place: MemberPlace) throws(ClusterError) {
        try local.exclusively { () throws(ClusterError) in
            let member = try member()
            let former = member.membership.address
            // An address that another host has is no good to ask anybody from.
            try member.known.requireFree(place, for: member.membership.name)
            var place = place
            if place.address == nil {
                let movesAlong = former.address == member.own.underlayAddress
                place.address = movesAlong ? SocketAddress(place.underlayAddress, port: former.port) : former
            }
            if place.address == former {
                try keepServer(member, place)
            } else if member.known.members.count == 1 {
                try moveAlone(member, place)
            } else {
                try moveServer(member, place)
            }
            let address = place.underlayAddress
            let server = place.address ?? former
            local.log.notice("readdressed", "'\(member.membership.name)' is at \(address) now, its server at \(server)")
            local.announce()
        }
    }

    private func member() throws(ClusterError) -> Member {
        do {
            let directory = local.directory
            guard let membership = try directory.membership() else { throw ClusterError.notConfigured }
            try directory.requireOwn(membership)
            guard let identity = try directory.identity(.node), let cluster = try directory.identity(.cluster),
                let known = try local.member?.state ?? directory.snapshot(),
                let own = known.members.first(where: { $0.name == membership.name })
            else {
                throw ServerError.damaged(file: directory.path, "the certificates or the members are missing")
            }
            let certificates = ClusterNode.Certificates(
                cluster: cluster,
                next: try directory.identity(.next),
                former: try directory.identity(.former)?.fingerprint
            )
            return Member(
                membership: membership,
                identity: identity,
                certificates: certificates,
                known: known,
                own: own
            )
        } catch { throw ClusterError(any: error) }
    }

    /// Only the overlay's address is another one.
    private func keepServer(_ member: Member, _ place: MemberPlace) throws(ClusterError) {
        let name = member.membership.name
        let request = LeaderRequest(
            .moveMember,
            Endpoint.moveMember.target(name),
            body: place.document.compactJSON
        )
        _ = try local.requireMember().atLeader(request) { leader throws(ClusterError) in
            try leader.edits.move(name, to: place)
        }.document(isChange: true)
    }

    /// The server moves, too: the others are asked from the new address, and it begins anew as what they say.
    private func moveServer(_ member: Member, _ place: MemberPlace) throws(ClusterError) {
        // A leader that still answers hands over first: it cannot be asked by itself.
        if let leadership = local.member?.leadership, let database = local.member?.database,
            let descriptor = try? database.connectLocally()
        {
            _ = try? leadership.roles.handOver(DatabaseClient(descriptor: descriptor, timeout: .seconds(5)))
        }
        let answer = try ask(member, place)
        do {
            var membership = member.membership
            let known: ClusterState = try answer.value("state")
            membership.id = try answer.integer(.id)
            membership.address = place.address ?? membership.address
            membership.isJoining = true
            endFormer()
            // It belonged to the former number.
            if membership.id != member.membership.id { try local.directory.removeDatabase() }
            try local.directory.save(known)
            try local.directory.save(membership)
            try local.begin(membership, member.identity, member.certificates, known, first: nil)
        } catch { throw failed(ClusterError(any: error), place) }
    }

    /// Nobody else is there to be asked, or to be told.
    private func moveAlone(_ member: Member, _ place: MemberPlace) throws(ClusterError) {
        do {
            var (membership, known) = (member.membership, member.known)
            membership.address = place.address ?? membership.address
            for index in known.members.indices {
                known.members[index].address = membership.address
                known.members[index].underlayAddress = place.underlayAddress
            }
            endFormer()
            _ = try DatabaseNode.recover(
                id: membership.id,
                address: membership.address.description,
                directory: local.directory.database
            )
            try local.directory.save(known)
            try local.directory.save(membership)
            try local.begin(membership, member.identity, member.certificates, known, first: nil)
            let deadline = ContinuousClock.now + Self.timeout
            while ContinuousClock.now < deadline {
                if let leadership = local.member?.leadership {
                    _ = try leadership.edits.move(membership.name, to: place, keepsNumber: true)
                    return
                }
                sleepThread(for: .milliseconds(10))
            }
            throw ClusterError(.timeout, "the database did not start within \(Self.timeout.wholeSeconds) s")
        } catch { throw failed(ClusterError(any: error), place) }
    }

    /// What is there of the member ends; where this node stands stays as it is, so that nobody takes it for leaving.
    private func endFormer() {
        local.member?.stop()
        local.closePort()
    }

    private func failed(_ cause: ClusterError, _ place: MemberPlace) -> ClusterError {
        let message =
            "the cluster has \(place.underlayAddress) for this node, but its server did not start there: \(cause.message)"
        local.state.withLock { _ = $0.standing.enter(.failed(message)) }
        return ClusterError(cause.code, message, remedy: "mend that, then run the same command again")
    }

    /// Asks the other members until one leads and answers.
    private func ask(_ member: Member, _ place: MemberPlace) throws(ClusterError) -> Document {
        let target = Endpoint.moveMember.target(member.membership.name)
        let body = place.document.compactJSON
        let others = member.known.members.filter { $0.name != member.membership.name }
        let source = (place.address ?? member.membership.address).address
        let deadline = ContinuousClock.now + Self.timeout
        var last = "no other member was asked"
        while ContinuousClock.now < deadline {
            for other in others where ContinuousClock.now < deadline {
                let response: HTTPResponse
                do throws(HTTPError) {
                    let trusted = member.certificates.trusted
                    let connection = try local.transport.connect(
                        other.address,
                        source,
                        member.identity,
                        trusted,
                        .seconds(2)
                    )
                    defer { connection.close() }
                    let method = Endpoint.moveMember.method
                    response = try connection.request(method, target, body: body, timeout: .seconds(10))
                } catch {
                    last = "'\(other.name)': \(error)"
                    continue
                }
                guard response.status >= 300 else {
                    do throws(HTTPError) { return try response.document() } catch {
                        throw ClusterError(.unknown, "the leader's answer cannot be read: \(error)")
                    }
                }
                let refusal = ClusterError(from: response, of: other.address.description)
                guard refusal.code.isPassing else { throw refusal }
                last = "'\(other.name)': \(refusal.message)"
            }
            sleepThread(for: .milliseconds(200))
        }
        throw ClusterError(
            .noQuorum,
            "no leader took the new address within \(Self.timeout.wholeSeconds) s; \(last)",
            remedy: "see that the other members run and can be reached from \(source), then run the same command again"
        )
    }
}
