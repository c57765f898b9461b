internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// The three steps in which all members change to another cluster certificate without an interruption.
enum RotationStep: String, WordValue {
    /// Trust the next certificate beside the present one.
    case accept
    /// Present the next one, and go on trusting the former.
    case use
    /// Forget the former one.
    case finish
}

/// Replaces the certificate that all members share; the leader leads through it, step by step.
struct Rotation {
    let local: LocalNode
    let node: ClusterNode

    /// Replaces the certificate that all members share.
    ///
    /// Each step is taken by all members before the next one begins, so that whoever connects is trusted. When it
    /// fails half-way, running it again goes on with the same certificate.
    ///
    /// - Returns: the answer.
    /// - Throws: ``ClusterError``.
    func run(_ leader: Leadership, _ request: ChangeRequest) throws(ClusterError) -> Document {
        if let answered = try leader.answer(to: request) { return answered }
        let members = leader.statuses()
        if let offline = members.first(where: { $0.state == .offline }) {
            throw ClusterError(
                .conflict,
                "'\(offline.member.name)' is OFFLINE and would be locked out: \(offline.message)",
                remedy: "bring it back, or remove it: fanmesh cluster remove \(offline.member.name) --force"
            )
        }
        return try local.exclusively { () throws(ClusterError) in
            let next: Identity
            do {
                next =
                    try node.certificates.withLock { $0.next } ?? Identity.generate(commonName: "fanmesh-cluster")
            } catch { throw ClusterError(any: error) }
            for step in RotationStep.allCases {
                let order: Document = [
                    "cluster_id": .string(node.membership.clusterID),
                    "step": .string(step.rawValue),
                    "certificate": .string(next.certificatePEM),
                    "key": .string(next.keyPEM),
                ]
                // This node goes first, so that what it asks of the others it can do itself.
                try take(step, next)
                for status in members where status.member.name != node.membership.name {
                    do throws(ClusterError) {
                        _ = try node.link.call(status.member.address, .takeCertificate, order, timeout: .seconds(10))
                    } catch {
                        throw ClusterError(
                            .failed,
                            "'\(status.member.name)' did not take the step '\(step.rawValue)': \(error.message)",
                            remedy: "all members trust both certificates; mend that and run it again"
                        )
                    }
                }
            }
            let now = wallClockMilliseconds() / 1000
            // They name the former certificate.
            let answer = try leader.once(request.takenOn, isShared: false, evenIfBlocked: true) { transaction in
                var count = 0
                for token in try transaction.tokens() {
                    guard token.state(now: now) == .valid(name: token.name) else { continue }
                    if try transaction.revokeToken(name: token.name, now: now) { count += 1 }
                }
                return [
                    "schema": "fanmesh.rotation/v1",
                    "fingerprint": .string(next.fingerprint),
                    "members": .array(members.map { .string($0.member.name) }),
                    "revoked_tokens": .number(count),
                ]
            }
            local.log.notice("rotated", "the cluster certificate is now \(next.fingerprint)")
            return answer
        }
    }

    /// Another member, which leads, says which step to take.
    func take(_ order: Document, from caller: Member) throws(ClusterError) -> Document {
        let deadline = ContinuousClock.now + .seconds(2)
        while !isLed(by: caller) {
            guard ContinuousClock.now < deadline else {
                local.log.warning("certificate-refused", "'\(caller.name)' sent a certificate and does not lead")
                throw ClusterError(.notLeader, "'\(caller.name)' does not lead the database, as far as is known here")
            }
            sleepThread(for: .milliseconds(50))
        }
        do {
            guard try order.text("cluster_id") == node.membership.clusterID else {
                throw ClusterError(.wrongCluster, "another cluster is meant")
            }
            let next = try Identity(certificatePEM: order.text("certificate"), keyPEM: order.text("key"))
            let step: RotationStep = try order.value("step")
            try take(step, next)
            return ["schema": "fanmesh.rotation/v1", "fingerprint": .string(next.fingerprint)]
        } catch { throw ClusterError(any: error) }
    }

    private func take(_ step: RotationStep, _ next: Identity) throws(ClusterError) {
        var certificates = node.certificates.withLock { $0 }
        do {
            switch step {
            case .accept:
                guard next.fingerprint != certificates.cluster.fingerprint else { return }
                try local.directory.save(next, as: .next)
                certificates.next = next
            case .use:
                guard next.fingerprint != certificates.cluster.fingerprint else { return }
                try local.directory.save(certificates.cluster, as: .former)
                try local.directory.save(next, as: .cluster)
                certificates.former = certificates.cluster.fingerprint
                certificates.cluster = next
                local.present(next)
            case .finish:
                try local.directory.remove(.next)
                try local.directory.remove(.former)
                certificates.former = nil
                certificates.next = nil
            }
        } catch { throw ClusterError(any: error) }
        node.set(certificates)
    }

    /// Whether a member leads, as this node's database says, or whom this node follows when that knows nobody.
    private func isLed(by member: Member) -> Bool {
        let told = (try? node.database.connectLocally()).flatMap { descriptor in
            try? DatabaseClient(descriptor: descriptor, timeout: .seconds(2)).leader()
        }
        if let told { return told.id == member.id }
        return node.link.leader == member.address
    }
}
