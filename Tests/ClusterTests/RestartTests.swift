import FanCore
import FanLab
import FanLink
import FanSystem
import Foundation
import TestSupport
import Testing

/// Daemons that are restarted, killed and replaced by another build: guests' packets and the kernel notice nothing.
@Suite(.serialized, .enabled(if: isRoot))
struct RestartTests {
    /// Programs that say what anybody changes on a node, in its overlay or beside it.
    private struct Watch {
        private let programs: [LabDaemon]

        init(_ node: LabNode) throws {
            let commands = [
                ["ip", "monitor", "link", "address", "route", "rule"], ["bridge", "monitor", "fdb"], ["tc", "monitor"],
                ["nft", "monitor"],
            ]
            programs = try commands.enumerated().map { try LabDaemon("watch\($0.offset)", on: node, $0.element) }
        }

        /// What was changed until now.
        func changes() throws -> [String] {
            try programs.map { try String(contentsOfFile: $0.logPath, encoding: .utf8) }
        }

        func stop() throws {
            for program in programs { try program.stop() }
        }
    }

    private enum Ending: CaseIterable {
        case stopped
        case killed
        case replaced
    }

    /// Ends a daemon and starts it again, and waits until all is as it was.
    private static func restart(_ daemon: ClusterDaemon, _ ending: Ending, _ bench: FormationBench, copy: String) throws
    {
        let cluster = bench.cluster
        let process = try #require(cluster.process(daemon, on: 1))
        if ending == .killed { try process.kill() } else { try process.stop() }
        // Packets that come while nobody is there.
        sleepThread(for: .milliseconds(200))
        let other = ["bash", "-c", "shift; exec \(copy) \"$@\"", "restart"]
        try cluster.start(daemon, on: 1, through: ending == .replaced ? other : [])
        try cluster.waitUntilReady(1)
        #expect(try cluster.fanmesh(on: 1, ["wait", "--timeout", "10s"]).isSuccess)
        sleepThread(for: .milliseconds(500))
    }

    @Test(.timeLimit(.minutes(3))) func nothingIsLostAndNothingIsWritten() throws {
        let directory = try TestDirectory()
        try FormationBench.run("restart", nodes: 3, guests: 2) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            try cluster.lab.makeGuests()
            try #require(cluster.lab.check().isSuccess)
            // Another build, to the extent that matters: another file with another content.
            for program in [Programs.fanmesh, Programs.server] {
                let copy = "\(directory.path)/\((program as NSString).lastPathComponent)"
                try FileManager.default.copyItem(atPath: program, toPath: copy)
                let handle = try #require(FileHandle(forWritingAtPath: copy))
                try handle.seekToEnd()
                try handle.write(contentsOf: Data("another build".utf8))
                try handle.close()
            }
            let node = cluster.node(1)
            let (guest, remote) = (node.guests[0], cluster.node(2).guests[0])
            sleepThread(for: .seconds(2))
            let watch = try Watch(node)
            var pings = [
                try GuestPings(from: guest, to: remote), try GuestPings(from: remote, to: node.guests[1]),
                try GuestPings(from: guest, to: node.guests[1]),
            ]
            sleepThread(for: .seconds(1))
            for daemon in [ClusterDaemon.agent, .server] {
                for ending in Ending.allCases {
                    try Self.restart(daemon, ending, bench, copy: "\(directory.path)/fanmesh")
                    let changes = try watch.changes()
                    #expect(changes == ["", "", "", ""], "\(daemon) \(ending): \(changes)")
                }
            }
            var text = "restarts of both daemons, guests' pings every ms:"
            for index in pings.indices {
                try pings[index].finish()
                let numbers = Set(pings[index].answers.map(\.number))
                let last = numbers.max() ?? 0
                let missing = (1...max(1, last)).filter { !numbers.contains($0) }
                text += " \(last) sent, \(missing.count) lost;"
                #expect(missing.isEmpty, "\(missing.prefix(20))")
            }
            print(text)
            // They do see changes.
            try node.namespace.run { try LinuxKernel().apply(.removeFence(network: "fan0")) }
            try node.namespace.run { try LinuxKernel().apply(.detachClassifiers(link: "fan0-vx")) }
            try node.namespace.run { try LinuxKernel().apply(.setMTU(link: "fan0", from: 1450, to: 1300)) }
            let areSeen = try eventually { try [0, 2, 3].allSatisfy { try !watch.changes()[$0].isEmpty } }
            #expect(areSeen)
            try watch.stop()
        }
    }
}
