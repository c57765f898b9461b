internal import CCowSQL
internal import CLinux
internal import CRaftHeap
internal import FanCore
internal import FanSystem
internal import Glibc

/// The database node inside this process: its log and snapshots in a directory, its threads, its local socket.
///
/// The library's assertions abort the process, so that nothing else than the server lives in it.
public final class DatabaseNode: Sendable {
    /// The node's number in the cluster.
    public let id: UInt64
    /// The address by which the other nodes know it.
    public let address: String
    /// The directory with its files.
    public let directory: String
    /// The abstract socket on which it listens, for this process alone: `@fanmesh-…`.
    public let bindAddress: String

    private enum Phase {
        case made
        case running
        case stopped
    }

    private struct State: ~Copyable {
        var phase = Phase.made
        /// The library's object; nil once it is destroyed.
        var node: LibraryNode?
        /// Held as long as the library may use the directory.
        var lock: DirectoryLock?
    }

    /// The library's node and what its callback holds.
    // @unchecked: only touched under the mutex of the state that has it; the library's own threads take care of themselves.
    @safe private struct LibraryNode: @unchecked Sendable {
        let pointer: OpaquePointer
        let dialer: Unmanaged<Dialer>
    }

    private let state: Lock<State>
    /// Connects to another node, as the library does; gives -1 when that fails.
    let connect: @Sendable (String) -> Int32
    /// Who answers those that ask for a vote.
    let voting = WorkerPool(name: "fan-vote", threads: 1, queueLimit: 1)

    /// Makes a node that does not run yet.
    ///
    /// - Parameters:
    ///   - id: its number, never 0. Number 1 makes a new cluster when its directory is empty.
    ///   - address: how the other nodes' `connect` finds it.
    ///   - directory: its files; made when there is none.
    ///   - mayBeEmpty: whether this is the node's first start. A node that lost its files must never start again under
    ///     its number, so that without this an empty directory is an error.
    ///   - latencyMilliseconds: the network's; a leader is missed after 15 times as long.
    ///   - failureDomain: a number for what may fail together.
    ///   - log: how much of the log stays in memory and on the disk.
    ///   - connect: connects to another node's address and returns a socket that the library then owns, or -1. Called
    ///     on the library's threads, which also write to the disk: it must end within 5 s.
    /// - Throws: ``DatabaseError``.
    public init(
        id: UInt64,
        address: String,
        directory: String,
        mayBeEmpty: Bool = false,
        latencyMilliseconds: Int = 33,
        failureDomain: UInt64 = 0,
        log: LogLength = LogLength(),
        connect: @escaping @Sendable (String) -> Int32
    ) throws(DatabaseError) {
        let files = NodeDirectory(directory)
        let lock = try files.prepare()
        try files.check(id: id, mayBeEmpty: mayBeEmpty)
        Self.prepareProcess()
        let bind = Self.randomBindAddress()
        let pointer = try unsafe Self.create(id: id, address: address, directory: directory)
        let dialer = unsafe Unmanaged.passRetained(Dialer(connect))
        do throws(DatabaseError) {
            func set(_ operation: String, _ code: Int32) throws(DatabaseError) {
                try unsafe DatabaseNode.check(pointer, code, operation)
            }
            try set("bind the database's socket", unsafe cowsql_node_set_bind_address(pointer, bind))
            try set(
                "set how the database connects",
                unsafe cowsql_node_set_connect_func(pointer, dialNode, dialer.toOpaque())
            )
            try set(
                "set the database's latency to \(latencyMilliseconds) ms",
                unsafe cowsql_node_set_network_latency_ms(pointer, UInt32(clamping: latencyMilliseconds))
            )
            try set("set the database's failure domain", unsafe cowsql_node_set_failure_domain(pointer, failureDomain))
            let (changes, trailing) = (UInt32(clamping: log.changes), UInt32(clamping: log.trailing))
            try set(
                "take a snapshot after \(log.changes) changes and keep \(log.trailing) before it",
                unsafe cowsql_node_set_snapshot_params(pointer, changes, trailing)
            )
            // Left to itself the library sets damaged files aside and starts without them: acknowledged data would be
            // gone, and nobody would know.
            try set("make the database refuse damaged files", unsafe cowsql_node_set_auto_recovery(pointer, false))
            try files.sign(id: id, address: address)
        } catch {
            unsafe cowsql_node_destroy(pointer)
            unsafe dialer.release()
            throw error
        }
        unsafe fan_keep_abstract_from_children(String(bind.dropFirst()))
        self.id = id
        self.address = address
        self.directory = directory
        self.connect = connect
        bindAddress = bind
        state = unsafe Lock(State(node: LibraryNode(pointer: pointer, dialer: dialer), lock: lock))
    }

