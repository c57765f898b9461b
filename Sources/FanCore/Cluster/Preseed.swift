/// The answers to what `init` asks, from a file.
///
/// Each is nil where the file leaves the default.
public struct Preseed: Hashable, Sendable {
    /// The member's name.
    public var name: String?
    /// Where its server shall listen.
    public var address: SocketAddress?
    /// The overlay.
    public var overlay = OverlayChoices()
    /// What may fail together with this member.
    public var failureDomain: String?
    /// For how long a member may be silent before it is OFFLINE.
    public var offlineAfter: Duration?
    /// How many voters the database should have.
    public var voterTarget: Int?
    /// How many standbys the database should have.
    public var standbyTarget: Int?
    /// What this node does when its underlay address is replaced; the cluster does not know of it.
    public var onAddressChange: AddressPolicy?
    /// The loopback address on which the agent serves metrics; nil for none.
    public var metrics: String?
    /// The file that the agent writes metrics to; nil for none.
    public var metricsFile: String?
    /// The token with which to join; nil to make a new cluster.
    public var clusterToken: String?

    /// Leaves every default.
    public init() {}

    /// The keys, in the order in which they are written.
    public static let keys = properties.map(\.key)

    /// What the host keeps for itself; the cluster does not know of it.
    static let hostKeys: Set = ["on_address_change", "metrics", "metrics_file"]

    /// What the server is not told.
    static let unservedKeys = hostKeys.union(["cluster_token"])

    /// What a joiner does choose; the cluster has everything else already.
    public static let joinerKeys = hostKeys.union(["name", "address", "failure_domain", "cluster_token"])

    /// Reads the answers.
    ///
    /// - Parameter document: an object whose keys are among ``keys``; null leaves a default.
    /// - Throws: ``DocumentError`` naming the key, with the nearest known one for an unknown one.
    public init(_ document: Document) throws(DocumentError) {
        let fields = document.fields
        switch document {
        case .object, .null: break
        default:
            throw DocumentError(path: "", problem: "is not a list of keys with values, such as 'name: node1'")
        }
        for (index, field) in fields.enumerated() {
            guard Self.keys.contains(field.key) else {
                let hint = NearestName.find(field.key, in: Self.keys).map { "did you mean '\($0)'?" }
                throw DocumentError(
                    path: String(field.key.prefix(64)),
                    problem: "is not a key of a preseed; " + (hint ?? "use \(Self.keys.joined(separator: ", "))")
                )
            }
            guard !fields[..<index].contains(where: { $0.key == field.key }) else {
                throw DocumentError(path: field.key, problem: "is there twice")
            }
        }
        var table = FieldTable<Preseed>(.reading(document))
        try self.init(fields: &table)
        if clusterToken != nil,
            let field = fields.first(where: { !Self.joinerKeys.contains($0.key) && $0.value != .null })
        {
            throw DocumentError(
                path: field.key,
                problem: "cannot be chosen by a joiner, since the cluster has it; leave it out beside cluster_token"
            )
        }
    }

    /// The answers without the token, which is good for one join only.
    public var withoutSecrets: Preseed {
        var preseed = self
        preseed.clusterToken = nil
        return preseed
    }

    /// What the server is told: neither the token nor what the host keeps for itself.
    public var forServer: Document { .object(document.fields.filter { !Self.unservedKeys.contains($0.key) }) }

    /// The answers that would make a node's cluster again.
    public init(config: ClusterConfig, member: Member) {
        name = member.name
        address = member.address
        overlay = OverlayChoices(config.overlay)
        failureDomain = member.failureDomain
        offlineAfter = config.offlineAfter
        voterTarget = config.voterTarget
        standbyTarget = config.standbyTarget
    }
}

extension Preseed: DocumentShape {
    /// Goes through the fields; the document contains the token, that of ``withoutSecrets`` does not.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes(leavesOutNull: true)
        name = try table.optional("name", \.name, check: DNSLabel.check)
        address = try table.optional("address", \.address)
        overlay = try table.part(\.overlay)
        failureDomain = try table.optional("failure_domain", \.failureDomain, check: DNSLabel.check)
        offlineAfter = try table.optionalNumber(.offlineAfter, { $0.offlineAfter?.wholeSeconds }).map { .seconds($0) }
        voterTarget = try table.optionalNumber(.voters, \.voterTarget, check: ClusterConfig.check(voterTarget:))
        standbyTarget = try table.optionalNumber(.standbys, \.standbyTarget)
        onAddressChange = try table.optional("on_address_change", \.onAddressChange)
        metrics = try table.optional("metrics", \.metrics)
        metricsFile = try table.optional("metrics_file", \.metricsFile)
        clusterToken = try table.optional("cluster_token", \.clusterToken) { _ = try JoinToken(parsing: $0) }
    }
}

/// A forwarder, or the choice left to each host.
public enum ForwarderChoice: String, CaseIterable, Sendable {
    /// The best that the host can do.
    case auto
    /// See ``ForwarderKind/ebpf``.
    case ebpf
    /// See ``ForwarderKind/fdb``.
    case fdb

    /// The choice of a forwarder, or `auto` for nil.
    public init(_ kind: ForwarderKind?) {
        switch kind {
        case nil: self = .auto
        case .ebpf: self = .ebpf
        case .fdb: self = .fdb
        }
    }

    /// The forwarder, nil for `auto`.
    public var kind: ForwarderKind? {
        switch self {
        case .auto: nil
        case .ebpf: .ebpf
        case .fdb: .fdb
        }
    }
}
