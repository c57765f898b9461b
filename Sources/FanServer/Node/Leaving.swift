internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem

/// `leave`: takes this node out of its cluster.
struct Leaving {
    let local: LocalNode

    /// Leaves the cluster, handing over first; or forgets it by force.
    ///
    /// - Parameter isForced: whether to forget the cluster also when it cannot be told.
    /// - Returns: what was done, in words.
    /// - Throws: ``ClusterError``.
    func run(isForced: Bool) throws(ClusterError) -> [String] {
        try local.exclusively { () throws(ClusterError) in
            let standing = local.state.withLock { $0.standing }
            guard standing.member != nil || standing.failure != nil else { throw .notConfigured }
            var changes: [String] = []
            if let node = standing.member {
                do throws(ClusterError) {
                    // Whom the cluster refuses has nothing to hand in.
                    if isForced, let refusal = node.refusal { throw refusal }
                    changes += try giveUpRoles(node, timeout: isForced ? .seconds(5) : .seconds(20))
                } catch {
                    guard isForced else { throw error }
                    changes.append("the cluster was not told: \(error.message)")
                }
            } else if !isForced {
                throw ClusterError(
                    .failed,
                    "this node's server could not start: \(standing.failure ?? "")",
                    // What a copy removed would be the member that it is a copy of.
                    remedy: "run: fanmesh leave --force"
                        + (local.directory.isCopy ? "" : "; and on another member: fanmesh cluster remove NAME --force")
                )
            }
            do { try local.forget() } catch { throw ClusterError(any: error) }
            changes.append("the certificates and the database of this node are removed")
            return changes
        }
    }

    /// Hands the roles over and the membership in.
    private func giveUpRoles(_ node: ClusterNode, timeout: Duration) throws(ClusterError) -> [String] {
        var changes: [String] = []
        let name = node.membership.name
        guard node.state.members.count > 1 else { return ["the cluster had no other member, and ends"] }
        let deadline = ContinuousClock.now + timeout
        // Whether the cluster may have let it go although no answer came.
        var isInDoubt = false
        var last: ClusterError?
        while true {
            if let leadership = node.leadership {
                do {
                    let client = try DatabaseClient(descriptor: node.database.connectLocally(), timeout: .seconds(10))
                    guard let successor = try leadership.roles.handOver(client) else {
                        throw ClusterError.noQuorum("there is no other member online that could lead")
                    }
                    changes.append("'\(successor)' leads the database")
                } catch { throw ClusterError(any: error) }
                node.watchSignal.raise()
            }
            do throws(ClusterError) {
                let response = try node.link.forward(
                    .leaving(name),
                    isInDoubt: &isInDoubt,
                    unless: { node.leadership != nil }
                )
                if let response {
                    let isGone = response.status < 300 || response.status == 404 || response.status == 403
                    guard isGone else { throw ClusterError(from: response, of: "the leader") }
                    changes.append("'\(name)' is no member any more")
                    return changes
                }
            } catch {
                last = error
                guard error.code == .noQuorum || error.code == .conflict else { throw error }
            }
            guard ContinuousClock.now < deadline else {
                if isInDoubt {
                    throw ClusterError(
                        .unknown,
                        "whether '\(name)' is still a member is not known: \(last?.message ?? "no answer")",
                        remedy: "see 'fanmesh cluster list' on another member; to repeat 'fanmesh leave' is safe"
                    )
                }
                if let last { throw last }
                throw .noQuorum("the leadership could not be handed over within \(timeout.components.seconds) s")
            }
            sleepThread(for: .milliseconds(50))
        }
    }
}