    deinit {
        stop()
    }

    /// Starts the node: reads its files, then takes part in the cluster.
    ///
    /// - Throws: ``DatabaseError`` with the library's reason; the node cannot be used any more then.
    public func start() throws(DatabaseError) {
        let directory = directory
        let bindAddress = bindAddress
        try state.withLock { state throws(DatabaseError) in
            guard state.phase == .made, let node = state.node else {
                throw DatabaseError(
                    .closed,
                    operation: "start the database",
                    message: "it was started or stopped already"
                )
            }
            // What the library reads of its log now it may send and free in the wrong order later.
            fan_blocks_keep(1)
            let code = unsafe cowsql_node_start(node.pointer)
            fan_blocks_keep(-1)
            guard code == 0 else {
                let reason = unsafe Self.message(node.pointer)
                // The library leaves its socket open when it cannot start.
                let socket = unsafe fan_keep_abstract_from_children(String(bindAddress.dropFirst()))
                Self.destroy(node)
                if socket >= 0 { close(socket) }
                state.node = nil
                state.lock = nil
                state.phase = .stopped
                throw DatabaseError(
                    .unusable,
                    operation: "start the database in '\(directory)'",
                    message: reason + "; if other members are alive, remove this one from the cluster and join again;"
                        + " if it is the last one, 'fanmesh cluster recover' saves what can be read"
                )
            }
            state.phase = .running
        }
    }

    /// Stops the node and lets go of its directory; safe to repeat.
    ///
    /// Waits for a `connect` that is under way.
    public func stop() {
        state.withLock { state in
            guard let node = state.node else { return }
            if state.phase == .running { _ = unsafe cowsql_node_stop(node.pointer) }
            Self.destroy(node)
            state.node = nil
            state.lock = nil
            state.phase = .stopped
        }
    }

    /// Whether the node was started and not stopped.
    public var isRunning: Bool { state.withLock { $0.phase == .running } }

    /// Connects to this node, for a client in this process or for the bytes of another node that came in.
    ///
    /// - Returns: a socket, which the caller closes.
    /// - Throws: ``DatabaseError``.
    public func connectLocally() throws(DatabaseError) -> Int32 {
        let number = unsafe fan_connect_abstract(String(bindAddress.dropFirst()))
        guard number >= 0 else {
            throw DatabaseError(
                .closed,
                operation: "connect to the database",
                message: "it does not run here: \(errnoText(-number))"
            )
        }
        return number
    }

    /// What messages of peers have to pass.
    public let installGate = InstallGate()

    /// Raft's term as this node knows it, from its files; 0 before it has one.
    public var term: UInt64 { NodeDirectory(directory).term() }

    /// This node's own copy of the database, whoever leads.
    ///
    /// - Parameter timeout: how long to wait.
    /// - Returns: the copy.
    /// - Throws: ``DatabaseError``.
    public func copy(timeout: Duration = .seconds(5)) throws(DatabaseError) -> DatabaseCopy {
        let client = DatabaseClient(descriptor: try connectLocally(), timeout: timeout)
        return try DatabaseCopy(files: try client.dump(DatabaseClient.databaseName))
    }

    /// Makes a directory's copy of the database a cluster of one node, when the others are lost for good.
    ///
    /// When the end of the log is damaged, it is set aside, and the copy ends earlier. Make a backup of the directory
    /// before.
    ///
    /// Requires: no node of the cluster runs. Undo: the backup.
    ///
    /// - Parameters:
    ///   - id: this node's number.
    ///   - address: this node's address.
    ///   - directory: its files.
    /// - Returns: the names of the files that were set aside; empty when nothing is lost.
    /// - Throws: ``DatabaseError``.
    @discardableResult
    public static func recover(id: UInt64, address: String, directory: String) throws(DatabaseError) -> [String] {
        let files = NodeDirectory(directory)
        let lock = try files.prepare()
        try files.check(id: id, mayBeEmpty: false)
        prepareProcess()
        let log = try files.log()
        guard log.holdsData else {
            throw DatabaseError(
                .unusable,
                operation: "recover the database in '\(directory)'",
                message: "it never received any data; recover another member"
            )
        }
        var code = try recover(id: id, address: address, directory: directory, skippingDamage: false)
        if code != 0, log.survivesItsEnd {
            code = try recover(id: id, address: address, directory: directory, skippingDamage: true)
        }
        guard code == 0 else {
            throw DatabaseError(
                .unusable,
                operation: "recover the database in '\(directory)'",
                message: "its files are damaged beyond their end; recover another member or restore a backup"
            )
        }
        try files.sign(id: id, address: address)
        let damaged = try files.log().damaged
        _ = consume lock
        return damaged.filter { !log.damaged.contains($0) }
    }

