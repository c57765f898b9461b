extension Duration {
    /// The time in milliseconds, rounded down.
    public var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }

    /// The time in seconds, rounded down.
    public var wholeSeconds: Int64 { components.seconds }
}

extension Document {
    fileprivate static func milliseconds(_ time: Duration?) -> Document {
        guard let time else { return .null }
        return .real(Double(time.components.attoseconds) / 1e15 + Double(time.components.seconds) * 1000)
    }
}

extension ClusterConfig {
    /// The configuration as an object.
    public var document: Document {
        [
            "cluster_id": .string(clusterID),
            "overlay": .text(mapping.overlay),
            "underlay": .text(mapping.underlay),
            "network": .string(network),
            "vni": .number(vni),
            "port": .number(port),
            "mtu": .number(mtuBytes),
            "forwarder": .string(forwarder?.rawValue ?? "auto"),
            "offline_after_s": .number(offlineAfter.wholeSeconds),
            "voters": .number(voterTarget),
            "standbys": .number(standbyTarget),
            "token_expiry_s": .number(tokenExpiry.wholeSeconds),
            "administrators": .string(administrators.isEmpty ? "all" : administrators.joined(separator: ",")),
        ]
    }

    /// Reads a configuration.
    ///
    /// - Throws: ``DocumentError`` naming the key.
    public init(_ document: Document) throws(DocumentError) {
        let overlay = try document.parsed("overlay") { try IPv4Prefix(parsing: $0) }
        let underlay = try document.parsed("underlay") { try IPv4Prefix(parsing: $0) }
        let mapping: FanMapping
        do throws(FanMappingError) { mapping = try FanMapping(overlay: overlay, underlay: underlay) } catch {
            throw DocumentError(path: "overlay", problem: "does not fit: \(error)")
        }
        self.init(clusterID: try document.text("cluster_id"), mapping: mapping)
        network = try document.optionalText("network") ?? network
        vni = try document.optionalInteger(.vni) ?? vni
        port = try document.optionalInteger(.port) ?? port
        mtuBytes = try document.optionalInteger(.mtu)
        let kind = try document.optionalText("forwarder") ?? "auto"
        if kind != "auto" { forwarder = try document.choice("forwarder") }
        if let seconds: Int64 = try document.optionalInteger(.offlineAfter) { offlineAfter = .seconds(seconds) }
        voterTarget = try document.optionalInteger(.voters) ?? voterTarget
        standbyTarget = try document.optionalInteger(.standbys) ?? standbyTarget
        if let seconds: Int64 = try document.optionalInteger(.tokenExpiry) { tokenExpiry = .seconds(seconds) }
        administrators =
            try document.optionalParsed("administrators", Self.administrators(parsing:)) ?? administrators
    }

    /// Reads `all`, or members' names with commas between them.
    ///
    /// - Parameter text: what was written.
    /// - Returns: the names in order, each once; empty for `all`.
    /// - Throws: ``ClusterInputError/badName(_:)``.
    public static func administrators(parsing text: String) throws(ClusterInputError) -> [String] {
        guard text != "all" else { return [] }
        let names = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        for name in names { try DNSLabel.check(name) }
        return Set(names).sorted()
    }
}

extension Member {
    /// The member as an object.
    public var document: Document {
        [
            "id": .number(id),
            "name": .string(name),
            "node_id": .string(nodeID),
            "address": .text(address),
            "underlay_address": .text(underlayAddress),
            "fingerprint": .string(fingerprint),
            "failure_domain": .string(failureDomain),
            "pinned_role": .text(pinnedRole?.rawValue),
            "version": .string(version),
            "schema_version": .number(schema),
            "incarnation": .number(incarnation),
            "joined_at": .number(joinedAt),
        ]
    }

    /// Reads a member.
    ///
    /// - Throws: ``DocumentError`` naming the key.
    public init(_ document: Document) throws(DocumentError) {
        self.init(
            id: try document.integer(.id),
            name: try document.text("name"),
            nodeID: try document.text("node_id"),
            address: try document.parsed("address") { try SocketAddress(parsing: $0) },
            underlayAddress: try document.parsed("underlay_address") { try IPv4Address(parsing: $0) },
            fingerprint: try document.text("fingerprint"),
            failureDomain: try document.optionalText("failure_domain") ?? "default",
            pinnedRole: try document.optionalChoice("pinned_role"),
            version: try document.text("version"),
            schema: try document.integer(.schemaVersion),
            incarnation: try document.integer(.incarnation),
            joinedAt: try document.integer(.joinedAt)
        )
    }
}

extension MemberStatus {
    /// The member, its state and its report as an object, as `GET /1.0/members/NAME` answers; the mapping gives its
    /// slice.
    public func document(_ mapping: FanMapping?) -> Document {
        let row = MemberRow(self, mapping: mapping, messageBytes: nil).document
        return .object(
            [Document.Field(key: "schema", value: "fanmesh.member/v1")] + row.fields + [
                Document.Field(key: "member", value: member.document),
                Document.Field(key: "report", value: report?.document ?? .null),
            ]
        )
    }

