/// What all members of a cluster agree on: the overlay, and how the cluster is run.
@dynamicMemberLookup
public struct ClusterConfig: Hashable, Sendable {
    /// The cluster's id: 32 hexadecimal digits, made by `init`, changed by `cluster recover`.
    public var clusterID: String
    /// The overlay, whose parts are shown as its own.
    public var overlay: OverlayConfig
    /// A member that was not heard for this long is OFFLINE.
    public var offlineAfter: Duration = .seconds(20)
    /// How many voters the database should have.
    public var voterTarget = 3
    /// How many standbys the database should have.
    public var standbyTarget = 2
    /// How long a join token is valid unless `--expiry` says otherwise.
    public var tokenExpiry: Duration = .seconds(3 * 3600)
    /// The names of the members from which the cluster may be administered; empty for all.
    public var administrators: [String] = []

    /// The least and the greatest time after which a member may be OFFLINE.
    public static let offlineRange: ClosedRange<Duration> = .seconds(2)...Duration.seconds(3600)
    /// The keys that may be changed after the cluster was made.
    public static let editable = [
        "offline_after_s", "voters", "standbys", "token_expiry_s", "mtu", "forwarder", "administrators",
    ]

    /// The defaults of a new cluster.
    public init(clusterID: String, _ settings: OverlaySettings) {
        self.clusterID = clusterID
        overlay = OverlayConfig(settings)
    }

    /// The defaults of a new cluster with those of an overlay.
    public init(clusterID: String, mapping: FanMapping) {
        self.init(clusterID: clusterID, OverlaySettings(mapping))
    }

    /// A part of the overlay's.
    public subscript<Value>(dynamicMember path: WritableKeyPath<OverlayConfig, Value>) -> Value {
        get { overlay[keyPath: path] }
        set { overlay[keyPath: path] = newValue }
    }
}

extension ClusterConfig: DocumentShape {
    /// Goes through the fields; what has a default may be missing.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Config")
        clusterID = try table.value("cluster_id", \.clusterID)
        overlay = try table.part(\.overlay)
        offlineAfter = .seconds(try table.number(.offlineAfter, \.offlineAfter.wholeSeconds, default: 20))
        voterTarget = try table.number(.voters, \.voterTarget, default: voterTarget)
        standbyTarget = try table.number(.standbys, \.standbyTarget, default: standbyTarget)
        tokenExpiry = .seconds(try table.number(.tokenExpiry, \.tokenExpiry.wholeSeconds, default: 3 * 3600))
        administrators = try table.text(
            "administrators",
            \.administrators,
            default: [],
            write: { $0.isEmpty ? "all" : $0.joined(separator: ",") },
            parse: Self.administrators(parsing:)
        )
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

/// One node of a cluster, as its database knows it.
public struct Member: Hashable, Sendable {
    /// The number of its database node: unique, never used again; 1 is the first.
    public var id: UInt64
    /// Its name, a DNS label.
    public var name: String
    /// The node's own id: 32 hexadecimal digits.
    public var nodeID: String
    /// Where its server listens.
    public var address: SocketAddress
    /// Its address in the underlay.
    public var underlayAddress: IPv4Address
    /// SHA-256 of its certificate's DER, 64 lower-case hexadecimal digits.
    public var fingerprint: String
    /// What may fail together with it.
    public var failureDomain: String
    /// The role that `cluster role` pinned, nil for automatic.
    public var pinnedRole: DatabaseRole?
    /// The version of fanmesh it runs.
    public var version: String
    /// The version of the database schema it can work with.
    public var schema: Int
    /// Counts the starts of its server, so that a node restored from an old copy is recognised.
    public var incarnation: Int
    /// When it joined, in seconds since 1970.
    public var joinedAt: Int64

    /// Describes a member.
    public init(
        id: UInt64,
        name: String,
        nodeID: String,
        address: SocketAddress,
        underlayAddress: IPv4Address,
        fingerprint: String,
        failureDomain: String = "default",
        pinnedRole: DatabaseRole? = nil,
        version: String,
        schema: Int,
        incarnation: Int = 1,
        joinedAt: Int64
    ) {
        self.id = id
        self.name = name
        self.nodeID = nodeID
        self.address = address
        self.underlayAddress = underlayAddress
        self.fingerprint = fingerprint
        self.failureDomain = failureDomain
        self.pinnedRole = pinnedRole
        self.version = version
        self.schema = schema
        self.incarnation = incarnation
        self.joinedAt = joinedAt
    }
}

extension Member: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Member")
        id = try table.number(.id, \.id)
        name = try table.value("name", \.name)
        nodeID = try table.value("node_id", \.nodeID)
        address = try table.value("address", \.address)
        underlayAddress = try table.value("underlay_address", \.underlayAddress)
        fingerprint = try table.value("fingerprint", \.fingerprint)
        failureDomain = try table.value("failure_domain", \.failureDomain, default: "default")
        pinnedRole = try table.optional("pinned_role", \.pinnedRole)
        version = try table.value("version", \.version)
        schema = try table.number(.schemaVersion, \.schema)
        incarnation = try table.number(.incarnation, \.incarnation)
        joinedAt = try table.number(.joinedAt, \.joinedAt)
    }
}

/// What a database node does for the database.
public enum DatabaseRole: String, CaseIterable, Sendable {
    /// Has the data and votes.
    case voter
    /// Has the data, ready to become a voter.
    case standby
    /// Has nothing, ready to become a standby.
    case spare
}

/// An IPv4 address with a TCP port, `172.31.16.5:8473`.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// The port that servers listen on unless told otherwise.
    public static let defaultPort: UInt16 = 8473

    /// The address.
    public var address: IPv4Address
    /// The TCP port.
    public var port: UInt16

    /// Pairs an address with a port.
    public init(_ address: IPv4Address, port: UInt16 = Self.defaultPort) {
        self.address = address
        self.port = port
    }

    /// Reads `172.31.16.5` or `172.31.16.5:8473`.
    ///
    /// - Parameter text: what was written.
    /// - Throws: ``ClusterInputError/badAddress(_:)``.
    public init(parsing text: String) throws(ClusterInputError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let host = try? IPv4Address(parsing: parts[0]) else { throw .badAddress(text) }
        guard parts.count == 2 else {
            self.init(host)
            return
        }
        guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let port = UInt16(parts[1]), port > 0 else {
            throw .badAddress(text)
        }
        self.init(host, port: port)
    }

    /// The address, a colon, the port.
    public var description: String { "\(address):\(port)" }
}

/// Input about a cluster that cannot be used.
public enum ClusterInputError: Error, Equatable, Sendable, CustomStringConvertible {
    /// No IPv4 address with an optional port.
    case badAddress(String)
    /// No DNS label.
    case badName(String)
    /// Not an odd number of voters from 3 to 9.
    case badVoterTarget(Int)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .badAddress(let text):
            "'\(text.prefix(64))' is not an address; write it like 172.31.16.5 or 172.31.16.5:8473"
        case .badName(let text):
            "'\(text.prefix(64))' is not a member's name; use 1 to 63 of a-z, 0-9 and -, not - at either end"
        case .badVoterTarget(let number):
            "\(number) voters cannot be asked for; use 3, 5, 7 or 9, since an even number survives no more failures"
        }
    }
}