    private static func recover(
        id: UInt64,
        address: String,
        directory: String,
        skippingDamage: Bool
    ) throws(DatabaseError) -> Int32 {
        let pointer = try unsafe create(id: id, address: address, directory: directory)
        defer { creating.withLock { _ in unsafe cowsql_node_destroy(pointer) } }
        try unsafe check(
            pointer,
            cowsql_node_set_auto_recovery(pointer, skippingDamage),
            "choose how to read damaged files"
        )
        return unsafe address.withCString { text in
            var info = cowsql_node_info_ext(
                size: UInt64(MemoryLayout<cowsql_node_info_ext>.size),
                id: id,
                address: UInt64(UInt(bitPattern: text)),
                cowsql_role: DatabaseRole.voter.wireNumber
            )
            return unsafe cowsql_node_recover_ext(pointer, &info, 1)
        }
    }

    // MARK: the library

    /// Names of the library's file systems are counted without a lock.
    private static let creating = Lock(0)

    private static func create(id: UInt64, address: String, directory: String) throws(DatabaseError) -> OpaquePointer {
        let operation = "open the database in '\(directory)'"
        guard id > 0, !address.isEmpty, !address.utf8.contains(0) else {
            throw DatabaseError(.unusable, operation: operation, message: "node \(id) at '\(address)' cannot be one")
        }
        return try unsafe creating.withLock { _ throws(DatabaseError) in
            var made: OpaquePointer?
            let code = unsafe cowsql_node_create(id, address, directory, &made)
            guard code == 0, let pointer = unsafe made else {
                let reason = unsafe made.map { unsafe message($0) } ?? "out of memory"
                unsafe cowsql_node_destroy(made)
                throw DatabaseError(.unusable, operation: operation, message: reason)
            }
            return unsafe pointer
        }
    }

    private static func destroy(_ node: LibraryNode) {
        creating.withLock { _ in unsafe cowsql_node_destroy(node.pointer) }
        unsafe node.dialer.release()
    }

    private static func check(_ node: OpaquePointer, _ code: Int32, _ operation: String) throws(DatabaseError) {
        guard code == 0 else { throw DatabaseError(.unusable, operation: operation, message: unsafe message(node)) }
    }

    private static func message(_ node: OpaquePointer) -> String {
        let text = unsafe cowsql_node_errmsg(node).map { unsafe String(cString: $0) } ?? ""
        return text.isEmpty ? "the database library gives no reason" : text.escapingControls()
    }

    private static func randomBindAddress() -> String {
        let digits = String(UInt128.random(in: .min ... .max), radix: 16)
        return "@fanmesh-" + String(repeating: "0", count: 32 - digits.count) + digits
    }

    private static let processIsPrepared: Bool = {
        // `connect` blocks one of these threads, and the disk needs some as well.
        unsafe fan_set_environment("UV_THREADPOOL_SIZE", "8")
        // The library writes with write(2).
        fan_ignore_broken_pipes()
        fan_blocks_serve_raft()
        return true
    }()

    private static func prepareProcess() { _ = processIsPrepared }
}

/// What the library's callback calls.
private final class Dialer: Sendable {
    let connect: @Sendable (String) -> Int32

    init(_ connect: @escaping @Sendable (String) -> Int32) {
        self.connect = connect
    }
}

/// Called on the library's threads.
private let dialNode:
    @Sendable @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<CChar>?, UnsafeMutablePointer<Int32>?) -> Int32 =
        {
            context,
            address,
            descriptor in
            guard let context = unsafe context, let address = unsafe address, let descriptor = unsafe descriptor else {
                return 1
            }
            let dialer = unsafe Unmanaged<Dialer>.fromOpaque(context).takeUnretainedValue()
            let number = dialer.connect(unsafe String(cString: address))
            guard number >= 0 else { return 1 }
            unsafe descriptor.pointee = number
            return 0
        }
