import CLinux
import FanCore
import FanSystem
import Glibc
import TestSupport

@testable import FanDatabase

/// How a node's process ended without being told to.
struct NodeCrash: Hashable, CustomStringConvertible {
    let id: UInt64
    let ending: String
    let words: String

    var description: String { "node \(id) ended by \(ending): \(words)" }
}

/// Database nodes in processes of their own, all gone with this object.
final class ChurnCluster: Sendable {
    struct Node {
        var pid: pid_t
        var isStopped = false
    }

    struct State {
        var nodes: [UInt64: Node] = [:]
        var lastID: UInt64 = 0
        var crashes: [NodeCrash] = []
    }

    private let directory: TestDirectory
    var root: String { directory.path }
    let log: LogLength
    private let state = Lock(State())

    init(log: LogLength) throws {
        directory = try TestDirectory()
        self.log = log
    }

    deinit {
        for node in state.withLock({ $0.nodes.values.map(\.pid) }) {
            kill(node, SIGKILL)
            var status: Int32 = 0
            _ = unsafe fan_reap_blocking(node, &status)
        }
    }

    func address(_ id: UInt64) -> String { "10.0.0.\(id):8473" }

    var ids: [UInt64] { state.withLock { $0.nodes.keys.sorted() } }
    var crashes: [NodeCrash] { state.withLock { $0.crashes } }
    func pid(_ id: UInt64) -> pid_t? { state.withLock { $0.nodes[id]?.pid } }

    // MARK: processes

