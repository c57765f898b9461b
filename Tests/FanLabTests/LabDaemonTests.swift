import FanCore
import Foundation
import Glibc
import TestSupport
import Testing

@testable import FanLab

/// Programs that labs keep running, and the underlay between them.
@Suite(.enabled(if: isRoot))
struct LabDaemonTests {
    private func hosts(_ name: String, nodes: Int) throws -> Lab {
        let lab = try Lab(try plan(name, nodes: nodes, guests: 0))
        try lab.makeHosts()
        return lab
    }

    private func sleeper(_ lab: borrowing Lab, _ script: String = "exec sleep 1000") throws -> LabDaemon {
        try LabDaemon("sleeper", on: lab.nodes[0], ["sh", "-c", script], environment: ["GREETING": "hello"])
    }

    private func waitForLog(_ daemon: LabDaemon, _ text: String) throws {
        try #require(eventually { daemon.log().contains(text) }, "\(daemon.log())")
    }

    private func exists(_ id: Int32) -> Bool { kill(id, 0) == 0 }

    @Test func itRunsOnItsNodeInItsOwnSessionAndWritesALog() throws {
        let lab = try hosts("d-log", nodes: 1)
        let script = "echo $GREETING; cat /proc/self/net/dev | grep -c eth0; echo bad >&2; exec sleep 1000"
        let daemon = try sleeper(lab, script)
        try waitForLog(daemon, "bad")
        #expect(daemon.log() == "hello\n1\nbad")
        #expect(daemon.log(lastLines: 1) == "bad")
        #expect(getsid(daemon.id) == daemon.id)
        #expect(daemon.isRunning)
        #expect(daemon.explanation == nil)
        try lab.tearDown()
    }

    @Test func itIsStoppedKilledAndHalted() throws {
        let lab = try hosts("d-end", nodes: 1)
        let stopped = try sleeper(lab)
        try stopped.stop()
        #expect(stopped.explanation == "was ended by signal 15")
        let killed = try sleeper(lab)
        killed.pause()
        try #require(try eventually { try run("ps", "-o", "stat=", "-p", "\(killed.id)").output.first == "T" })
        #expect(killed.isRunning)
        try killed.kill()
        #expect(killed.explanation == "was ended by signal 9")
        let brief = try sleeper(lab, "exit 7")
        #expect(brief.waitForEnd(atMost: .seconds(20)))
        #expect(brief.explanation == "exited with 7")
        let stubborn = try sleeper(lab, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
        try waitForLog(stubborn, "ready")
        #expect(throws: LabError.daemonStays(node: "node1", name: "sleeper", signal: SIGTERM)) {
            try stubborn.stop(atMost: .milliseconds(300))
        }
        try lab.tearDown()
        #expect(!stubborn.isRunning)
    }

    @Test func removingTheLabKillsItWithAllThatItStarted() throws {
        let lab = try hosts("d-tree", nodes: 1)
        let daemon = try sleeper(lab, "setsid sleep 1000 & echo started $!; exec sleep 1000")
        try waitForLog(daemon, "started")
        let child = try #require(Int32(daemon.log().dropFirst("started ".count)))
        // It is in the lab's namespace too, and not one of its daemons.
        let visitor = try RunningProcess(ProcessRequest(["sleep", "1000"]), in: lab.nodes[0].namespace)
        #expect(Set(LabDaemons.processes(lab: "d-tree", in: [lab.nodes[0].namespace])) == [daemon.id, child])
        try lab.tearDown()
        #expect(!daemon.isRunning)
        let status = try run("ps", "-o", "stat=", "-p", "\(child)").output
        #expect(status.isEmpty || status.hasPrefix("Z"))
        #expect(exists(visitor.id))
        visitor.signal(SIGKILL)
        _ = try visitor.wait()
    }

    @Test func aKeptLabKeepsItUntilItIsTakenDown() throws {
        let daemon = try Self.keep(try hosts("d-kept", nodes: 1))
        #expect(daemon.isRunning)
        #expect(try Lab.down(name: "d-kept") == 2)
        #expect(!daemon.isRunning)
    }

    private static func keep(_ lab: consuming Lab) throws -> LabDaemon {
        let daemon = try LabDaemon("sleeper", on: lab.nodes[0], ["sleep", "1000"])
        try lab.keep()
        return daemon
    }

    /// A program that is being started has copies of the lab's descriptors for a moment after it is known to run.
    @Test func aKeptLabIsFreeWhoeverHasCopiesOfItsDescriptors() throws {
        let lab = try hosts("d-copy", nodes: 1)
        let copies = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter { name in
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(name)"))
                == "\(LabPlan.directory)/d-copy"
        }.compactMap { Int32($0) }.map { dup($0) }
        defer { for copy in copies { close(copy) } }
        #expect(!copies.isEmpty)
        let daemon = try Self.keep(lab)
        #expect(try Lab.down(name: "d-copy") == 2)
        #expect(!daemon.isRunning)
    }

    /// For a moment after it is known to run, a program has no variables yet, and so no mark.
    @Test func whoHasJustStartedIsFound() throws {
        let lab = try hosts("d-new", nodes: 1)
        for _ in 0..<200 {
            let daemon = try LabDaemon("sleeper", on: lab.nodes[0], ["sleep", "1000"])
            #expect(LabDaemons.processes(lab: "d-new", in: [lab.nodes[0].namespace]) == [daemon.id])
            try daemon.kill()
        }
        try lab.tearDown()
    }

    @Test func aMissingProgramIsNamed() throws {
        let lab = try hosts("d-none", nodes: 1)
        #expect(throws: LabError.executable("/nowhere/daemon", code: ENOENT)) {
            _ = try LabDaemon("none", on: lab.nodes[0], ["/nowhere/daemon"])
        }
        try lab.tearDown()
    }

    @Test func theUnderlayIsSplitAndJoinedAgain() throws {
        let lab = try hosts("d-split", nodes: 4)
        let nodes = lab.nodes
        func reaches(_ from: Int, _ to: Int) throws -> Bool {
            try nodes[from - 1].namespace.run("ping", "-c1", "-W1", "\(nodes[to - 1].address)").isSuccess
        }
        #expect(try reaches(1, 3))
        try lab.partition([[1], [2, 3]])
        #expect(try !reaches(1, 3))
        #expect(try !reaches(3, 1))
        #expect(try reaches(2, 3))
        #expect(try reaches(1, 4))
        try lab.partition([[1, 2], [3], [4]])
        #expect(try reaches(1, 2))
        #expect(try !reaches(3, 4))
        #expect(try !reaches(3, 1))
        try lab.heal()
        try lab.heal()
        for from in 1...4 {
            // Twice: the first one may meet a neighbour that is still taken for unreachable.
            for to in 1...4 where to != from { #expect(try reaches(from, to) || reaches(from, to), "\(from) to \(to)") }
        }
        try lab.tearDown()
    }
}
