import CLinux
import FanCore
import FanSystem
import Glibc
import Synchronization
import TestSupport

@testable import FanDatabase

/// Writes growing values of ten keys, each again and again until it is acknowledged, until told to end.
final class ChurnWriter: Sendable {
    private struct Ledger {
        var acknowledged: [Int64: Int64] = [:]
        var count = 0
    }

    private let ledger = Lock(Ledger())
    private let isOver = Atomic(false)
    private let hasEnded = Atomic(false)

    /// The last value of each key that was acknowledged.
    var acknowledged: [Int64: Int64] { ledger.withLock { $0.acknowledged } }
    /// How many writes were acknowledged.
    var count: Int { ledger.withLock { $0.count } }

    init(_ cluster: ChurnCluster, keys: Range<Int64>) {
        startThread("churn-writer") { [self] in
            var value: Int64 = 0
            var client: DatabaseClient?
            while !isOver.load(ordering: .relaxed) {
                value += 1
                let key = keys.lowerBound + value % Int64(keys.count)
                while !isOver.load(ordering: .relaxed), !write(key, value, &client, cluster) { usleep(1_000) }
            }
            hasEnded.store(true, ordering: .releasing)
        }
    }

    private func write(_ key: Int64, _ value: Int64, _ client: inout DatabaseClient?, _ cluster: ChurnCluster) -> Bool {
        do throws(DatabaseError) {
            if client?.isOpen != true {
                guard let id = cluster.ids.randomElement() else { return false }
                // A node that is stopped does not answer: the others are asked soon, so that the log goes on growing.
                guard try cluster.connect(id, timeout: .milliseconds(50)).leader()?.id == id else { return false }
                let fresh = try cluster.connect(id, timeout: .milliseconds(400))
                try fresh.open()
                client = fresh
            }
            // An older write that is applied late must change nothing.
            try client?.executePrepared(
                "INSERT INTO churn (k, n, pad) VALUES (?, ?, ?) ON CONFLICT (k) DO UPDATE SET n = excluded.n"
                    + " WHERE excluded.n > churn.n",
                [.integer(key), .integer(value), .text(String(repeating: "x", count: 300))]
            )
            ledger.withLock { ledger in
                ledger.acknowledged[key] = value
                ledger.count += 1
            }
            return true
        } catch {
            if !error.isBusy { client = nil }
            return false
        }
    }

    /// Ends the writes and waits for the one under way.
    func stop() throws {
        isOver.store(true, ordering: .relaxed)
        try eventually("the end of the writers") { hasEnded.load(ordering: .acquiring) ? () : nil }
    }
}

/// Faults one after the other, while writers go on; what they were promised is compared with what is there.
final class ChurnRun {
    /// What may happen to a node.
    enum Fault {
        case kill, restart, pause, longPause, cut, transfer, demote, replace

        /// How often each comes: what takes long comes less often.
        static let drawn: [Fault] = [
            .kill, .kill, .kill, .restart, .restart, .pause, .pause, .pause, .longPause, .longPause, .cut, .cut,
            .transfer, .demote, .demote, .replace,
        ]
    }

    private struct Healing {
        var at: ContinuousClock.Instant
        var id: UInt64
        var fault: Fault
    }

    let cluster: ChurnCluster
    private let writer: ChurnWriter
    private var random: SeededGenerator
    private var healing: [Healing] = []
    private let pace: Duration
    /// How often what was done.
    private(set) var faults: [Fault: Int] = [:]

    /// How many writes were acknowledged.
    var acknowledged: Int { writer.count }

    /// Makes a cluster and begins to write.
    ///
    /// - Parameters:
    ///   - nodes: how many, all of them voters.
    ///   - log: how long their log gets.
    ///   - seed: of the faults.
    ///   - pace: the time between two faults, on average.
    /// - Throws: what keeps the cluster from being made.
    init(nodes: UInt64, log: LogLength, seed: UInt64, pace: Duration) throws {
        let cluster = try ChurnCluster(log: log)
        self.cluster = cluster
        random = SeededGenerator(seed: seed)
        self.pace = pace
        try cluster.form(nodes)
        try cluster.change("the table") { client, _ in
            try client.open()
            try client.execute("CREATE TABLE IF NOT EXISTS churn (k INTEGER PRIMARY KEY, n INTEGER, pad TEXT)")
            return true
        }
        writer = ChurnWriter(cluster, keys: 0..<10)
    }

    /// Makes so many faults.
    func go(_ count: Int) throws {
        var done = 0
        while done < count {
            usleep(UInt32(pace / .microseconds(1) * Double.random(in: 0.5..<1.5, using: &random)))
            try cluster.sweep()
            try heal(all: false)
            if try inject() { done += 1 }
        }
    }

