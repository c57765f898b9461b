import FanSystem
import Glibc
import TestSupport
import Testing

@testable import FanServer

/// When a leader may answer from memory.
@Suite struct ReadLeaseTests {
    @Test func oneBarrierServesManyReads() throws {
        let lease = ReadLease()
        let barriers = Lock(0)
        for _ in 0..<100 { try lease.confirm { () throws(ClusterError) in barriers.withLock { $0 += 1 } } }
        #expect(barriers.withLock { $0 } <= 2)
    }

    @Test func everyReadAfterTheLeaseAsksAgain() throws {
        let lease = ReadLease()
        var barriers = 0
        for _ in 0..<3 {
            try lease.confirm { () throws(ClusterError) in barriers += 1 }
            usleep(120_000)
        }
        #expect(barriers == 3)
    }

    /// What began before a read proves nothing for it, unless it still counts: here each takes longer than a lease.
    @Test func readersShareOnlyWhatBeganAfterThem() throws {
        let lease = ReadLease()
        let log = Lock([ContinuousClock.Instant]())
        let done = Monitor(0)
        let late = Lock(0)
        for index in 0..<12 {
            startThread("reader") {
                usleep(UInt32(index) * 20_000)
                let began = ContinuousClock.now
                try? lease.confirm { () throws(ClusterError) in
                    log.withLock { $0.append(.now) }
                    usleep(150_000)
                }
                let served = log.withLock { $0.contains { $0 >= began } }
                if !served { late.withLock { $0 += 1 } }
                done.withLock { $0 += 1 }
            }
        }
        let all: Bool? = done.wait(timeout: .seconds(10)) { $0 == 12 ? true : nil }
        #expect(all == true)
        #expect(late.withLock { $0 } == 0)
        let count = log.withLock { $0.count }
        #expect(count >= 2 && count <= 4, "\(count) barriers for 12 readers")
    }

    @Test func aFailureIsNobodysLease() throws {
        let lease = ReadLease()
        #expect(throws: ClusterError.self) { try lease.confirm { () throws(ClusterError) in throw .noQuorum("test") } }
        var barriers = 0
        try lease.confirm { () throws(ClusterError) in barriers += 1 }
        #expect(barriers == 1)
    }

    /// The election of a successor does not wait for the timeout that a lease relies on.
    @Test func aHandoverEndsTheLease() throws {
        let lease = ReadLease()
        var barriers = 0
        let mark = lease.mark()
        lease.renew(mark)
        try lease.confirm { () throws(ClusterError) in barriers += 1 }
        #expect(barriers == 0)
        lease.end()
        // What was confirmed before does not count any more, and nothing confirmed now lasts.
        lease.renew(mark)
        for _ in 0..<3 { try lease.confirm { () throws(ClusterError) in barriers += 1 } }
        #expect(barriers == 3)
    }
}

/// Files that are replaced by many at once.
@Suite struct ReplacementTests {
    @Test func manyMayReplaceOneFile() throws {
        let directory = try TestDirectory()
        let (root, path) = (directory.path, directory.file("members"))
        let failures = Lock([String]())
        let done = Monitor(0)
        for writer in 0..<16 {
            startThread("writer") {
                for round in 0..<100 {
                    let text = String(repeating: "\(writer) ", count: 100 + round)
                    do { try File.replace(path, with: text) } catch { failures.withLock { $0.append("\(error)") } }
                    let words = Set(((try? File.read(path)) ?? "").split(separator: " "))
                    if words.count != 1 { failures.withLock { $0.append("mixed: \(words.count)") } }
                }
                done.withLock { $0 += 1 }
            }
        }
        let all: Bool? = done.wait(timeout: .seconds(60)) { $0 == 16 ? true : nil }
        #expect(all == true)
        let found = failures.withLock { $0 }
        #expect(found.isEmpty, "\(found.count): \(found.first ?? "")")
        #expect(try File.names(in: root) == ["members"])
        try File.remove(path)
    }
}
