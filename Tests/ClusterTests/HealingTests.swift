import FanCore
import FanLab
import FanLink
import FanSystem
import Foundation
import TestSupport
import Testing

/// What is done to a member's overlay is mended, guests included, while their traffic goes on.
@Suite(.serialized, .enabled(if: isRoot))
struct HealingTests {
    private static let network = "fan0"
    /// What an operator may have to wait at most; the usual is printed.
    private static let worst = 1.0

    private struct Healed: Sendable {
        var fault: HealingFault
        /// On the clock on the wall.
        var struckAt: Double
        /// From the end of the change until all is as before, in seconds.
        var seconds: Double
    }

    /// How the overlay of a node shall be.
    private static func desired(_ node: LabNode) throws -> DesiredState {
        let record = try String(contentsOfFile: "\(node.stateDirectory)/networks/\(network)", encoding: .utf8)
        let nodeID = try String(contentsOfFile: "\(node.stateDirectory)/node-id", encoding: .utf8)
        return try DesiredState(NetworkRecord.decode(record), nodeID: String(nodeID.dropLast()))
    }

    /// Does something to the overlay of a node, and waits until it is as before.
    private static func heal(_ fault: HealingFault, on node: LabNode) throws -> Healed {
        let desired = try desired(node)
        return try node.namespace.run {
            let kernel = try LinuxKernel()
            let whole = try OverlayShape(kernel, network)
            let struckAt = Date().timeIntervalSince1970
            try fault.strike(kernel, desired)
            let end = ContinuousClock.now
            var seconds = 0.0
            while try OverlayShape(kernel, network) != whole {
                seconds = end.duration(to: .now) / .seconds(1)
                try #require(seconds < 10, "\(fault.rawValue) was not mended in 10 s")
                sleepThread(for: .milliseconds(1))
            }
            seconds = end.duration(to: .now) / .seconds(1)
            return Healed(fault: fault, struckAt: struckAt, seconds: seconds)
        }
    }

