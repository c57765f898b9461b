/// The answers to what `init` asks, from a file.
///
/// Each is nil where the file leaves the default.
public struct Preseed: Hashable, Sendable {
    /// The member's name.
    public var name: String?
    /// Where its server shall listen.
    public var address: SocketAddress?
    /// How the underlay is found.
    public var underlay: UnderlaySelector?
    /// The overlay's prefix.
    public var overlay: IPv4Prefix?
    /// The network's name.
    public var network: String?
    /// The VXLAN network identifier.
    public var vni: UInt32?
    /// The UDP port of the overlay.
    public var port: UInt16?
    /// The overlay's MTU in bytes.
    public var mtuBytes: Int?
    /// `auto` or the name of a forwarder.
    public var forwarder: ForwarderChoice?
    /// What may fail together with this member.
    public var failureDomain: String?
    /// For how long a member may be silent before it is OFFLINE.
    public var offlineAfter: Duration?
    /// How many voters the database should have.
    public var voterTarget: Int?
    /// How many standbys the database should have.
    public var standbyTarget: Int?
    /// The token with which to join; nil to make a new cluster.
    public var clusterToken: String?

    /// Leaves every default.
    public init() {}

    /// The keys, in the order in which they are written.
    public static let keys = [
        "name", "address", "underlay", "overlay", "network", "vni", "port", "mtu", "forwarder", "failure_domain",
        "offline_after_s", "voters", "standbys", "cluster_token",
    ]

    /// What a joiner does not choose, since the cluster has it already.
    private static let clusterKeys: Set = [
        "underlay", "overlay", "network", "vni", "port", "mtu", "forwarder", "offline_after_s", "voters", "standbys",
    ]

    /// Reads the answers.
    ///
    /// - Parameter document: an object whose keys are among ``keys``; null leaves a default.
    /// - Throws: ``DocumentError`` naming the key, with the nearest known one for an unknown one.
    public init(_ document: Document) throws(DocumentError) {
        guard case .object(let fields) = document else {
            if document == .null { return }
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
        name = try document.optionalText("name")
        if let name { try Self.check("name") { try DNSLabel.check(name) } }
        address = try document.optionalParsed("address") { try SocketAddress(parsing: $0) }
        underlay = try document.optionalParsed("underlay") { try UnderlaySelector(parsing: $0) }
        overlay = try document.optionalParsed("overlay") { try IPv4Prefix(parsing: $0) }
        network = try document.optionalText("network")
        if let network { try Self.check("network") { try NetworkSpec.check(name: network) } }
        vni = try document.optionalInteger(.vni)
        port = try document.optionalInteger(.port)
        mtuBytes = try document.optionalInteger(.mtu)
        forwarder = try document.optionalChoice("forwarder")
        failureDomain = try document.optionalText("failure_domain")
        if let failureDomain { try Self.check("failure_domain") { try DNSLabel.check(failureDomain) } }
        offlineAfter = try document.optionalInteger(.offlineAfter, as: Int64.self).map { .seconds($0) }
        voterTarget = try document.optionalInteger(.voters)
        if let voterTarget { try Self.check("voters") { try ClusterConfig.check(voterTarget: voterTarget) } }
        standbyTarget = try document.optionalInteger(.standbys)
        clusterToken = try document.optionalText("cluster_token")
        if let clusterToken {
            try Self.check("cluster_token") { _ = try JoinToken(parsing: clusterToken) }
            if let field = fields.first(where: { Self.clusterKeys.contains($0.key) && $0.value != .null }) {
                throw DocumentError(
                    path: field.key,
                    problem: "cannot be chosen by a joiner, since the cluster has it; leave it out beside cluster_token"
                )
            }
        }
    }

    private static func check(_ key: String, _ body: () throws -> Void) throws(DocumentError) {
        do { try body() } catch { throw DocumentError(path: key, problem: "is wrong: \(error)") }
    }

    /// The answers as an object with every key that is not left to its default.
    ///
    /// It contains the token: ``withoutSecrets`` does not.
    public var document: Document {
        let all: Document = [
            "name": .text(name),
            "address": .text(address),
            "underlay": .text(underlay),
            "overlay": .text(overlay),
            "network": .text(network),
            "vni": .number(vni),
            "port": .number(port),
            "mtu": .number(mtuBytes),
            "forwarder": .text(forwarder?.rawValue),
            "failure_domain": .text(failureDomain),
            "offline_after_s": .number(offlineAfter?.wholeSeconds),
            "voters": .number(voterTarget),
            "standbys": .number(standbyTarget),
            "cluster_token": .text(clusterToken),
        ]
        return .object(all.fields.filter { $0.value != .null })
    }

    /// The answers without the token, which is good for one join only.
    public var withoutSecrets: Preseed {
        var preseed = self
        preseed.clusterToken = nil
        return preseed
    }

    /// The answers that would make a node's cluster again.
    public init(config: ClusterConfig, member: Member) {
        name = member.name
        address = member.address
        underlay = .prefix(config.mapping.underlay)
        overlay = config.mapping.overlay
        network = config.network
        vni = config.vni
        port = config.port
        mtuBytes = config.mtuBytes
        forwarder = ForwarderChoice(config.forwarder)
        failureDomain = member.failureDomain
        offlineAfter = config.offlineAfter
        voterTarget = config.voterTarget
        standbyTarget = config.standbyTarget
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
