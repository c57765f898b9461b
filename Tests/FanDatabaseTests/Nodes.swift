import FanCore
import FanDatabase
import FanSystem
import Glibc
import TestSupport

/// Database nodes in this process that find each other by name, and their directory, gone with this object.
final class Nodes: Sendable {
    private let place: TestDirectory?
    let root: String
    private let running = Lock<[UInt64: DatabaseNode]>([:])
    /// Pairs of nodes that cannot connect to each other.
    private let cut = Lock<Set<UInt64>>([])
    private let log: LogLength
    /// Asked for the way to a node that was reached: a socket in place of the one that is given.
    private let way: @Sendable (UInt64, Int32) -> Int32

    init(
        _ root: String? = nil,
        log: LogLength = LogLength(),
        way: @escaping @Sendable (UInt64, Int32) -> Int32 = { $1 }
    ) throws {
        self.log = log
        self.way = way
        place = root == nil ? try TestDirectory() : nil
        self.root = root ?? place?.path ?? ""
    }

    deinit {
        stopAll()
    }

    func directory(_ id: UInt64) -> String { "\(root)/\(id)" }

    func address(_ id: UInt64) -> String { "10.0.0.\(id):8473" }

    @discardableResult
    func start(_ id: UInt64, mayBeEmpty: Bool = true, log: LogLength? = nil) throws -> DatabaseNode {
        let node = try DatabaseNode(
            id: id,
            address: address(id),
            directory: directory(id),
            mayBeEmpty: mayBeEmpty,
            log: log ?? self.log,
            connect: { [weak self] address in self?.dial(address, from: id) ?? -1 }
        )
        try node.start()
        running.withLock { $0[id] = node }
        return node
    }

    func stop(_ id: UInt64) {
        running.withLock { $0.removeValue(forKey: id) }?.stop()
    }

    func stopAll() {
        for id in running.withLock({ Array($0.keys) }) { stop(id) }
    }

    func node(_ id: UInt64) throws -> DatabaseNode {
        try running.withLock { $0[id] } ?? { throw Absent(id: id) }()
    }

    func isolate(_ id: UInt64, _ isCut: Bool) {
        cut.withLock { cut in
            if isCut { cut.insert(id) } else { cut.remove(id) }
        }
    }

    private func dial(_ address: String, from id: UInt64) -> Int32 {
        guard let host = address.split(separator: ":").first?.split(separator: ".").last, let other = UInt64(host),
            !cut.withLock({ $0.contains(id) || $0.contains(other) }),
            let node = running.withLock({ $0[other] }), let socket = try? node.connectLocally()
        else { return -1 }
        return way(other, socket)
    }

    /// A client that does not open the database.
    func client(_ id: UInt64, timeout: Duration = .seconds(10)) throws -> DatabaseClient {
        DatabaseClient(descriptor: try node(id).connectLocally(), timeout: timeout)
    }

    /// A client with the database open.
    func openClient(_ id: UInt64, timeout: Duration = .seconds(10)) throws -> DatabaseClient {
        let client = try client(id, timeout: timeout)
        try client.open()
        return client
    }

    /// Starts nodes 1 to `count` and makes all of them voters.
    func form(_ count: UInt64) throws {
        try start(1)
        let client = try client(1)
        _ = try leader()
        for id in 2..<max(2, count + 1) {
            try start(id)
            try client.add(id: id, address: address(id))
            try client.assign(id: id, role: .voter)
        }
    }

    /// The node that most nodes take for the leader and that takes itself for it.
    func leader(within time: Duration = .seconds(20)) throws -> UInt64 {
        try eventually(within: time, "a leader") {
            for id in running.withLock({ Array($0.keys) }) {
                if let leader = try? client(id, timeout: .seconds(2)).leader(), leader.id == id { return id }
            }
            return nil
        }
    }
}

struct Absent: Error {
    let id: UInt64
}
