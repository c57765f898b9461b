internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// How a node reaches other members' servers, and how they reach its own: the only place with sockets to other hosts.
struct Transport: Sendable {
    /// Connects to a server that has one of the fingerprints, from an own address and under an identity.
    var connect:
        @Sendable (SocketAddress, IPv4Address, Identity, Set<String>, Duration) throws(HTTPError) -> HTTPConnection
    /// Connects to a server's database under an identity; the socket carries plain bytes.
    var openDatabase: @Sendable (SocketAddress, Identity, Set<String>, HTTPHeaders) throws(HTTPError) -> Descriptor
    /// Opens the own port, and gives what closes it.
    var listen: @Sendable (SocketAddress, Service) throws -> @Sendable () -> Void

    /// What is behind the own port; all of it is called on the listener's threads.
    struct Service: Sendable {
        /// What is presented, asked for at each handshake.
        var identity: @Sendable () -> Identity
        /// Who has a quota of its own.
        var members: HTTPMembers
        /// Told of refused connections.
        var log: @Sendable (HTTPServerEvent) -> Void
        /// Answers a request, without blocking.
        var answer: @Sendable (HTTPRequest, HTTPResponder) -> Void
    }

    /// Mutual TLS over TCP.
    static let tls = Transport(
        connect: { address, source, identity, trust, timeout throws(HTTPError) in
            try .tls(to: address, from: source, identity: identity, trusting: trust, timeout: timeout)
        },
        openDatabase: { address, identity, trust, headers throws(HTTPError) in
            try dialUpgraded(
                to: address,
                identity: identity,
                trusting: trust,
                path: Endpoint.openDatabase.target(),
                protocol: ClusterNode.databaseProtocol,
                headers: headers,
                timeout: .seconds(5)
            )
        },
        listen: { address, service in
            let socket = try listenTCP(address)
            let server = try HTTPServer(
                .tls(socket.number, identity: service.identity),
                members: service.members,
                log: service.log,
                handler: service.answer
            )
            return { server.stop() }
        }
    )
}
