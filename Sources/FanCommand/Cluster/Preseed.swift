internal import FanAgent
internal import FanCore

/// The answers to `init`, as a YAML file gives them; what is absent is the default.
///
/// Shape: one object, with the keys of ``document``; `cluster_token` makes it a join.
struct Preseed: Equatable {
    var name: String?
    var address: SocketAddress?
    var failureDomain: String?
    var clusterToken: String?
    var underlay: UnderlaySelector?
    var underlayAddress: IPv4Address?
    var overlay: IPv4Prefix?
    var network: String?
    var vni: UInt32?
    var port: UInt16?
    var mtuBytes: Int?
    /// `auto` or a ``ForwarderKind``.
    var forwarder: String?
    var offlineAfterSeconds: Int64?
    var voters: Int?
    var standbys: Int?
    var tokenExpirySeconds: Int64?

    /// What a preseed may hold.
    static let keys = Preseed().document.fields.map(\.key)
    /// What a preseed that joins may hold: the rest comes from the cluster.
    static let joinKeys = ["name", "address", "failure_domain", "cluster_token"]

    /// Knows nothing.
    init() {}

    /// Reads a preseed strictly.
    ///
    /// - Throws: ``DocumentError`` naming the key: unknown, of the wrong kind, or with a value that cannot be.
    init(_ document: Document) throws(DocumentError) {
        guard case .object(let fields) = document else {
            throw DocumentError(path: "", problem: "is not of the form KEY: VALUE")
        }
        for field in fields {
            if !Self.keys.contains(field.key) {
                let nearest = NearestName.find(field.key, in: Self.keys).map { "; did you mean '\($0)'?" } ?? ""
                throw DocumentError(path: field.key, problem: "is no key of a preseed\(nearest)")
            }
        }
        name = try document.optionalParsed("name") { name in
            try DNSLabel.check(name)
            return name
        }
        address = try document.optionalParsed("address") { try SocketAddress(parsing: $0) }
        failureDomain = try document.optionalParsed("failure_domain") { domain in
            try DNSLabel.check(domain)
            return domain
        }
        clusterToken = try document.optionalParsed("cluster_token") { token in
            _ = try JoinToken(parsing: token)
            return token
        }
        underlay = try document.optionalParsed("underlay") { try UnderlaySelector(parsing: $0) }
        underlayAddress = try document.optionalParsed("underlay_address") { try IPv4Address(parsing: $0) }
        overlay = try document.optionalParsed("overlay") { try IPv4Prefix(parsing: $0) }
        network = try document.optionalParsed("network") { name in
            try NetworkSpec.check(name: name)
            return name
        }
        vni = try document.number("vni", in: 1...0xff_ffff).map(UInt32.init)
        port = try document.number("port", in: 1...65_535).map(UInt16.init)
        mtuBytes = try document.number("mtu", in: 576...65_485)
        forwarder = try document.optionalText("forwarder")
        if let forwarder, forwarder != "auto" { _ = try document.choice("forwarder", as: ForwarderKind.self) }
        offlineAfterSeconds = try document.number("offline_after_s", in: 2...3600).map(Int64.init)
        voters = try document.number("voters", in: 3...9)
        standbys = try document.number("standbys", in: 0...5)
        tokenExpirySeconds = try document.number("token_expiry_s", in: 1...31_536_000).map(Int64.init)
        if clusterToken != nil, let field = fields.first(where: { !Self.joinKeys.contains($0.key) }) {
            throw DocumentError(
                path: field.key,
                problem: "cannot go with cluster_token: a node that joins takes it from the cluster"
            )
        }
    }

    /// Everything that is known, as one object; the rest is null.
    var document: Document {
        [
            "name": .text(name),
            "address": .text(address),
            "failure_domain": .text(failureDomain),
            "cluster_token": .text(clusterToken),
            "underlay": .text(underlay),
            "underlay_address": .text(underlayAddress),
            "overlay": .text(overlay),
            "network": .text(network),
            "vni": .number(vni),
            "port": .number(port),
            "mtu": .number(mtuBytes),
            "forwarder": .text(forwarder),
            "offline_after_s": .number(offlineAfterSeconds),
            "voters": .number(voters),
            "standbys": .number(standbys),
            "token_expiry_s": .number(tokenExpirySeconds),
        ]
    }

    /// The same without what is not known.
    var knownDocument: Document { .object(document.fields.filter { $0.value != .null }) }
}

extension Preseed {
    /// The preseed with which a cluster that runs would be made again by this member.
    init(_ config: ClusterConfig, _ member: Member) {
        name = member.name
        address = member.address
        failureDomain = member.failureDomain
        underlay = .prefix(config.mapping.underlay)
        underlayAddress = member.underlayAddress
        overlay = config.mapping.overlay
        network = config.network
        vni = config.vni
        port = config.port
        mtuBytes = config.mtuBytes
        forwarder = config.forwarder?.rawValue ?? "auto"
        offlineAfterSeconds = config.offlineAfter.wholeSeconds
        voters = config.voterTarget
        standbys = config.standbyTarget
        tokenExpirySeconds = config.tokenExpiry.wholeSeconds
    }
}

extension Document {
    /// The whole number of a key within a range, nil when absent.
    fileprivate func number(_ key: String, in range: ClosedRange<Int>) throws(DocumentError) -> Int? {
        guard let number: Int = try optionalInteger(key) else { return nil }
        guard range.contains(number) else {
            throw DocumentError(path: key, problem: "is \(number), not \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
