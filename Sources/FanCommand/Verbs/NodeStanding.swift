internal import FanAgent
internal import FanCore
internal import FanHTTP
internal import FanStore

/// What this node's agent, its server and its peers know of it, for `fanmesh status`.
struct NodeStanding {
    /// Name, cluster, role and since when; nil in no cluster.
    private(set) var document: Document?
    /// What should be looked at.
    private(set) var findings: [Finding] = []
    /// How the peers stand, by underlay address, as far as the agent says.
    private(set) var peers: [String: Document] = [:]

    /// Asks all of them; of what does not answer, that is the finding.
    init(_ invocation: Invocation, _ cluster: ClusterPeers) {
        if let problem = cluster.problem {
            findings.add(
                code: "memory-unreadable",
                severity: .warning,
                message: problem,
                remedy: "run it as root; or remove the file and run: systemctl restart fanmesh-agent"
            )
        }
        for directory in [invocation.stateDirectory, "\(invocation.stateDirectory)/server"] {
            if let finding = DiskRoom.finding(at: directory), !findings.contains(where: { $0.code == finding.code }) {
                findings.append(finding)
            }
        }
        // A host that keeps its overlay by itself needs neither daemon.
        guard cluster.names != nil else { return }
        let agent = askAgent(invocation)
        let snapshot = askServer(invocation, agent)
        let list = askCluster(invocation, snapshot)
        let own = snapshot?.ownMember
        let row = (snapshot?.name).flatMap { name in list?[name] }
        document = [
            "name": .text(snapshot?.name ?? cluster.ownName),
            "cluster": .text(snapshot?.config?.clusterID),
            "state": .text(row?.state.rawValue),
            "role": .text(row?.role.rawValue),
            "leader": .bool(row?.isLeader ?? false),
            "member_since": .text(own.map { Timestamp(secondsSince1970: $0.joinedAt) }),
            "agent_since": .text(agent.map { Timestamp(secondsSince1970: $0.startedAt) }),
        ]
    }

    // MARK: - The agent

    private mutating func askAgent(_ invocation: Invocation) -> AgentStatus? {
        let runtime = invocation.runtimeDirectory
        guard AgentStatus.isRunning(runtimeDirectory: runtime) else {
            findings.add(
                code: "agent-not-running",
                severity: .warning,
                message: "the fanmesh agent is not running: nothing mends the overlay or follows the cluster",
                remedy: "run: systemctl start fanmesh-agent"
            )
            return nil
        }
        do {
            let status = try AgentStatus.ask(runtimeDirectory: runtime).status
            let warnings = try Self.get("warnings", invocation).list("warnings").map { try Finding($0) }
            findings += warnings.filter { !NetworkStatus.codes.contains($0.code) }
            let list = try Self.get("peers", invocation).list("peers")
            peers = Dictionary(try list.map { (try $0.text("underlay_address"), $0) }) { $1 }
            if let settings = status.settings, !warnings.contains(where: { $0.code == "settings-pinned" }) {
                findings.append(.settingsPinned(settings))
            }
            return status
        } catch {
            findings.add(
                code: "agent-silent",
                severity: .warning,
                message: "the fanmesh agent runs, and cannot be asked: \(error)",
                remedy: AgentStatus.mayAsk(runtimeDirectory: runtime)
                    ? "run: systemctl restart fanmesh-agent" : "run it as root, or as a member of the group fanmesh"
            )
            return nil
        }
    }

    private static func get(_ name: String, _ invocation: Invocation) throws(HTTPError) -> Document {
        let runtime = invocation.runtimeDirectory
        return try AgentStatus.get("/1.0/\(name)", runtimeDirectory: runtime, timeout: .seconds(5)).document()
    }

    // MARK: - The server

    private mutating func askServer(_ invocation: Invocation, _ agent: AgentStatus?) -> ClusterSnapshot? {
        // Another store has a server of its own kind, and the agent says how that stands.
        guard let administration = invocation.store as? any ClusterAdministration else { return nil }
        do throws(StoreError) {
            let snapshot = try administration.node(after: nil, wait: .zero)
            findings.removeAll { $0.code == "server-not-running" }
            switch snapshot.state {
            case .failed:
                findings.add(
                    code: "server-failed",
                    severity: .warning,
                    message: "this node takes no part in its cluster: \(snapshot.message)",
                    remedy: "see: fanmesh cluster list; the overlay goes on from the last known members"
                )
            case .member, .joining:
                guard !snapshot.hasQuorum else { break }
                findings.add(
                    code: "no-quorum",
                    severity: .warning,
                    message: "the cluster cannot be changed: its database has no leader and no majority of its voters, "
                        + "as far as this node's server knows; the overlay goes on from the last known members",
                    remedy: "start fanmesh-server on the members that are down, and mend the network between them; "
                        + "'fanmesh cluster list' names the last known members"
                )
            case .unconfigured: break
            }
            return snapshot
        } catch {
            guard !findings.contains(where: { $0.code == "server-not-running" }) else { return nil }
            findings.add(
                code: "server-not-running",
                severity: .warning,
                message: "\(error); the overlay goes on from the last known members",
                remedy: error.remedy ?? invocation.store.profile.starting
            )
            return nil
        }
    }

    /// What the leader says of this node.
    private mutating func askCluster(_ invocation: Invocation, _ snapshot: ClusterSnapshot?) -> MemberList? {
        guard let snapshot, snapshot.hasQuorum, let list = try? invocation.store.listing(), !list.isStale else {
            return nil
        }
        findings += list.warnings.filter { warning in !findings.contains { $0.code == warning.code } }
        if let name = snapshot.name, let row = list[name], row.state != .online {
            findings.add(
                code: "member-not-online",
                severity: .warning,
                message: "the cluster has this node as \(row.state.rawValue): \(row.message)",
                remedy: "see: fanmesh cluster show \(name)"
            )
        }
        return list
    }
}