    @Test(.timeLimit(.minutes(3))) func guestsGoOnWhateverIsDoneToTheirHost() throws {
        try FormationBench.run("heal", nodes: 3, guests: 2) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            try cluster.lab.makeGuests()
            try #require(cluster.lab.check().isSuccess)
            let node = cluster.node(1)
            let (guest, remote) = (node.guests[0], cluster.node(2).guests[0])
            let stream = try GuestStream(from: guest, to: remote)
            defer { stream.finish() }
            var pings = [
                try GuestPings(from: guest, to: remote), try GuestPings(from: remote, to: node.guests[1]),
                try GuestPings(from: guest, to: node.guests[1]),
            ]
            // A first look at a calm overlay: what the agent has to get over is behind it.
            sleepThread(for: .seconds(2))
            var healed: [Healed] = []
            for _ in 0..<3 {
                for fault in HealingFault.allCases {
                    healed.append(try Self.heal(fault, on: node))
                    sleepThread(for: .milliseconds(1200))
                }
            }
            for index in pings.indices { try pings[index].finish() }
            let (echoes, problem) = stream.progress
            #expect(problem == nil && echoes > 1000)
            #expect(try cluster.lab.check().isSuccess)
            try Self.report(healed, pings, stream)
        }
    }

    private static func report(_ healed: [Healed], _ pings: [GuestPings], _ stream: GuestStream) throws {
        var text = "healing, in ms: until whole, guests' longest silence\n"
        var silences: [Double] = []
        for fault in HealingFault.allCases {
            let own = healed.filter { $0.fault == fault }
            let quiet = own.map { one in
                pings.map { $0.longestSilence(from: one.struckAt, to: one.struckAt + 1) }.max() ?? .infinity
            }
            silences += quiet
            let times = own.map { milliseconds($0.seconds) }.joined(separator: " ")
            text += "  \(fault.rawValue): \(times), \(quiet.map(milliseconds).joined(separator: " "))\n"
            // A host that takes the processors away for half a second meets one of the three, not all.
            #expect(own.count { $0.seconds > worst } <= 1, "\(fault.rawValue): \(times) ms")
            #expect(own.allSatisfy { $0.seconds <= 3 * worst }, "\(fault.rawValue): \(times) ms")
            #expect(quiet.allSatisfy { $0 <= worst }, "\(fault.rawValue): guests were silent for \(quiet) s")
        }
        text += "  all: \(summary(healed.map(\.seconds))); guests: \(summary(silences)); "
        text += "TCP: worst \(milliseconds(stream.longestSilence))"
        print(text)
    }

    private static func summary(_ seconds: [Double]) -> String {
        let sorted = seconds.sorted()
        return "median \(milliseconds(sorted[sorted.count / 2])), worst \(milliseconds(sorted.last ?? 0))"
    }

    private static func milliseconds(_ seconds: Double) -> String { String(format: "%.1f", seconds * 1000) }

    /// The agent knows guests' ports again after it was killed, and an operator's wish before that.
    @Test(.timeLimit(.minutes(2))) func portsComeBackAlthoughTheAgentWasKilled() throws {
        try FormationBench.run("ports", nodes: 2, guests: 4) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            try cluster.lab.makeGuests()
            let node = cluster.node(1)
            func master(_ port: Int) throws -> String? { try Self.master(node.guests[port].port, on: node) }
            // One is taken out, one moves to a bridge of its own, one is not to talk to others like it.
            try Self.require(["ip", "link", "set", node.guests[1].port, "nomaster"], on: node)
            try Self.require(["ip", "link", "add", "other0", "type", "bridge"], on: node)
            try Self.require(["ip", "link", "set", node.guests[2].port, "master", "other0"], on: node)
            try Self.require(["bridge", "link", "set", "dev", node.guests[0].port, "isolated", "on"], on: node)
            let path = "\(node.runtimeDirectory)/devices-fan0"
            let isKept = eventually {
                guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return false }
                return !text.contains("port guest2 ") && !text.contains("port guest3 ") && text.contains(" 33=1")
            }
            #expect(isKept, "\((try? String(contentsOfFile: path, encoding: .utf8)) ?? "nothing is kept")")
            try cluster.process(.agent, on: 1)?.kill()
            try Self.require(["ip", "link", "del", "fan0"], on: node)
            // Another device with the name of a port is none.
            try Self.require(["ip", "link", "del", node.guests[3].port], on: node)
            let other = ["type", "veth", "peer", "name", "far4"]
            try Self.require(["ip", "link", "add", node.guests[3].port] + other, on: node)
            try cluster.start(.agent, on: 1)
            #expect(eventually { (try? master(0)) == "fan0" }, "\(cluster.logs(of: 1))")
            #expect(try cluster.fanmesh(on: 1, ["wait", "--timeout", "10s"]).isSuccess)
            #expect(try (1...3).map { try master($0) } == [nil, "other0", nil])
            let target = "\(cluster.node(2).guests[0].address.address)"
            let ping = ProcessRequest(["ping", "-n", "-c", "1", "-W", "2", target])
            #expect(try node.guests[0].namespace.run(ping).isSuccess)
            let port = try node.namespace.run {
                var socket = try RouteSocket()
                return try socket.link(named: "guest1")
            }
            #expect(port?.portSettings == [33: 1])
        }
    }

    private static func require(_ command: [String], on node: LabNode) throws {
        let result = try node.namespace.run(ProcessRequest(command))
        try #require(result.isSuccess, "\(command.joined(separator: " ")): \(result.explanation)")
    }

    /// The name of the bridge that a device is in.
    private static func master(_ name: String, on node: LabNode) throws -> String? {
        try node.namespace.run {
            var socket = try RouteSocket()
            let links = try socket.links()
            let index = links.first { $0.name == name }?.masterIndex
            return links.first { $0.index == index }?.name
        }
    }

    /// What a cluster owns is not taken down by a command of one host.
    @Test(.timeLimit(.minutes(2))) func aMembersOverlayIsTheClusters() throws {
        try FormationBench.run("owned", nodes: 1) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            let node = cluster.node(1)
            let before = try node.namespace.run { try OverlayShape(LinuxKernel(), Self.network) }
            for words in [["down"], ["up"], ["up", "--mtu", "1300"]] {
                let result = try cluster.fanmesh(on: 1, words)
                #expect(result.ending == .exited(1) && result.errorOutput.contains("a cluster, which owns the overlay"))
            }
            let after = try node.namespace.run { try OverlayShape(LinuxKernel(), Self.network) }
            #expect(after == before)
            #expect(try cluster.fanmesh(on: 1, ["up", "--dry-run", "--underlay", "172.31.16.0/20"]).isSuccess)
            try cluster.require(on: 1, ["down", "--force"])
            #expect(try cluster.fanmesh(on: 1, ["wait", "--timeout", "10s"]).isSuccess)
            let isBack = try node.namespace.run {
                let kernel = try LinuxKernel()
                return try eventually(within: .seconds(5)) { try OverlayShape(kernel, Self.network) == before }
            }
            #expect(isBack)
        }
    }
}
