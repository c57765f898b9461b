internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import Synchronization

extension Server {
    /// How long the others may take to agree that this node was removed.
    private static let removalPatience: Duration = .seconds(5)

    /// Another member says that this one was removed: it is asked for, and only then believed.
    func beRemoved(_ call: Call) throws(APIError) -> Document {
        let node = try member()
        let clusterID: String
        do { clusterID = try call.body().text("cluster_id") } catch { throw APIError(any: error) }
        guard clusterID == node.membership.clusterID else { throw APIError(.wrongCluster, "another cluster is meant") }
        let claimant = call.member?.name ?? "a former member"
        let isFirst = isCheckingRemoval.withLock { isChecking in
            defer { isChecking = true }
            return !isChecking
        }
        if isFirst {
            housekeep { [self] in
                checkRemoval(of: node, claimedBy: claimant)
                isCheckingRemoval.withLock { $0 = false }
            }
        }
        return ["schema": "fanmesh.removal/v1", "name": .string(node.membership.name)]
    }

    /// Asks the leader and the voters, and forgets the cluster when they do not know this node any more.
    private func checkRemoval(of node: ClusterNode, claimedBy claimant: String) {
        // The answer to the claim goes out on the listener that may be about to close.
        let deadline = ContinuousClock.now + Self.removalPatience
        repeat {
            sleepThread(for: .milliseconds(200))
            guard !isStopping.withLock({ $0 }), state.withLock({ $0.node }) === node else { return }
            if node.othersForgotIt() {
                log.notice("removed", "this node was removed from its cluster, says '\(claimant)', and so it is")
                forgetRemoved(node)
                return
            }
        } while ContinuousClock.now < deadline
        guard refusals.withLock({ $0.take("removal \(claimant)", at: .now) }) == nil else { return }
        log.error(
            "removal-claimed",
            "'\(claimant)' says that this node was removed, and the leader and most voters do not: nothing was changed"
        )
    }
}

extension ClusterNode {
    /// What a member answers to this node's certificate.
    private enum Answer {
        case known
        case stranger
        case none
    }

    /// Whether the leader and a majority of the voters that this node knows refuse its certificate, and none takes it.
    func othersForgotIt() -> Bool {
        let servers = (try? database.connectLocally()).flatMap { descriptor in
            try? DatabaseClient(descriptor: descriptor, timeout: .seconds(2)).cluster()
        }
        let voters = (servers ?? []).filter { $0.role == .voter }
        var asked = voters.filter { $0.id != membership.id }.compactMap { try? SocketAddress(parsing: $0.address) }
        var needed = min(asked.count, voters.count / 2 + 1)
        if asked.isEmpty {
            // A spare is not told who votes: some members will be among them.
            asked = Array(state.members.map(\.address).filter { $0 != membership.address }.shuffled().prefix(9))
            needed = asked.count / 2 + 1
        }
        if let leader = link.leader, leader != membership.address {
            guard answer(of: leader) == .stranger else { return false }
        }
        var refusing = 0
        for address in asked {
            switch answer(of: address) {
            case .known: return false
            case .stranger: refusing += 1
            case .none: break
            }
        }
        return needed > 0 && refusing >= needed
    }

    private func answer(of address: SocketAddress) -> Answer {
        do throws(APIError) {
            _ = try link.call(address, .state, timeout: .seconds(2))
            return .known
        } catch { return error.code == .notAuthorized ? .stranger : .none }
    }

    /// Whether a member leads, as this node's database says, or whom this node follows when that knows nobody.
    func isLed(by member: Member) -> Bool {
        let told = (try? database.connectLocally()).flatMap { descriptor in
            try? DatabaseClient(descriptor: descriptor, timeout: .seconds(2)).leader()
        }
        if let told { return told.id == member.id }
        return link.leader == member.address
    }
}
