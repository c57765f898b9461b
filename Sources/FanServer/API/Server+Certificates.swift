internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Synchronization

/// The three steps in which all members change to another cluster certificate without an interruption.
private enum RotationStep: String, CaseIterable {
    /// Trust the next certificate beside the present one.
    case accept
    /// Present the next one, and go on trusting the former.
    case use
    /// Forget the former one.
    case finish
}

extension Server {
    /// Replaces the certificate that all members share.
    ///
    /// Each step is taken by all members before the next one begins, so that whoever connects is trusted. When it
    /// fails half-way, running it again goes on with the same certificate.
    func rotate(_ leader: Leadership, _ request: ChangeRequest) throws(APIError) -> Document {
        let node = try member()
        if let answered = try leader.answer(to: request) { return answered }
        let members = leader.statuses()
        if let offline = members.first(where: { $0.state == .offline }) {
            throw APIError(
                .conflict,
                "'\(offline.member.name)' is OFFLINE and would be locked out: \(offline.message)",
                remedy: "bring it back, or remove it: fanmesh cluster remove \(offline.member.name) --force"
            )
        }
        return try exclusively { () throws(APIError) in
            let next: Identity
            do {
                next =
                    try node.certificates.withLock { $0.next } ?? Identity.generate(commonName: "fanmesh-cluster")
            } catch { throw APIError(any: error) }
            for step in RotationStep.allCases {
                let order: Document = [
                    "cluster_id": .string(node.membership.clusterID),
                    "step": .string(step.rawValue),
                    "certificate": .string(next.certificatePEM),
                    "key": .string(next.keyPEM),
                ]
                // This node goes first, so that what it asks of the others it can do itself.
                try take(step, next, node)
                for status in members where status.member.name != node.membership.name {
                    do throws(APIError) {
                        _ = try node.link.call(
                            status.member.address,
                            .takeCertificate,
                            order,
                            timeout: .seconds(10)
                        )
                    } catch {
                        throw APIError(
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
            log.notice("rotated", "the cluster certificate is now \(next.fingerprint)")
            return answer
        }
    }

    /// Another member, which leads, says which step to take.
    func takeCertificate(_ call: Call) throws(APIError) -> Document {
        let node = try member()
        guard let caller = call.member else { throw .notAuthorized }
        let deadline = ContinuousClock.now + .seconds(2)
        while !node.isLed(by: caller) {
            guard ContinuousClock.now < deadline else {
                log.warning("certificate-refused", "'\(caller.name)' sent a certificate and does not lead")
                throw APIError(.notLeader, "'\(caller.name)' does not lead the database, as far as is known here")
            }
            sleepThread(for: .milliseconds(50))
        }
        do {
            let body = try call.body()
            guard try body.text("cluster_id") == node.membership.clusterID else {
                throw APIError(.wrongCluster, "another cluster is meant")
            }
            let next = try Identity(certificatePEM: body.text("certificate"), keyPEM: body.text("key"))
            let step: RotationStep = try body.choice("step")
            try take(step, next, node)
            return ["schema": "fanmesh.rotation/v1", "fingerprint": .string(next.fingerprint)]
        } catch { throw APIError(any: error) }
    }

    private func take(_ step: RotationStep, _ next: Identity, _ node: ClusterNode) throws(APIError) {
        var certificates = node.certificates.withLock { $0 }
        do {
            switch step {
            case .accept:
                guard next.fingerprint != certificates.cluster.fingerprint else { return }
                try directory.save(next, as: .next)
                certificates.next = next
            case .use:
                guard next.fingerprint != certificates.cluster.fingerprint else { return }
                try directory.save(certificates.cluster, as: .former)
                try directory.save(next, as: .cluster)
                certificates.former = certificates.cluster.fingerprint
                certificates.cluster = next
                presented.withLock { $0 = next }
            case .finish:
                try directory.remove(.next)
                try directory.remove(.former)
                certificates.former = nil
                certificates.next = nil
            }
        } catch { throw APIError(any: error) }
        node.set(certificates)
    }
}