    /// Heals all, ends the writes, and waits until all copies are the same.
    ///
    /// - Returns: what was acknowledged and is not there.
    func settle() throws -> [String] {
        try heal(all: true)
        try cluster.sweep()
        var members: [DatabaseServer] = []
        let isWhole = eventually(within: .seconds(60)) {
            try? cluster.sweep()
            guard let found = try? cluster.members() else { return false }
            members = found
            return true
        }
        guard isWhole else { throw NotInTime(what: "the members\n" + cluster.accounts()) }
        // A removal of which nobody heard the end.
        for id in cluster.ids where !members.contains(where: { $0.id == id }) { try cluster.end(id, by: SIGKILL) }
        for id in cluster.ids { try cluster.assign(id, .voter) }
        try writer.stop()
        // Under load another may lead a moment later.
        let (leader, rows) = try eventually(within: .seconds(30), "what was written") { () -> (UInt64, [SQLRow])? in
            guard let leader = try? cluster.leader(), let client = try? cluster.connect(leader, timeout: .seconds(10)),
                (try? client.open()) != nil, let rows = try? client.query("SELECT k, n FROM churn")
            else { return nil }
            return (leader, rows)
        }
        var stored: [Int64: Int64] = [:]
        for case .integer(let key) in rows.compactMap(\.first) {
            if case .integer(let value)? = rows.first(where: { $0.first == .integer(key) })?.last {
                stored[key] = value
            }
        }
        let expected = try cluster.copy(leader)
        for id in cluster.ids {
            try eventually(within: .seconds(30), "node \(id)'s copy") {
                try cluster.sweep()
                return (try? cluster.copy(id)) == expected ? () : nil
            }
        }
        try cluster.sweep()
        return writer.acknowledged.compactMap { key, value in
            stored[key, default: 0] >= value ? nil : "key \(key): \(value) acknowledged, \(stored[key, default: 0])"
        }
    }

    private func heal(all: Bool) throws {
        let due = healing.filter { all || $0.at <= .now }
        healing.removeAll { all || $0.at <= .now }
        for item in due {
            switch item.fault {
            case .kill, .restart:
                if cluster.pid(item.id) == nil { try cluster.start(item.id, isFirst: false) }
            case .pause, .longPause: cluster.signal(item.id, SIGCONT)
            case .demote: attempt { try cluster.assign(item.id, .voter, within: .seconds(3)) }
            case .cut, .transfer, .replace: break
            }
        }
    }

    /// What may fail when too few nodes are there; settling does it again.
    private func attempt(_ body: () throws -> Void) { try? body() }

    private func inject() throws -> Bool {
        let ids = cluster.ids
        let free = ids.filter { id in !healing.contains { $0.id == id } }
        let mostBroken = Int.random(in: 0..<8, using: &random) == 0 ? ids.count - 1 : (ids.count - 1) / 2
        guard healing.count < mostBroken, let id = free.randomElement(using: &random),
            var fault = Fault.drawn.randomElement(using: &random)
        else { return false }
        // These wait for the cluster, which must be whole for them.
        if [.transfer, .demote, .replace].contains(fault), healing.count > 0 { fault = .pause }
        let now = ContinuousClock.now
        func later(_ milliseconds: Range<Int>) {
            let time = Duration.milliseconds(Int.random(in: milliseconds, using: &random))
            healing.append(Healing(at: now + time, id: id, fault: fault))
        }
        switch fault {
        case .kill:
            try cluster.end(id, by: SIGKILL)
            later(0..<600)
        case .restart:
            try cluster.end(id, by: SIGTERM)
            later(0..<300)
        case .pause:
            cluster.signal(id, SIGSTOP)
            later(50..<700)
        case .longPause:
            cluster.signal(id, SIGSTOP)
            later(1000..<4000)
        case .cut:
            cluster.cut(id)
            later(700..<800)
        case .transfer:
            attempt {
                let client = try cluster.connect(cluster.leader(within: .seconds(3)))
                let voters = try client.cluster().filter { $0.role == .voter }
                if let successor = voters.randomElement(using: &random) { try client.transfer(to: successor.id) }
            }
        case .demote:
            let role: DatabaseRole = Bool.random(using: &random) ? .spare : .standby
            attempt { try cluster.assign(id, role, within: .seconds(3)) }
            later(100..<1000)
        case .replace:
            guard ids.count > 2 else { return false }
            try replace(id)
        }
        faults[fault, default: 0] += 1
        return true
    }

    /// Removes a node for good and takes a new one in.
    private func replace(_ id: UInt64) throws {
        do {
            try cluster.assign(id, .spare, within: .seconds(5))
            try cluster.change(within: .seconds(5), "node \(id) gone") { client, members in
                guard members.contains(where: { $0.id == id }) else { return true }
                // The library removes the last voter as well, and nobody can lead then.
                guard members.contains(where: { $0.id != id && $0.role == .voter }) else { return false }
                try client.remove(id: id)
                return true
            }
        } catch is NotInTime {
            return
        }
        try cluster.end(id, by: SIGKILL)
        let new = cluster.newID()
        try cluster.join(new)
        attempt { try cluster.assign(new, .voter, within: .seconds(5)) }
    }
}
