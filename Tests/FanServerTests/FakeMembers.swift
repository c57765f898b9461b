import FanDatabase
import FanSystem
import FanTLS
import TestSupport

@testable import FanCore
@testable import FanHTTP
@testable import FanServer

/// The servers of other members, which a test answers for: a transport without sockets, that keeps what went over it.
final class FakeMembers: Sendable {
    /// What is answered to a request; nil when the connection breaks instead.
    typealias Answer = @Sendable (SocketAddress, HTTPRequest) -> HTTPResponse?

    struct State {
        var answer: Answer = { _, _ in nil }
        /// Connects to a member's database; -1 where there is none.
        var openDatabase: @Sendable (SocketAddress) -> Int32 = { _ in -1 }
        /// Who cannot be connected to.
        var unreachable: Set<SocketAddress> = []
        /// Whom connections were made to, from where, and whom they trust.
        var connections: [(to: SocketAddress, from: IPv4Address, identity: String, trust: Set<String>)] = []
        var requests: [(to: SocketAddress, request: HTTPRequest)] = []
        /// What became of the own port.
        var port: [String] = []
        /// What presents itself on the own port.
        var presented: (@Sendable () -> Identity)?
        /// What the log says.
        var log: [LogLine] = []
    }

    let state = Lock(State())

    /// The steps that were asked for, such as `POST node2/1.0/internal/heartbeat`.
    var asked: [String] {
        state.withLock { state in
            state.requests.map { to, request in
                "\(request.method) node\("\(to.address)".split(separator: ".").last ?? "")\(request.path)"
            }
        }
    }
    var port: [String] { state.withLock { $0.port } }
    var log: [String] { state.withLock { $0.log.map(\.code) } }

    func answer(_ answer: @escaping Answer) { state.withLock { $0.answer = answer } }

    var transport: Transport {
        Transport(
            connect: { [state] address, source, identity, trust, _ throws(HTTPError) in
                let isReached = state.withLock { state in
                    state.connections.append((address, source, identity.fingerprint, trust))
                    return !state.unreachable.contains(address)
                }
                guard isReached else { throw HTTPError(.connect("nobody is there"), peer: "\(address)") }
                return HTTPConnection(
                    stream: FakeStream("\(address)") { request in
                        let answer = state.withLock { state in
                            state.requests.append((address, request))
                            return state.answer
                        }
                        return answer(address, request)
                    }
                )
            },
            openDatabase: { [state] address, _, _, _ throws(HTTPError) in
                let number = state.withLock { $0.openDatabase }(address)
                guard number >= 0 else { throw HTTPError(.connect("it has no database"), peer: "\(address)") }
                return Descriptor(adopting: number)
            },
            listen: { [state] address, service in
                state.withLock { state in
                    state.port.append("open \(address)")
                    state.presented = service.identity
                }
                return { state.withLock { $0.port.append("close") } }
            }
        )
    }

    var serverLog: ServerLog { ServerLog(put: { [state] line in state.withLock { $0.log.append(line) } }) }
}

/// A connection whose other end is a closure.
private final class FakeStream: ByteStream {
    private struct State {
        var conversation = ServerConversation(
            peer: .remote(address: "127.9.0.1:1", fingerprint: ""),
            limits: HTTPLimits()
        )
        var isClosed = false
    }

    let peer: String
    private let state = Lock(State())
    private let answer: @Sendable (HTTPRequest) -> HTTPResponse?

    init(_ peer: String, answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse?) {
        self.peer = peer
        self.answer = answer
    }

    var hasInput: Bool { state.withLock { $0.isClosed || !$0.conversation.unsent.isEmpty } }

    func read(into buffer: inout [UInt8], deadline: ContinuousClock.Instant) throws(HTTPError) -> Int {
        let bytes = state.withLock { state -> [UInt8] in
            let bytes = Array(state.conversation.unsent.prefix(buffer.count))
            state.conversation.sent(bytes.count)
            return bytes
        }
        buffer.replaceSubrange(..<bytes.count, with: bytes)
        return bytes.count
    }

    func write(_ bytes: [UInt8], deadline: ContinuousClock.Instant) throws(HTTPError) {
        let step = state.withLock { state -> ServerConversation.Step? in
            guard !state.isClosed else { return nil }
            state.conversation.take(bytes[...])
            return state.conversation.next()
        }
        guard let step else { throw HTTPError(.closed("while it was written to"), peer: peer) }
        guard case .handle(let request) = step else { return }
        let response = answer(request)
        state.withLock { state in
            if let response { state.conversation.answer(response) } else { state.isClosed = true }
        }
    }

    func close() { state.withLock { $0.isClosed = true } }
}

/// A node in a directory of its own, whose cluster are fakes; it opens no port.
final class LoneNode: Sendable {
    static let clusterID = String(repeating: "c", count: 32)
    private let directory: TestDirectory
    let others = FakeMembers()
    let local: LocalNode

    init() throws {
        directory = try TestDirectory()
        let files = ServerDirectory(path: directory.file("server"))
        try files.make()
        local = LocalNode(directory: files, log: others.serverLog, transport: others.transport) { _, _, responder in
            responder.respond(HTTPResponse(status: 500))
        }
        local.resume { _ in true }
    }

    static func address(_ number: UInt64) -> SocketAddress {
        SocketAddress(IPv4Address(127, 9, 0, UInt8(number)))
    }

    /// The member of a number: `node2` is at 127.9.0.2.
    static func member(_ number: UInt64, _ fingerprint: String? = nil) -> Member {
        Member(
            id: number,
            name: "node\(number)",
            nodeID: String(repeating: "\(number)", count: 32),
            address: address(number),
            underlayAddress: address(number).address,
            fingerprint: fingerprint ?? String(repeating: "\(number)", count: 64),
            version: FanmeshVersion.text,
            schema: Schema.version,
            joinedAt: 0
        )
    }

    /// What the members of these numbers know.
    static func cluster(of members: [Member]) throws -> ClusterState {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "127.9.0.0/16")
        )
        return ClusterState(
            generation: 0,
            config: ClusterConfig(clusterID: clusterID, mapping: mapping),
            members: members
        )
    }

    /// Makes this node the member of a number, which does not work yet: the first of a cluster, or one that joins it.
    func makeMember(_ own: UInt64 = 1, others numbers: [UInt64] = [], cluster: Identity) throws -> ClusterNode {
        let identity = try Identity.generate(commonName: "node\(own)")
        let state = try Self.cluster(of: [Self.member(own, identity.fingerprint)] + numbers.map { Self.member($0) })
        return try ClusterNode(
            directory: local.directory,
            log: local.log,
            transport: others.transport,
            membership: Membership(
                clusterID: Self.clusterID,
                id: own,
                name: "node\(own)",
                address: Self.address(own),
                isJoining: own != 1
            ),
            incarnation: 1,
            nodeIdentity: identity,
            certificates: ClusterNode.Certificates(cluster: cluster),
            state: state,
            first: own == 1 ? state : nil,
            hasAgent: { true },
            changed: {}
        )
    }
}

/// The code that something is refused with; nil when it is not.
func refusal(_ body: () throws -> Void) -> ClusterError? {
    do { try body() } catch { return error as? ClusterError ?? ClusterError(.failed, "another error: \(error)") }
    return nil
}
