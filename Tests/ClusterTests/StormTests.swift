import FanCore
import FanLab
import FanLink
import FanSystem
import Foundation
import TestSupport
import Testing

/// A thousand disturbances of a member's devices, faster than they can be mended, by seed.
@Suite(.serialized, .enabled(if: isRoot))
struct StormTests {
    private static let network = "fan0"

    /// What an agent holds.
    private struct Holdings: CustomStringConvertible {
        var descriptors: Int
        /// Its memory without the pages of programs and libraries.
        var kibibytes: Int

        init(of process: Int32) throws {
            descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count
            kibibytes = try residentKiB(of: process, "RssAnon")
        }

        var description: String { "\(descriptors) descriptors, \(kibibytes) KiB" }
    }

    /// Disturbs a node's overlay, or something beside it; gives how often that could be done.
    private static func strike(_ count: Int, _ generator: inout SeededGenerator, on node: LabNode) throws -> Int {
        let record = try String(contentsOfFile: "\(node.stateDirectory)/networks/\(network)", encoding: .utf8)
        let nodeID = try String(contentsOfFile: "\(node.stateDirectory)/node-id", encoding: .utf8)
        let desired = try DesiredState(NetworkRecord.decode(record), nodeID: String(nodeID.dropLast()))
        // Without a bridge there is little to disturb; so that is rare.
        let common = HealingFault.allCases.filter { ![.bridgeDeleted, .vxlanDeleted].contains($0) }
        let choices = (0..<count).map { _ in
            let isRare = Int.random(in: 0..<60, using: &generator) == 0
            let fault = (isRare ? HealingFault.allCases : common).randomElement(using: &generator)
            return (fault, Int.random(in: 0..<12, using: &generator) == 0, Int.random(in: 0...8, using: &generator))
        }
        return try node.namespace.run {
            let kernel = try LinuxKernel()
            var done = 0
            for (fault, isBeside, pause) in choices {
                // What is not there at the moment cannot be disturbed.
                do {
                    try fault?.strike(kernel, desired)
                    if isBeside {
                        let mac = MACAddress(rawValue: 0x0200_0000_4321)
                        try kernel.apply(.addBridge(name: "storm0", mac: mac, mtuBytes: 1400))
                        try kernel.apply(.deleteBridge(name: "storm0"))
                    }
                    done += 1
                } catch {}
                sleepThread(for: .milliseconds(pause))
            }
            return done
        }
    }

    @Test(.timeLimit(.minutes(3))) func theOverlayIsWholeAfterAStorm() throws {
        let seed = UInt64.random(in: 1...1_000_000)
        var generator = SeededGenerator(seed: seed)
        try FormationBench.run("storm", nodes: 2, guests: 2) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            try cluster.lab.makeGuests()
            try #require(cluster.lab.check().isSuccess)
            let node = cluster.node(1)
            let agent = try #require(cluster.process(.agent, on: 1)).id
            let whole = try node.namespace.run { try OverlayShape(LinuxKernel(), Self.network) }
            let calm = try Holdings(of: agent)
            // What an agent takes for its work it keeps: after 100 it has not seen all yet, and after 1,000 no more comes
            // (4,500 further ones added 30 KiB).
            var done = try Self.strike(300, &generator, on: node)
            let before = try Holdings(of: agent)
            done += try Self.strike(900, &generator, on: node)
            let ended = ContinuousClock.now
            // An agent that is fought for a minute waits for up to 32 s.
            let isWhole = try node.namespace.run {
                let kernel = try LinuxKernel()
                return try eventually(within: .seconds(60)) { try OverlayShape(kernel, Self.network) == whole }
            }
            let seconds = String(format: "%.1f", ended.duration(to: .now) / .seconds(1))
            sleepThread(for: .seconds(3))
            let after = try Holdings(of: agent)
            let text = "storm, seed \(seed): \(done) of 1200 disturbances, whole \(seconds) s after"
            print("\(text); \(calm); \(before); \(after)")
            #expect(isWhole, "seed \(seed): \(cluster.logs(of: 1))")
            #expect(done > 200)
            // But for those of a probe or a question that is under way.
            #expect(after.descriptors <= calm.descriptors + 6)
            #expect(after.kibibytes <= before.kibibytes + 256)
            #expect(try cluster.fanmesh(on: 1, ["wait", "--timeout", "10s"]).isSuccess)
            #expect(try cluster.lab.check().isSuccess)
        }
    }
}
