/// One row of the members' list: how a member stands, in a few hundred bytes whatever it has reported.
///
/// What grows with the cluster or with what is wrong is counted: the peers, and the texts of the warnings, are in the
/// report that ``MemberStatus`` has.
public struct MemberRow: Hashable, Sendable {
    /// The most that the list of a cluster may take, in bytes of JSON, however many members it has.
    public static let maximumListBytes = 8 << 20
    /// What is kept for the list's own fields and warnings.
    static let envelopeBytes = 128 << 10
    /// The most that a row takes beside its message.
    static let otherBytes = 700
    /// The most that the codes of warnings take, with their quotes and commas.
    static let codesBytes = 48
    /// What a message may always take, and what it never exceeds.
    static let messageRange = 128...1000

    /// How many peers a member has reported.
    public struct Peers: Hashable, Sendable {
        /// How many were probed.
        public var total: Int
        /// How many of them answered.
        public var reachable: Int

        /// Counts peers.
        public init(total: Int, reachable: Int) {
            self.total = total
            self.reachable = reachable
        }
    }

    /// Which warnings a member has reported.
    public struct Warnings: Hashable, Sendable {
        /// How many there are.
        public var total: Int
        /// Their codes, each once, the most severe first: as many as there is room for.
        public var codes: [String]

        /// Counts warnings.
        public init(total: Int, codes: [String]) {
            self.total = total
            self.codes = codes
        }
    }

    /// The member's name.
    public var name: String
    /// The node id from which its agent derives its devices' addresses.
    public var nodeID: String
    /// Where its server listens.
    public var address: SocketAddress
    /// Where its overlay's packets go.
    public var underlayAddress: IPv4Address
    /// The slice that follows from that.
    public var slice: IPv4Prefix?
    /// Its part in the database.
    public var role: DatabaseRole
    /// The role that an operator gave it, nil when the cluster chooses.
    public var pinnedRole: DatabaseRole?
    /// Whether it leads the database.
    public var isLeader: Bool
    /// What fails together with it.
    public var failureDomain: String
    /// How it stands.
    public var state: MemberState
    /// The state in words; a long one is cut in a large cluster.
    public var message: String
    /// Whether its overlay is up and verified, nil before its first report and while nobody hears it.
    public var overlay: Verdict?
    /// The version of its server.
    public var version: String
    /// Since its last heartbeat; nil when it was never heard by this leader.
    public var lastSeen: Duration?
    /// How far its clock is ahead of the leader's, negative when behind; nil when it was never heard by this leader.
    public var clockOffset: Duration?
    /// Its peers, nil before its first report.
    public var peers: Peers?
    /// Its warnings, nil before its first report.
    public var warnings: Warnings?

    /// What the message of a row may take in the list of so many members, in bytes of JSON.
    static func messageBytes(members: Int) -> Int {
        let left = (maximumListBytes - envelopeBytes) / max(1, members) - otherBytes
        return min(max(left, messageRange.lowerBound), messageRange.upperBound)
    }

    /// A member's row.
    ///
    /// - Parameters:
    ///   - status: how the member stands.
    ///   - mapping: gives its slice.
    ///   - members: how many rows the list has; a longer list has shorter messages.
    public init(_ status: MemberStatus, mapping: FanMapping?, members: Int) {
        self.init(status, mapping: mapping, messageBytes: Self.messageBytes(members: members))
    }

    init(_ status: MemberStatus, mapping: FanMapping?, messageBytes: Int?) {
        let member = status.member
        name = member.name
        nodeID = member.nodeID
        address = member.address
        underlayAddress = member.underlayAddress
        slice = mapping.flatMap { try? $0.slice(of: member.underlayAddress) }?.prefix
        role = status.role
        pinnedRole = member.pinnedRole
        isLeader = status.isLeader
        failureDomain = member.failureDomain
        state = status.state
        message = messageBytes.map { status.message.shortened(toJSONBytes: $0) } ?? status.message
        // What it said while it was heard may not be so any more.
        overlay = [.offline, .unknown].contains(status.state) ? nil : status.report?.verdict
        version = member.version
        lastSeen = status.lastSeen
        clockOffset = status.clockOffset
        peers = status.report.map(\.reachability.peers).map { peers in
            Peers(total: peers.count, reachable: peers.count { $0.isReachable })
        }
        warnings = status.report.map { Warnings($0.warnings) }
    }
}

extension MemberRow.Warnings {
    /// Counts warnings, and names the kinds.
    init(_ warnings: [Finding]) {
        total = warnings.count
        codes = []
        var left = MemberRow.codesBytes
        var seen: Set<String> = []
        for severity in Verdict.allCases.reversed() {
            for warning in warnings where warning.severity == severity && seen.insert(warning.code).inserted {
                let bytes = Document.string(warning.code).compactJSON.count + 1
                guard bytes <= left else { continue }
                left -= bytes
                codes.append(warning.code)
            }
        }
    }
}

extension MemberRow: DocumentShape {
    /// Goes through the fields; what servers of the same API did not always say may be missing.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("MemberRow")
        name = try table.value("name", \.name)
        nodeID = try table.value("node_id", \.nodeID, default: "")
        address = try table.value("address", \.address)
        underlayAddress = try table.value("underlay_address", \.underlayAddress)
        slice = try table.optional("slice", \.slice)
        role = try table.value("role", \.role)
        pinnedRole = try table.optional("pinned_role", \.pinnedRole)
        isLeader = try table.value("leader", \.isLeader, default: false)
        state = try table.value("state", \.state)
        message = try table.value("message", \.message)
        overlay = try table.optional("overlay", \.overlay)
        version = try table.value("version", \.version)
        lastSeen = try table.optionalNumber(.lastSeen, { $0.lastSeen?.milliseconds }).map { .milliseconds($0) }
        clockOffset = try table.optionalNumber(.clockOffset, { $0.clockOffset?.milliseconds }).map { .milliseconds($0) }
        failureDomain = try table.value("failure_domain", \.failureDomain, default: "default")
        peers = try table.optional("peers", \.peers)
        warnings = try table.optional("warnings", \.warnings)
    }
}

extension MemberRow.Peers: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        total = try table.number(.total, \.total)
        reachable = try table.number(.reachable, \.reachable)
    }
}

extension MemberRow.Warnings: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        total = try table.number(.total, \.total)
        codes = try table.texts("codes", \.codes)
    }
}

extension String {
    /// The text, or its beginning with a mark that there was more, in so many bytes of JSON without the quotes.
    func shortened(toJSONBytes limit: Int) -> String {
        func bytes(_ text: String) -> Int { Document.string(text).compactJSON.count - 2 }
        guard bytes(self) > limit else { return self }
        var left = limit - bytes("…")
        var text = ""
        for character in self {
            left -= bytes(String(character))
            guard left >= 0 else { break }
            text.append(character)
        }
        return text + "…"
    }
}
