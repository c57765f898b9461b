internal import FanCore
internal import FanHTTP
internal import FanTLS

/// Writes the state of one node through one member, request after request, over mutual TLS that is kept.
///
/// The same client code and the same state for ours and for the peer; so only the servers differ.
struct StateWriter: Sendable {
    /// Where requests go.
    let address: SocketAddress
    let identity: Identity
    let trusted: String
    /// Prepares a connection, and gives what writes the state on it.
    let prepare: @Sendable (HTTPConnection) throws -> Requests

    /// Makes the request that writes a state.
    typealias Requests = @Sendable (NodeReport) -> (method: String, target: String, body: [UInt8])

    /// A connection on which states can be written.
    struct Session {
        let connection: HTTPConnection
        let request: Requests

        /// Writes a state and waits until it is acknowledged.
        func write(_ report: NodeReport) throws {
            let (method, target, body) = request(report)
            try connection.succeed(method, target, body)
        }
    }

    /// Connects; the calling thread must be where the member can be reached from.
    func connect() throws -> Session {
        let connection = try HTTPConnection.tls(
            to: address,
            identity: identity,
            trusting: [trusted],
            timeout: .seconds(5)
        )
        return Session(connection: connection, request: try prepare(connection))
    }

    /// Writes to a member of our cluster.
    static func ours(_ ours: OurCluster, through number: Int, about name: String) throws -> StateWriter {
        StateWriter(
            address: ours.address(number),
            identity: try ours.identity(number),
            trusted: try ours.fingerprint(),
            prepare: { _ in
                { report in
                    (Endpoint.reportMember.method, Endpoint.reportMember.target(name), report.document.compactJSON)
                }
            }
        )
    }

    /// Writes to a member of an LXD cluster, into the member's configuration.
    static func peer(_ lxd: LXDCluster, through number: Int, about name: String, _ client: Identity) throws
        -> StateWriter
    {
        let target = "/1.0/cluster/members/\(name)"
        return StateWriter(
            address: lxd.address(number),
            identity: client,
            trusted: try Identity(directory: lxd.directory(number), name: "cluster").fingerprint,
            prepare: { connection in
                // A PATCH wants all of it back, and merges the configuration alone.
                let member = try connection.succeed("GET", target, nil).document()["metadata"]
                let kept = member.picking("roles", "failure_domain", "description", "groups")
                return { report in
                    let state = Document.string(report.document.compactJSONText)
                    let body = Document.object(kept + [Document.Field(key: "config", value: ["user.fan.state": state])])
                    return ("PATCH", target, body.compactJSON)
                }
            }
        )
    }
}

extension HTTPConnection {
    /// Sends a request; anything but success is an error.
    @discardableResult
    func succeed(
        _ method: String,
        _ target: String,
        _ body: [UInt8]?,
        timeout: Duration = .seconds(20)
    ) throws -> HTTPResponse {
        let response = try request(method, target, body: body, timeout: timeout)
        guard (200..<300).contains(response.status) else {
            throw BenchError("\(method) \(target): \(String(decoding: response.body, as: UTF8.self))")
        }
        return response
    }
}

/// States that differ from one another.
struct ChangingReport: Sendable {
    private var report: NodeReport
    private var number = 0

    /// Starts from what a node really reported.
    init(_ report: NodeReport) {
        self.report = report
    }

    /// The next state.
    mutating func next() -> NodeReport {
        number += 1
        report.warnings = [
            Finding(code: "bench", severity: .warning, message: "state number \(number)", remedy: "none is needed")
        ]
        return report
    }
}
