internal import FanCore
internal import FanHTTP
internal import FanTLS
internal import Synchronization

extension Call {
    /// The candidate that a member sent on.
    func candidate() throws(APIError) -> Candidate {
        try body { document throws(DocumentError) in try Candidate(document, fingerprint: nil) }
    }
}

extension Server {
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
        // The shape of the answer says nothing about tokens.
        let candidate = try call.body { document throws(DocumentError) in
            try Candidate(document, fingerprint: fingerprint)
        }
        do throws(APIError) {
            let request = LeaderRequest(redeeming ? .admit : .judge, body: candidate.document.compactJSON)
            var answer = try node.atLeader(request) { leader throws(APIError) in
                redeeming ? try leader.redeem(candidate) : try leader.rehearse(candidate)
            }.document(isChange: redeeming)
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
}
