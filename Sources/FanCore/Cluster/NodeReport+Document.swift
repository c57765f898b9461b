extension Duration {
    /// The time in milliseconds, rounded down.
    public var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }

    /// The time in seconds, rounded down.
    public var wholeSeconds: Int64 { components.seconds }
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
        let row = try MemberRow(document)
        self.init(
            member: try document.value("member"),
            role: row.role,
            isLeader: row.isLeader,
            state: row.state,
            message: row.message,
            lastSeen: row.lastSeen,
            clockOffset: row.clockOffset,
            report: try document.optional("report")
        )
    }
}

extension NodeReport: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Report", schema: "report")
        nodeID = try table.value("node_id", \.nodeID)
        verdict = try table.value("verdict", \.verdict)
        let network = try table.optional("network", { $0.settings?.network })
        let overlay = try table.optional("overlay", { $0.settings?.mapping.overlay })
        let underlay = try table.optional("underlay", { $0.settings?.mapping.underlay })
        underlayAddress = try table.optional("underlay_address", \.underlayAddress)
        slice = try table.optional("slice", \.slice)
        forwarder = try table.optional("forwarder", \.forwarder)
        mtuBytes = try table.optionalNumber(.reportedMTU, \.mtuBytes)
        underlayMTUBytes = try table.optionalNumber(.reportedUnderlayMTU, \.underlayMTUBytes)
        let vni = try table.optionalNumber(.reportedVNI, { $0.settings?.vni })
        let port = try table.optionalNumber(.reportedPort, { $0.settings?.port })
        if let overlay, let underlay {
            let mapping = try FanMapping(fitting: overlay, underlay)
            settings = OverlaySettings(mapping, network: network, vni: vni, port: port)
        }
        counters = try table.optional("counters", \.counters)
        reachability = Reachability(peers: try table.list("peers", \.reachability.peers))
        warnings = try table.list("warnings", \.warnings)
        version = try table.value("version", \.version)
        kernel = try table.value("kernel", \.kernel)
        generation = try table.number(.generation, \.generation, default: 0)
    }
}

extension NodeReport.Reachability.Peer: DocumentShape {
    /// Goes through the fields; the round trip is in milliseconds.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        name = try table.value("name", \.name)
        isReachable = try table.value("reachable", \.isReachable)
        let milliseconds = try table.optionalReal(.roundTrip) { peer in
            peer.roundTrip.map { Double($0.components.attoseconds) / 1e15 + Double($0.components.seconds) * 1000 }
        }
        roundTrip = milliseconds.map { .nanoseconds(Int64($0 * 1e6)) }
        diagnosis = try table.value("diagnosis", \.diagnosis, default: "")
    }
}

extension ForwardingCounters.Part: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        self.init()
        forwarded = try table.number(.forwarded, \.forwarded)
        spoofed = try table.number(.spoofed, \.spoofed)
        outside = try table.number(.outside, \.outside)
        unsupported = try table.number(.unsupported, \.unsupported)
    }
}

extension ForwardingCounters: DocumentShape {
    /// Goes through the fields of a report, which leaves the fence to the host's own status.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        self.init(
            forwarded: try table.number(.forwarded, \.forwarded),
            spoofed: try table.number(.spoofed, \.spoofed),
            outside: try table.number(.outside, \.outside),
            unsupported: try table.number(.unsupported, \.unsupported)
        )
    }
}

extension ClusterSnapshot: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Snapshot", schema: "local")
        state = try table.value("state", \.state)
        message = try table.value("message", \.message)
        generation = try table.number(.generation, \.generation)
        name = try table.optional("name", \.name)
        config = try table.optional("config", \.config)
        members = try table.list("members", \.members)
        hasQuorum = try table.value("quorum", \.hasQuorum)
        leader = try table.optional("leader", \.leader)
        hasAgent = try table.value("agent", \.hasAgent)
    }
}