    /// Starts a node's process and waits until it answers.
    func start(_ id: UInt64, isFirst: Bool) throws {
        let file = unsafe open("\(root)/\(id).log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(file) }
        unsafe unlink("\(root)/\(id).sock")
        let words = [
            Programs.databaseNode, "\(id)", root, "\(log.changes)", "\(log.trailing)", "20",
            isFirst ? "first" : "again",
        ]
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
        defer { unsafe arguments.forEach { unsafe free($0) } }
        let pid = unsafe fan_spawn(Programs.databaseNode, &arguments, fan_environment(), -1, -1, file)
        guard pid > 0 else { throw NotInTime(what: "\(Programs.databaseNode): \(errnoText(-pid))") }
        state.withLock { state in
            state.nodes[id] = Node(pid: pid)
            state.lastID = max(state.lastID, id)
        }
    }

    /// Ends a node's process by a signal, and waits for it; a process that had ended before is a crash.
    func end(_ id: UInt64, by number: Int32) throws {
        guard let node = state.withLock({ $0.nodes[id] }) else { return }
        if noteEnd(id, node.pid) { return }
        kill(node.pid, number)
        if number != SIGKILL { kill(node.pid, SIGCONT) }
        var status: Int32 = 0
        let deadline = ContinuousClock.now + .seconds(20)
        while unsafe fan_reap(node.pid, &status) == 0 {
            guard ContinuousClock.now < deadline else { throw NotInTime(what: "the end of node \(id)") }
            usleep(2_000)
        }
        if fan_exit_signal(status) != number, fan_exit_code(status) != 0 { note(id, status) }
        state.withLock { $0.nodes[id] = nil }
    }

    func signal(_ id: UInt64, _ number: Int32) {
        if let pid = pid(id) { kill(pid, number) }
    }

    /// Cuts a node's connections, once its process has come so far as to have some.
    func cut(_ id: UInt64) {
        if unsafe access("\(root)/\(id).sock", F_OK) == 0 { signal(id, SIGUSR1) }
    }

    /// Starts crashed processes again, and takes note of how they ended.
    func sweep() throws {
        for (id, node) in state.withLock({ $0.nodes }) where noteEnd(id, node.pid) { try start(id, isFirst: false) }
    }

    private func noteEnd(_ id: UInt64, _ pid: pid_t) -> Bool {
        var status: Int32 = 0
        guard unsafe fan_reap(pid, &status) != 0 else { return false }
        note(id, status)
        state.withLock { $0.nodes[id] = nil }
        return true
    }

    private func note(_ id: UInt64, _ status: Int32) {
        let number = fan_exit_signal(status)
        // What a library said, and where in it the process was.
        let lines = ((try? File.read("\(root)/\(id).log")) ?? nil)?.split(separator: "\n") ?? []
        let said = lines.filter { line in
            ["ssertion", "free", "corrupt", "malloc", "realloc", "atal"].contains { line.contains($0) }
        }
        let place = lines.drop { !$0.contains(" crashed:") }.filter { $0.contains(" in ") }
        let words = (said.prefix(4) + place.prefix(16)).joined(separator: "; ")
        let crash = NodeCrash(
            id: id,
            ending: number != 0 ? "signal \(number)" : "exit \(fan_exit_code(status))",
            words: words
        )
        state.withLock { $0.crashes.append(crash) }
    }

    /// A number that no node had.
    func newID() -> UInt64 {
        state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
    }

    // MARK: the database

    func connect(_ id: UInt64, timeout: Duration = .seconds(2)) throws(DatabaseError) -> DatabaseClient {
        let number = unsafe fan_unix_connect("\(root)/\(id).sock")
        guard number >= 0 else { throw DatabaseError(.closed, operation: "connect to node \(id)", message: "") }
        return DatabaseClient(descriptor: number, timeout: timeout)
    }

    /// The node that takes itself for the leader.
    func leader(within time: Duration = .seconds(30)) throws -> UInt64 {
        try eventually(within: time, "a leader") {
            for id in ids {
                if let leader = try? connect(id, timeout: .milliseconds(500)).leader(), leader.id == id { return id }
            }
            return nil
        }
    }

    /// Who takes part in the log, and as what.
    func members() throws -> [DatabaseServer] { try connect(leader()).cluster() }

    /// What every node says of who leads, of the members and of the term, when something did not come about.
    func accounts() -> String {
        ids.map { id in
            func said<Answer>(_ body: (DatabaseClient) throws(DatabaseError) -> Answer) -> String {
                do throws(DatabaseError) { return "\(try body(try connect(id)))" } catch { return "\(error)" }
            }
            let leader = said { client throws(DatabaseError) in try client.leader()?.id ?? 0 }
            let members = said { client throws(DatabaseError) in
                try client.cluster().map { "\($0.id) \($0.role)" }.joined(separator: ", ")
            }
            let term = NodeDirectory("\(root)/\(id)").term()
            return "node \(id) (process \(pid(id) ?? 0)): leader \(leader); members \(members); term \(term)"
        }.joined(separator: "\n")
    }

    /// Asks the leader for a change until it is done.
    func change(
        within time: Duration = .seconds(30),
        _ what: String,
        _ body: (DatabaseClient, [DatabaseServer]) throws -> Bool
    ) throws {
        try eventually(within: time, what) {
            do {
                let client = try connect(leader(within: .seconds(5)), timeout: .seconds(5))
                return try body(client, client.cluster()) ? () : nil
            } catch is DatabaseError {
                usleep(50_000)
                return nil
            } catch is NotInTime {
                return nil
            }
        }
    }

    /// Takes a new node in, as a voter.
    func join(_ id: UInt64) throws {
        try start(id, isFirst: true)
        try change("node \(id) as a member") { client, members in
            if !members.contains(where: { $0.id == id }) { try client.add(id: id, address: address(id)) }
            return true
        }
    }

    func assign(_ id: UInt64, _ role: DatabaseRole, within time: Duration = .seconds(30)) throws {
        try change(within: time, "node \(id) as \(role)") { client, members in
            guard let member = members.first(where: { $0.id == id }), member.role != role else { return true }
            if role != .voter, try client.leader()?.id == id {
                guard let successor = members.first(where: { $0.role == .voter && $0.id != id }) else { return true }
                try client.transfer(to: successor.id)
                return false
            }
            try client.assign(id: id, role: role)
            return true
        }
    }

    /// Makes nodes 1 to `count`, all of them voters.
    func form(_ count: UInt64) throws {
        try start(newID(), isFirst: true)
        _ = try leader()
        for _ in 1..<count {
            let id = newID()
            try join(id)
            try assign(id, .voter)
        }
    }

    /// A node's own copy of the database, as text.
    func copy(_ id: UInt64) throws -> String {
        try DatabaseCopy(files: connect(id, timeout: .seconds(5)).dump(DatabaseClient.databaseName)).text()
    }
}
