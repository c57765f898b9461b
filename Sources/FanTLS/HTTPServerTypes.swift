public import FanCore

/// What a server allows.
public struct HTTPLimits: Sendable {
    /// The largest body of a request.
    public var maximumBodyBytes = 1 << 20
    /// About the largest head of a request; what the server keeps for it counts too.
    public var maximumHeaderBytes = 16 << 10
    /// Connections at a time; fewer where the process may not open so many descriptors.
    public var connections = 4096
    /// Connections at a time from one address, or of one member; local ones are not counted by address.
    public var connectionsPerAddress = 64
    /// How long a connection may wait for the head of the next request.
    public var idleTimeout = Duration.seconds(120)
    /// How long a TLS handshake may take.
    public var handshakeTimeout = Duration.seconds(10)
    /// How long the rest of a request may take once its first line is there, and how long an answer may take to leave.
    public var requestTimeout = Duration.seconds(30)

    /// The default limits.
    public init() {}
}

/// Who has room of their own at a server, which no stranger can take.
///
/// Both are asked on the thread that accepts: they must be quick.
public struct HTTPMembers: Sendable {
    /// Whether a member may come from this address.
    public var hasAddress: @Sendable (IPv4Address) -> Bool
    /// Whether this is the fingerprint of a member's certificate.
    public var hasFingerprint: @Sendable (String) -> Bool

    /// Tells members from strangers.
    public init(
        hasAddress: @escaping @Sendable (IPv4Address) -> Bool,
        hasFingerprint: @escaping @Sendable (String) -> Bool
    ) {
        self.hasAddress = hasAddress
        self.hasFingerprint = hasFingerprint
    }
}

/// Something about a connection that is worth a line in a log.
public struct HTTPServerEvent: Hashable, Sendable, CustomStringConvertible {
    /// What kind of thing.
    public enum Kind: Hashable, Sendable {
        /// No TLS connection came about.
        case handshakeFailed
        /// There are too many connections, and none of them can make way.
        case refused
        /// It was ended to make room for another one.
        case displaced
        /// A request was not complete, or its answer not taken, in time.
        case timedOut
        /// A request that breaks the rules or the limits was answered with an error.
        case badRequest
    }

    /// What kind of thing.
    public var kind: Kind
    /// Where the connection comes from: an address without its port, or `local`.
    public var source: String
    /// Why.
    public var cause: String

    /// Describes an event.
    public init(kind: Kind, source: String, cause: String) {
        self.kind = kind
        self.source = source
        self.cause = cause
    }

    /// One line for a log.
    public var description: String {
        switch kind {
        case .handshakeFailed: "refused a connection from \(source): \(cause)"
        case .refused: "refused a connection from \(source): \(cause)"
        case .displaced: "closed an idle connection from \(source): \(cause)"
        case .timedOut: "closed a connection from \(source): \(cause)"
        case .badRequest: "refused a request from \(source): \(cause)"
        }
    }
}
