internal import FanCore
internal import FanDatabase
internal import FanSystem
internal import FanTLS
internal import Synchronization

extension Server {
    /// Makes a cluster of this one node.
    func bootstrap(_ call: Call) throws(APIError) -> Document {
        // What is wrong with the request is said before what this node is in no state for.
        var (config, member, identity) = try firstMember(try call.body())
        return try exclusively { () throws(APIError) in
            try requireUnconfigured()
            member.nodeID = try agentNodeID()
            do {
                let cluster = try Identity.generate(commonName: "fanmesh-cluster")
                let first = ClusterState(generation: 0, config: config, members: [member])
                try directory.forgetCluster()
                try directory.save(identity, as: .node)
                try directory.save(cluster, as: .cluster)
                try directory.save(first)
                let membership = Membership(
                    clusterID: config.clusterID,
                    id: 1,
                    name: member.name,
                    address: member.address,
                    isJoining: true
                )
                presented.withLock { $0 = cluster }
                try listen(on: member.address)
                try directory.save(membership)
                try begin(membership, identity, ClusterNode.Certificates(cluster: cluster), first, first: first)
                try requireLeader(within: .seconds(20))
            } catch {
                do { try forget() } catch { log.error("not-forgotten", "\(error)") }
                throw APIError(any: error)
            }
            log.notice("bootstrapped", "'\(member.name)' at \(member.address) is a new cluster")
            return snapshot().document
        }
    }

    /// The only member of a new cluster; whose agent's it is, is not known yet.
    private func firstMember(_ body: Document) throws(APIError) -> (ClusterConfig, Member, Identity) {
        do {
            let name = try body.parsed("name", checkedLabel)
            let address = try body.parsed("address") { try SocketAddress(parsing: $0) }
            let underlayAddress =
                try body.optionalParsed("underlay_address") { try IPv4Address(parsing: $0) } ?? address.address
            guard case .object(let fields) = body else { throw APIError(.badRequest, "the body is no object") }
            var known = fields.filter { $0.key != "cluster_id" }
            known.append(Document.Field(key: "cluster_id", value: .string(hexadecimal(randomBytes(16)))))
            let config = try ClusterConfig(.object(known))
            try config.validate()
            do throws(FanMappingError) { _ = try config.mapping.slice(of: underlayAddress) } catch {
                throw APIError(
                    .badRequest,
                    "\(error)",
                    remedy: "choose the underlay that contains \(underlayAddress), or another --address"
                )
            }
            let identity = try Identity.generate(commonName: name)
            let member = Member(
                id: 1,
                name: name,
                nodeID: "",
                address: address,
                underlayAddress: underlayAddress,
                fingerprint: identity.fingerprint,
                failureDomain: try body.optionalParsed("failure_domain", checkedLabel) ?? "default",
                version: FanmeshVersion.text,
                schema: Schema.version,
                joinedAt: wallClockMilliseconds() / 1000
            )
            return (config, member, identity)
        } catch { throw APIError(any: error) }
    }

    /// Waits until this node leads its database.
    private func requireLeader(within time: Duration) throws(APIError) {
        let deadline = ContinuousClock.now + time
        while ContinuousClock.now < deadline {
            if state.withLock({ $0.node })?.leadership != nil { return }
            sleepThread(for: .milliseconds(5))
        }
        throw APIError(.timeout, "the database did not start within \(time.wholeSeconds) s")
    }

    func requireUnconfigured() throws(APIError) {
        let current = state.withLock { ($0.node, $0.failure) }
        guard current.0 == nil, current.1 == nil else {
            let name = current.0.map { "'\($0.membership.name)', a member" } ?? "a member whose server cannot start"
            throw APIError(
                .alreadyConfigured,
                "this node is \(name) of a cluster already",
                remedy: "to leave it: fanmesh leave"
            )
        }
    }

    /// For how long `init`, `join` and `rehearse` wait for an agent that is just starting.
    static let agentPatience = Duration.seconds(10)

    /// The identity of the agent on this node, as soon as there is one.
    func agentNodeID(within patience: Duration = agentPatience) throws(APIError) -> String {
        let deadline = ContinuousClock.now + patience
        while !isStopping.withLock({ $0 }) {
            let (agent, version) = state.withLock { ($0.agent, $0.version) }
            if let agent, agent.isThere { return agent.nodeID }
            let rest = deadline - .now
            guard rest > .zero else {
                throw APIError(
                    .agentMissing,
                    "the agent of this node is not running: none connected within \(patience.wholeSeconds) s",
                    remedy: "start it first: systemctl start fanmesh-agent"
                )
            }
            let bell = Bell()
            watchers.park(until: deadline) { bell.ring() }
            // Who came before that is not announced again.
            if state.withLock({ $0.version }) == version { bell.wait(atMost: rest) }
        }
        throw APIError(.failed, "the server is stopping")
    }
}
