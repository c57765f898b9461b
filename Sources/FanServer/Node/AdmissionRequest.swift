internal import FanCore
internal import FanHTTP
internal import FanSystem

/// What a candidate asks the members of its token, one after the other, and what their answers mean for it.
struct AdmissionRequest {
    var token: JoinToken
    var candidate: Candidate
    /// Asks a member; says whether the question was sent although no answer came.
    var ask: (SocketAddress, Endpoint, Candidate, _ wasSent: inout Bool) throws(HTTPError) -> HTTPResponse

    /// Asks the members of the token one after the other.
    ///
    /// The certificate is checked in the handshake, before the secret leaves this node.
    ///
    /// - Parameters:
    ///   - endpoint: what for: ``Endpoint/askAdmission`` or ``Endpoint/redeem``.
    ///   - first: who is asked before all others.
    /// - Returns: the answer, and whose it is.
    /// - Throws: ``ClusterError``; ``ClusterError/Code/unknown`` when one that did not answer may have admitted it.
    func send(_ endpoint: Endpoint, first: SocketAddress? = nil) throws(ClusterError) -> (Document, SocketAddress) {
        var unreachable: [String] = []
        // Whether a member that did not answer may have made this node one all the same.
        var isInDoubt = false
        var candidate = candidate
        let isRedeeming = endpoint == .redeem
        // Under the same certificate the same answer is given by all, also to who did not get it the first time.
        let others = token.addresses.filter { $0 != first }
        for address in [first].compactMap(\.self) + others {
            candidate.clock = wallClockMilliseconds()
            do {
                var wasSent = false
                defer { isInDoubt = isInDoubt || (wasSent && isRedeeming) }
                let response = try ask(address, endpoint, candidate, &wasSent)
                guard response.status < 300 else {
                    let refusal = ClusterError(from: response, of: address.description)
                    // Another member may know a leader when this one does not.
                    if refusal.code == .unknown { isInDoubt = isInDoubt || isRedeeming }
                    if [.noQuorum, .notLeader, .unavailable, .unknown].contains(refusal.code) {
                        unreachable.append("\(address): \(refusal.message)")
                        continue
                    }
                    throw joinerError(refusal, candidate)
                }
                wasSent = true
                return (try response.document(), address)
            } catch let error as HTTPError {
                if case .pinMismatch = error.reason {
                    throw ClusterError(
                        .wrongCluster,
                        "the server at \(address) is not the cluster of the token: \(error)",
                        remedy: "nothing was sent to it; get a new token if the certificate was rotated, or find out "
                            + "who answers at \(address)"
                    )
                }
                unreachable.append("\(error)")
            } catch { throw ClusterError(any: error) }
        }
        if isInDoubt {
            throw ClusterError(
                .unknown,
                "whether the cluster took '\(candidate.name)' in is not known: \(unreachable.joined(separator: "; "))",
                remedy: "see 'fanmesh cluster list' on a member: if '\(candidate.name)' is there, run 'fanmesh cluster "
                    + "remove \(candidate.name) --force' and get a new token; if not, repeat the join"
            )
        }
        throw ClusterError(
            .timeout,
            "no member of the token can be reached from \(candidate.address.address): "
                + unreachable.joined(separator: "; "),
            remedy:
                "allow TCP \(token.addresses.first?.port ?? candidate.address.port) between the hosts, in both directions"
        )
    }

    /// A refusal as the joiner should read it.
    private func joinerError(_ refusal: ClusterError, _ candidate: Candidate) -> ClusterError {
        guard refusal.code == .notAuthorized else { return refusal }
        return ClusterError(
            .tokenUnknown,
            "the cluster does not know the token for '\(candidate.name)'",
            remedy: "get a new one on a member: fanmesh cluster add \(candidate.name)"
        )
    }
}
