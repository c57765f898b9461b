import CLinux
import FanCore
import FanDatabase
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import Testing

@testable import FanServer

/// What a member's server, broken into, can send into another's database.
final class MemberTunnel {
    private let socket: Descriptor

    /// Opens a tunnel with a member's own certificate; nothing is said yet.
    init(from source: TestServers.Node, to target: TestServers.Node) throws {
        socket = Descriptor(adopting: try Self.open(from: source, to: target))
    }

    /// The same, for speaking to the database as a client.
    static func client(from source: TestServers.Node, to target: TestServers.Node) throws -> DatabaseClient {
        DatabaseClient(descriptor: try open(from: source, to: target), timeout: .seconds(2))
    }

    private static func open(from source: TestServers.Node, to target: TestServers.Node) throws -> Int32 {
        let membership = try #require(try target.server.local.directory.membership())
        return try dialUpgraded(
            to: target.address,
            identity: try #require(try source.server.local.directory.identity(.node)),
            trusting: [try #require(try target.server.local.directory.identity(.cluster)).fingerprint],
            path: "/1.0/internal/database",
            protocol: "fanmesh-database",
            headers: ["Fanmesh-Cluster": membership.clusterID],
            timeout: .seconds(5)
        ).take()
    }

    /// A number as the database's protocol has it.
    static func word(_ number: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }

    /// How a database node says who it is.
    static func connect(_ id: UInt64, _ address: SocketAddress) -> [UInt8] {
        var name = Array("\(address)".utf8) + [0]
        name += [UInt8](repeating: 0, count: (8 - name.count % 8) % 8)
        let body = word(id) + name
        return word(1) + word(UInt64(body.count / 8) | 11 << 32) + body
    }

    func send(_ bytes: [UInt8]) throws {
        let count = unsafe Glibc.send(socket.number, bytes, bytes.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL))
        try #require(count == bytes.count)
    }

    /// Whether the other side closes it in time.
    func isCut(within milliseconds: Int32 = 3000) -> Bool {
        guard fan_poll_one(socket.number, Int32(POLLIN), milliseconds) > 0 else { return false }
        var bytes = [UInt8](repeating: 0, count: 64)
        return unsafe recv(socket.number, &bytes, bytes.count, 0) <= 0
    }
}
