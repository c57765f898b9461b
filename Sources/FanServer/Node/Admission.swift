internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// A candidate's admission by a member: the leader judges, this member tries the way back and hands the certificate
/// over.
struct Admission {
    let node: ClusterNode

    /// Refuses who tries tokens too often.
    ///
    /// - Parameter source: where it comes from, with the port.
    /// - Throws: ``ClusterError``.
    func requireFewAttempts(from source: String) throws(ClusterError) {
        let host = String(source.prefix { $0 != ":" })
        guard let wait = node.attempts.withLock({ $0.take(host, at: .now) }) else { return }
        node.log.warning("rate-limited", "\(source) tries tokens too often")
        throw ClusterError(.rateLimited, "too many attempts", remedy: "try again in \(wait.wholeSeconds + 1) s")
    }

    /// Answers a candidate.
    ///
    /// - Parameters:
    ///   - candidate: who it is.
    ///   - source: where it comes from.
    ///   - redeeming: whether it becomes a member now.
    /// - Returns: the answer.
    /// - Throws: ``ClusterError``.
    func admit(_ candidate: Candidate, from source: String, redeeming: Bool) throws(ClusterError) -> Document {
        do throws(ClusterError) {
            let request = LeaderRequest(redeeming ? .admit : .judge, body: candidate.document.compactJSON)
            var answer = try node.atLeader(request) { leader throws(ClusterError) in
                redeeming ? try leader.candidacy.redeem(candidate) : try leader.candidacy.rehearse(candidate)
            }.document(isChange: redeeming)
            if redeeming {
                let cluster = node.certificates.withLock { $0.cluster }
                answer.set("cluster_certificate", .string(cluster.certificatePEM))
                answer.set("cluster_key", .string(cluster.keyPEM))
                node.log.notice("admitted", "'\(candidate.name)' at \(candidate.address) is a member now")
            } else if case .array(let checks) = answer["checks"] {
                answer.set("checks", .array(checks + [returnPath(candidate).document]))
            }
            return answer
        } catch {
            if error.code == .notAuthorized {
                node.log.warning("token-refused", "\(source) came with a token that nobody knows")
            }
            throw error
        }
    }

    /// Tries the candidate's port, as the other members will have to.
    private func returnPath(_ candidate: Candidate) -> HostCheck {
        do throws(HTTPError) {
            let own = node.membership.address.address
            let trust: Set = [candidate.fingerprint]
            try node.transport.connect(candidate.address, own, node.nodeIdentity, trust, .seconds(3)).close()
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
}