    /// Reads a member and its state.
    ///
    /// - Throws: ``DocumentError`` naming the key.
    public init(_ document: Document) throws(DocumentError) {
        guard let member = try document.optionalObject("member") else {
            throw DocumentError(path: "member", problem: "is missing")
        }
        let row = try MemberRow(document)
        self.init(
            member: try Member(member),
            role: row.role,
            isLeader: row.isLeader,
            state: row.state,
            message: row.message,
            lastSeen: row.lastSeen,
            clockOffset: row.clockOffset
        )
        if let report = try document.optionalObject("report") { self.report = try NodeReport(report) }
    }
}

extension NodeReport {
    /// The report as an object.
    public var document: Document {
        [
            "schema": "fanmesh.report/v1",
            "node_id": .string(nodeID),
            "verdict": .string(verdict.rawValue),
            "network": .text(network),
            "overlay": .text(mapping?.overlay),
            "underlay": .text(mapping?.underlay),
            "underlay_address": .text(underlayAddress),
            "slice": .text(slice),
            "forwarder": .text(forwarder?.rawValue),
            "mtu": .number(mtuBytes),
            "vni": .number(vni),
            "port": .number(port),
            "counters": counters.map {
                [
                    "forwarded": .number($0.forwarded), "spoofed": .number($0.spoofed),
                    "outside": .number($0.outside), "unsupported": .number($0.unsupported),
                ]
            } ?? .null,
            "peers": .array(
                reachability.peers.map {
                    [
                        "name": .string($0.name), "reachable": .bool($0.isReachable),
                        "rtt_ms": .milliseconds($0.roundTrip), "diagnosis": .string($0.diagnosis),
                    ]
                }
            ),
            "warnings": .array(warnings.map(\.document)),
            "version": .string(version),
            "kernel": .string(kernel),
            "generation": .number(generation),
        ]
    }

    /// Reads a report.
    ///
    /// - Throws: ``DocumentError`` naming the key.
    public init(_ document: Document) throws(DocumentError) {
        self.init(
            nodeID: try document.text("node_id"),
            version: try document.text("version"),
            kernel: try document.text("kernel")
        )
        verdict = try document.choice("verdict")
        network = try document.optionalText("network")
        let overlay = try document.optionalParsed("overlay") { try IPv4Prefix(parsing: $0) }
        let underlay = try document.optionalParsed("underlay") { try IPv4Prefix(parsing: $0) }
        if let overlay, let underlay {
            do throws(FanMappingError) { mapping = try FanMapping(overlay: overlay, underlay: underlay) } catch {
                throw DocumentError(path: "overlay", problem: "does not fit: \(error)")
            }
        }
        underlayAddress = try document.optionalParsed("underlay_address") { try IPv4Address(parsing: $0) }
        slice = try document.optionalParsed("slice") { try IPv4Prefix(parsing: $0) }
        forwarder = try document.optionalChoice("forwarder")
        mtuBytes = try document.optionalInteger(.reportedMTU)
        vni = try document.optionalInteger(.reportedVNI)
        port = try document.optionalInteger(.reportedPort)
        if let object = try document.optionalObject("counters") {
            counters = ForwardingCounters(
                forwarded: try object.integer(.forwarded),
                spoofed: try object.integer(.spoofed),
                outside: try object.integer(.outside),
                unsupported: try object.integer(.unsupported)
            )
        }
        for peer in try document.list("peers") {
            reachability.peers.append(
                Reachability.Peer(
                    name: try peer.text("name"),
                    isReachable: try peer.flag("reachable"),
                    roundTrip: try peer.optionalReal(.roundTrip).map { .nanoseconds(Int64($0 * 1e6)) },
                    diagnosis: try peer.optionalText("diagnosis") ?? ""
                )
            )
        }
        for warning in try document.list("warnings") { warnings.append(try Warning(warning)) }
        generation = try document.optionalInteger(.generation) ?? 0
    }
}

extension ClusterSnapshot {
    /// The snapshot as an object.
    public var document: Document {
        [
            "schema": "fanmesh.local/v1",
            "state": .string(state.rawValue),
            "message": .string(message),
            "generation": .number(generation),
            "name": .text(name),
            "config": config?.document ?? .null,
            "members": .array(members.map(\.document)),
            "quorum": .bool(hasQuorum),
            "leader": .text(leader),
            "agent": .bool(hasAgent),
        ]
    }

    /// Reads a snapshot.
    ///
    /// - Throws: ``DocumentError`` naming the key.
    public init(_ document: Document) throws(DocumentError) {
        self.init(state: try document.choice("state"), message: try document.text("message"))
        generation = try document.integer(.generation)
        name = try document.optionalText("name")
        if let object = try document.optionalObject("config") { config = try ClusterConfig(object) }
        for member in try document.list("members") { members.append(try Member(member)) }
        hasQuorum = try document.flag("quorum")
        leader = try document.optionalText("leader")
        hasAgent = try document.flag("agent")
    }
}
