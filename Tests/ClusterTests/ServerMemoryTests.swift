import FanCore
import FanLab
import FanStore
import FanSystem
import Foundation
import Synchronization
import TestSupport
import Testing

/// What changes leave in the memory of the servers of three members: nothing that grows.
@Suite(.serialized, .enabled(if: isRoot))
struct ServerMemoryTests {
    private struct Sizes: CustomStringConvertible {
        var resident: [Int] = []
        /// Without the pages of programs and libraries, of which a debug build has twice as many.
        var anonymous: [Int] = []
        var disk: [Int] = []

        var description: String { "\(resident) MB resident, \(anonymous) anonymous, \(disk) MB on the disk" }
    }

    private func measure(_ bench: FormationBench, _ when: String) throws -> Sizes {
        var sizes = Sizes()
        for number in 1...3 {
            let process = try #require(bench.cluster.process(.server, on: number))
            sizes.resident.append(try residentKiB(of: process.id) * 1024 / 1_000_000)
            sizes.anonymous.append(try residentKiB(of: process.id, "RssAnon") * 1024 / 1_000_000)
            let directory = "\(bench.cluster.node(number).stateDirectory)/server/database"
            let used = try bench.cluster.node(number).namespace.run("du", "-s", "--block-size=1", directory).output
            sizes.disk.append(try #require(Int(used.prefix { $0.isNumber })) / 1_000_000)
        }
        print("memory: \(when): \(sizes)")
        return sizes
    }

    /// Changes of all kinds in turn, through one member.
    private static func change(_ client: ServerClient, _ count: Int, of writer: Int) throws -> Int {
        var report = NodeReport(nodeID: String(repeating: "a", count: 32), version: "1", kernel: "k")
        var done = 0
        for number in 0..<count {
            do throws(StoreError) {
                switch number % 4 {
                case 0:
                    let member = "node\(number / 4 % 3 + 1)"
                    try client.call(
                        .editMember,
                        of: member,
                        body: ["failure_domain": .string("r\(writer)-\(number)")]
                    )
                case 1:
                    report.version = "1.\(writer).\(number)"
                    try client.call(.reportLocal, body: report.document)
                case 2:
                    try client.call(.addToken, body: ["name": .string("n\(writer)-\(number / 4 % 50)")])
                default:
                    try client.call(
                        .editCluster,
                        body: ["token_expiry_s": .number(3600 + (number * 4 + writer) % 10_000)]
                    )
                }
                done += 1
            } catch {
                // A leader may change on a machine that is busy; this is no test of that.
                guard number > 0 || done > 0 else { throw error }
            }
        }
        return done
    }

    /// FANMESH_MEMORY_CHANGES is how many changes the long form makes, which wants the released programs.
    @Test func memoryAndDiskStayBounded() throws {
        let long = ProcessInfo.processInfo.environment["FANMESH_MEMORY_CHANGES"].flatMap { Int($0) }
        let count = long ?? 1500
        try FormationBench.run("memory", nodes: 3) { bench in
            _ = try measure(bench, "servers before any change")
            let done = Mutex(0)
            let failures = Mutex<[String]>([])
            let began = ContinuousClock.now
            let writers = (1...3).map { number in
                let client = bench.cluster.client(of: number)
                let thread = Thread {
                    do {
                        let made = try Self.change(client, count / 3, of: number)
                        done.withLock { $0 += made }
                    } catch { failures.withLock { $0.append("\(error)") } }
                }
                thread.start()
                return thread
            }
            while !writers.allSatisfy(\.isFinished) { usleep(20_000) }
            let rate = Double(count) / ((ContinuousClock.now - began) / .seconds(1))
            #expect(failures.withLock { $0 } == [])
            let made = done.withLock { $0 }
            #expect(made * 100 >= count * 98, "\(made) of \(count)")
            let after = try measure(bench, "servers after \(made) changes, \(Int(rate)) a second")
            for number in 1...3 {
                try bench.cluster.process(.server, on: number)?.stop()
                try bench.cluster.start(.server, on: number)
                try bench.cluster.waitUntilReady(number)
                // What was reported in the agents' names is not what is there.
                let isBack = eventually(within: .seconds(30)) {
                    (try? bench.cluster.list(from: number))?.members.count { $0.state == .online } == 3
                }
                #expect(isBack, "node\(number) does not see all")
            }
            let again = try measure(bench, "servers after a restart")
            #expect((after.anonymous + again.anonymous).allSatisfy { $0 <= 28 })
            #expect(long == nil || (after.resident + again.resident).allSatisfy { $0 <= 40 })
            #expect((after.disk + again.disk).allSatisfy { $0 <= 64 })
        }
    }
}
