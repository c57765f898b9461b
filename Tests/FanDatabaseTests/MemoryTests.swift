import CLinux
import FanCore
import FanSystem
import Glibc
import TestSupport
import Testing

@testable import FanDatabase

/// What changes leave in memory and on the disk.
@Suite(.serialized) struct MemoryTests {
    private static func variable(_ name: String) -> Int? {
        unsafe getenv(name).flatMap { unsafe Int(String(cString: $0)) }
    }

    /// The resident memory of a node's process, in MB.
    private static func resident(_ cluster: ChurnCluster, _ id: UInt64) throws -> Int {
        try residentKiB(of: #require(cluster.pid(id))) * 1024 / 1_000_000
    }

    /// What a node has on the disk, in MB.
    private static func stored(_ cluster: ChurnCluster, _ id: UInt64) throws -> Int {
        let directory = "\(cluster.root)/\(id)"
        return try File.names(in: directory).reduce(0) { sum, name in
            var status = stat()
            return unsafe stat("\(directory)/\(name)", &status) == 0 ? sum + Int(status.st_blocks) * 512 : sum
        } / 1_000_000
    }

    /// One change of each kind in turn; the columns of a member, among them one that is indexed, with the generation.
    private static func change(_ number: Int, _ transaction: inout Transaction) throws {
        let now = Int64(1_800_000_000 + number)
        switch number % 4 {
        case 0:
            try transaction.execute(
                text: "UPDATE members SET version = ?, incarnation = ?, failure_domain = ? WHERE id = ?",
                [.text("1.\(number)"), .integer(now), .text("rack\(number)"), .integer(Int64(number / 4 % 50 + 1))]
            )
            _ = try transaction.bumpGeneration()
        case 1:
            let body = "{\"n\":\(number),\"pad\":\"\(String(repeating: "x", count: 700))\"}"
            try transaction.saveReport("node\(number / 4 % 50)", json: body, now: now)
        case 2:
            // A name's earlier token is revoked, and what is older than a month is forgotten: so is this, two weeks apart.
            let at = now + Int64(number) * 7 * 86_400
            let hash = String(UInt64(number) &* 0x9e37_79b9_7f4a_7c15, radix: 16) + String(repeating: "0", count: 40)
            try transaction.addToken(name: "n\(number % 50)", hash: hash, createdBy: "m", now: at, expiresAt: at + 9)
        default:
            try transaction.execute(.saveConfig, .text("offline_after_s"), .text("\(number)"))
            _ = try transaction.bumpGeneration()
        }
    }

    /// FANMESH_MEMORY_CHANGES is how many changes the long form makes.
    @Test func memoryAndDiskStayBounded() throws {
        let standard = LogLength()
        let count = Self.variable("FANMESH_MEMORY_CHANGES") ?? 3000
        let log = LogLength(
            changes: Self.variable("FANMESH_CHURN_CHANGES") ?? standard.changes,
            trailing: Self.variable("FANMESH_CHURN_TRAILING") ?? standard.trailing
        )
        let cluster = try ChurnCluster(log: log)
        try cluster.form(3)
        let leader = try cluster.leader()
        let path = "\(cluster.root)/\(leader).sock"
        let database = Database(migrations: Schema.migrations) { () throws(DatabaseError) in
            unsafe fan_unix_connect(path)
        }
        try database.write { transaction in
            for id in 1...50 {
                try transaction.execute(
                    text: "INSERT INTO members (id, name, node_id, address, underlay_address, fingerprint,"
                        + " failure_domain, version, schema_version, incarnation, joined_at)"
                        + " VALUES (?, ?, ?, ?, ?, ?, '', '', 1, 1, 1)",
                    [.integer(Int64(id))] + ["node", "id", "a", "u", "f"].map { .text("\($0)\(id)") }
                )
            }
        }
        func measure(_ when: String) throws -> (memory: Int, disk: Int) {
            let memory = try cluster.ids.map { try Self.resident(cluster, $0) }
            let disk = try cluster.ids.map { try Self.stored(cluster, $0) }
            print(
                "memory: \(when), snapshot after \(log.changes), \(log.trailing) kept: leader \(leader) of"
                    + " \(cluster.ids), \(memory) MB resident, \(disk) MB on the disk"
            )
            return (memory.max() ?? 0, disk.max() ?? 0)
        }
        _ = try measure("before any change")
        let began = ContinuousClock.now
        for number in 1...count {
            // A leader may change on a machine that is busy; this is no test of that.
            try database.write(timeout: .seconds(10)) { transaction in try Self.change(number, &transaction) }
        }
        database.stop()
        let rate = Double(count) / ((ContinuousClock.now - began) / .seconds(1))
        let after = try measure("after \(count) changes, \(Int(rate)) a second")
        let expected = try cluster.copy(leader)
        for id in cluster.ids { try cluster.end(id, by: SIGTERM) }
        for id in 1...UInt64(3) { try cluster.start(id, isFirst: false) }
        let next = try cluster.leader()
        for id in cluster.ids {
            try eventually("node \(id)'s copy") { (try? cluster.copy(id)) == expected ? () : nil }
        }
        _ = next
        let again = try measure("after a restart")
        #expect(after.memory <= 40 && again.memory <= 40)
        #expect(after.disk <= 64 && again.disk <= 64)
        #expect(cluster.crashes == [])
    }
}
