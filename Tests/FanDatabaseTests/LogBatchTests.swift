import CRaftHeap
import FanCore
import FanSystem
import Glibc
import TestSupport
import Testing

@testable import FanDatabase

/// libraft 0.22.1 forgets what it still sends when it frees entries of its log that were read from one file.
///
/// It runs in a process of its own, because memory that is freed twice ends it.
struct LogBatchTests {
    /// Changes the database, with 64 KiB or with little.
    private static func change(_ nodes: Nodes, times: Int, bytes: Int = 64 << 10) throws {
        let client = try eventually("a leader that takes changes") { try? nodes.openClient(1) }
        for _ in 0..<times { try client.execute("INSERT INTO x VALUES (zeroblob(\(bytes)))") }
    }

    /// Writes what goes wrong to standard error, which is all that the test sees of its process.
    private static func reporting(_ body: () throws -> Void) {
        do { try body() } catch { writeErrorLine("\(error)") }
    }

    private static func waitForCopy(_ nodes: Nodes) throws {
        try eventually("node 2's copy") { try nodes.node(2).copy().text() == nodes.node(1).copy().text() ? () : nil }
    }

    /// The leader started with 40 changes in its log, and sends 32 of them to a node that takes nothing.
    @Test func aLogThatWasReadIsSentWhileItIsCut() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            Self.reporting {
                let link = HeldLink()
                let nodes = try Nodes(log: LogLength(changes: 64, trailing: 64)) { $0 == 2 ? link.pass(to: $1) : $1 }
                try nodes.start(1)
                _ = try nodes.leader()
                let client = try nodes.openClient(1)
                try client.execute("CREATE TABLE x (a BLOB)")
                try nodes.start(2)
                try client.add(id: 2, address: nodes.address(2))
                try client.assign(id: 2, role: .standby)
                try Self.waitForCopy(nodes)
                nodes.stop(2)
                try Self.change(nodes, times: 40)
                client.close()
                nodes.stop(1)
                link.hold(after: 256 << 10)
                try nodes.start(1, mayBeEmpty: false)
                try nodes.start(2, mayBeEmpty: false)
                guard fan_blocks_held() > 0 else { return writeErrorLine("what was read is not kept") }
                try eventually("a message that is held") { link.isHeld ? () : nil }
                try Self.change(nodes, times: 300, bytes: 10)
                link.breakOff()
                try Self.waitForCopy(nodes)
                nodes.stopAll()
            }
        }
        let said = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(said == "")
    }

    /// Alone as well, since the pages of other tests would be given back with these.
    @Test func aKeptBlockOutlivesItsRelease() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            func expect(_ isSo: Bool, _ what: String) {
                if !isSo { writeErrorLine(what) }
            }
            var pipe: [Int32] = [-1, -1]
            expect(unsafe Glibc.pipe(&pipe) == 0, "there is no pipe")
            let plain = unsafe fan_blocks_malloc(nil, 5000)
            fan_blocks_keep(1)
            let block = unsafe fan_blocks_malloc(nil, 5000)!
            let other = unsafe fan_blocks_malloc(nil, 100)!
            let small = unsafe fan_blocks_malloc(nil, 63)
            fan_blocks_keep(-1)
            let late = unsafe fan_blocks_malloc(nil, 5000)
            expect(fan_blocks_held() == 2, "\(fan_blocks_held()) blocks are kept")
            unsafe memset(block, 7, 5000)
            unsafe memset(other, 8, 100)
            unsafe fan_blocks_free(nil, block)
            unsafe fan_blocks_free(nil, block)
            unsafe fan_blocks_free(nil, plain)
            unsafe fan_blocks_free(nil, small)
            unsafe fan_blocks_free(nil, late)
            fan_blocks_give_back(60)
            expect(fan_blocks_held() == 2, "a block is gone at once")
            expect(unsafe block.load(fromByteOffset: 4999, as: UInt8.self) == 7, "a block is changed")
            expect(unsafe write(pipe[1], block, 5000) == 5000, "a block cannot be written")
            fan_blocks_give_back(0)
            expect(fan_blocks_held() == 1, "a released block stays, or a used one is gone")
            expect(unsafe write(pipe[1], block, 5000) == -1 && errno == EFAULT, "a block is still there")
            unsafe fan_blocks_free(nil, block)
            let grown = unsafe fan_blocks_realloc(nil, other, 200)!
            expect(unsafe grown.load(fromByteOffset: 99, as: UInt8.self) == 8, "a block lost its bytes when it grew")
            expect(unsafe grown != other, "a kept block grew where it is")
            unsafe fan_blocks_free(nil, grown)
            fan_blocks_give_back(0)
            expect(fan_blocks_held() == 0, "a block stays")
        }
        let said = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(said == "")
    }
}

/// The way to a node: what Raft says passes as in a tunnel, and may be held back.
private final class HeldLink: Sendable {
    private struct State {
        /// How many bytes still pass; nil for all.
        var budget: Int?
        var isHeld = false
        var generation = 0
    }

    private let state = Lock(State())

    var isHeld: Bool { state.withLock { $0.isHeld } }

    func hold(after bytes: Int) { state.withLock { $0.budget = bytes } }

    /// Ends all connections; later ones pass everything.
    func breakOff() {
        state.withLock {
            $0.budget = nil
            $0.isHeld = false
            $0.generation += 1
        }
    }

    /// A connection whose bytes a thread passes on to another one, which it closes at the end.
    func pass(to far: Int32) -> Int32 {
        let generation = state.withLock { $0.generation }
        var ends: [Int32] = [-1, -1]
        guard unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | 0o2000000, 0, &ends) == 0 else {
            close(far)
            return -1
        }
        let near = ends[0]
        startThread("fan-held-link") {
            self.pass(from: near, to: far, generation)
            close(near)
            close(far)
        }
        return ends[1]
    }

    private func pass(from near: Int32, to far: Int32, _ generation: Int) {
        var stream = PeerStream()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let room = state.withLock { state -> Int? in
                guard state.generation == generation else { return nil }
                if state.budget == 0 { state.isHeld = true }
                return min(buffer.count, state.budget ?? buffer.count)
            }
            guard let room else { return }
            var ready = pollfd(fd: near, events: Int16(POLLIN), revents: 0)
            guard room > 0, unsafe poll(&ready, 1, 10) > 0 else {
                if room == 0 { sleepThread(for: .milliseconds(5)) }
                continue
            }
            let count = unsafe read(near, &buffer, room)
            guard count > 0, let passed = try? stream.inspect(buffer[..<count], { _ in nil }) else { return }
            state.withLock { state in
                if let budget = state.budget { state.budget = max(0, budget - count) }
            }
            var sent = 0
            while sent < passed.count {
                let more = unsafe passed[sent...].withUnsafeBytes { unsafe write(far, $0.baseAddress, $0.count) }
                guard more > 0 else { return }
                sent += more
            }
        }
    }
}
