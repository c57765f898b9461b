internal import FanCore
internal import FanDatabase
internal import FanSystem
internal import FanTLS

/// `init`: makes a cluster of this one node.
struct Bootstrap {
    let local: LocalNode

    /// Makes the cluster.
    ///
    /// - Parameter body: the request's.
    /// - Throws: ``ClusterError``; nothing of it is left then.
    func run(_ body: Document) throws(ClusterError) {
        // What is wrong with the request is said before what this node is in no state for.
        var (config, member, identity) = try firstMember(body)
        try local.exclusively { () throws(ClusterError) in
            try local.requireUnconfigured()
            member.nodeID = try local.agentNodeID()
            do {
                let cluster = try Identity.generate(commonName: "fanmesh-cluster")
                let first = ClusterState(generation: 0, config: config, members: [member])
                try local.directory.forgetCluster()
                try local.directory.save(identity, as: .node)
                try local.directory.save(cluster, as: .cluster)
                try local.directory.save(first)
                let membership = Membership(
                    clusterID: config.clusterID,
                    id: 1,
                    name: member.name,
                    address: member.address,
                    isJoining: true
                )
                try local.listen(on: member.address, as: cluster)
                try local.directory.save(membership)
                try local.begin(membership, identity, ClusterNode.Certificates(cluster: cluster), first, first: first)
                try requireLeader(within: .seconds(20))
            } catch {
                do { try local.forget() } catch { local.log.error("not-forgotten", "\(error)") }
                throw ClusterError(any: error)
            }
            local.log.notice("bootstrapped", "'\(member.name)' at \(member.address) is a new cluster")
        }
    }

    /// The only member of a new cluster; whose agent's it is, is not known yet.
    private func firstMember(_ body: Document) throws(ClusterError) -> (ClusterConfig, Member, Identity) {
        do {
            let name = try body.parsed("name", checkedLabel)
            let address = try body.parsed("address") { try SocketAddress(parsing: $0) }
            let underlayAddress =
                try body.optionalParsed("underlay_address") { try IPv4Address(parsing: $0) } ?? address.address
            guard case .object(let fields) = body else { throw ClusterError(.badRequest, "the body is no object") }
            var known = fields.filter { $0.key != "cluster_id" }
            known.append(Document.Field(key: "cluster_id", value: .string(hexadecimal(randomBytes(16)))))
            let config = try ClusterConfig(.object(known))
            try config.validate()
            do throws(FanMappingError) { _ = try config.mapping.slice(of: underlayAddress) } catch {
                throw ClusterError(
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
        } catch { throw ClusterError(any: error) }
    }

    /// Waits until this node leads its database.
    private func requireLeader(within time: Duration) throws(ClusterError) {
        let deadline = ContinuousClock.now + time
        while ContinuousClock.now < deadline {
            if local.member?.leadership != nil { return }
            sleepThread(for: .milliseconds(5))
        }
        throw ClusterError(.timeout, "the database did not start within \(time.wholeSeconds) s")
    }
}
