internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import Synchronization

extension Server {
    /// Leaves the cluster, handing over first; or forgets it by force.
    func leave(_ call: Call) throws(APIError) -> Document {
        let isForced: Bool
        do { isForced = try call.body().optionalFlag("force") ?? false } catch { throw APIError(any: error) }
        return try exclusively { () throws(APIError) in
            let current = state.withLock { ($0.node, $0.failure) }
            guard current.0 != nil || current.1 != nil else { throw .notConfigured }
            var changes: [String] = []
            if let node = current.0 {
                do throws(APIError) {
                    // Whom the cluster refuses has nothing to hand in.
                    if isForced, let refusal = node.refusal { throw refusal }
                    changes += try handIn(node, patience: isForced ? .seconds(5) : .seconds(20))
                } catch {
                    guard isForced else { throw error }
                    changes.append("the cluster was not told: \(error.message)")
                }
            } else if !isForced {
                throw APIError(
                    .failed,
                    "this node's server could not start: \(current.1 ?? "")",
                    remedy: "fanmesh leave --force here, and fanmesh cluster remove NAME --force on another member"
                )
            }
            do { try forget() } catch { throw APIError(any: error) }
            changes.append("the certificates and the database of this node are removed")
            return ["schema": "fanmesh.leave/v1", "changes": .array(changes.map { .string($0) })]
        }
    }

    /// Hands the roles over and the membership in.
    private func handIn(_ node: ClusterNode, patience: Duration) throws(APIError) -> [String] {
        var changes: [String] = []
        let name = node.membership.name
        guard node.state.members.count > 1 else { return ["the cluster had no other member, and ends"] }
        let deadline = ContinuousClock.now + patience
        // Whether the cluster may have let it go although no answer came.
        var isInDoubt = false
        var last: APIError?
        while true {
            if let leadership = node.leadership {
                do {
                    let client = try DatabaseClient(descriptor: node.database.connectLocally(), timeout: .seconds(10))
                    guard let heir = try leadership.handOver(client) else {
                        throw APIError.noQuorum("there is no other member online that could lead")
                    }
                    changes.append("'\(heir)' leads the database")
                } catch { throw APIError(any: error) }
                node.watchBell.ring()
            }
            do throws(APIError) {
                let response = try node.link.forward(
                    .leaving(name),
                    isInDoubt: &isInDoubt,
                    unless: { node.leadership != nil }
                )
                if let response {
                    let isGone = response.status < 300 || response.status == 404 || response.status == 403
                    guard isGone else { throw APIError(from: response, of: "the leader") }
                    changes.append("'\(name)' is no member any more")
                    return changes
                }
            } catch {
                last = error
                guard error.code == .noQuorum || error.code == .conflict else { throw error }
            }
            guard ContinuousClock.now < deadline else {
                if isInDoubt {
                    throw APIError(
                        .unknown,
                        "whether '\(name)' is still a member is not known: \(last?.message ?? "no answer")",
                        remedy: "see 'fanmesh cluster list' on another member; to repeat 'fanmesh leave' is safe"
                    )
                }
                if let last { throw last }
                throw .noQuorum("the leadership could not be handed over within \(patience.components.seconds) s")
            }
            sleepThread(for: .milliseconds(50))
        }
    }
}
