import FanCore
import FanLab
import Foundation
import TestSupport
import Testing

/// Every step of `up` is made to fail: it says which and why, and everything is as it was before.
@Suite(.enabled(if: isRoot))
struct LifecycleFailureTests {
    /// A call that fails, and how.
    struct Fault: CustomTestStringConvertible, Sendable {
        var call: String
        var error: String
        var testDescription: String { "\(call) \(error)" }
    }

    static let faults = [
        Fault(call: "sendto", error: "ENOBUFS"), Fault(call: "recvmsg", error: "ENOBUFS"),
        Fault(call: "bpf", error: "ENOMEM"),
        Fault(call: "write", error: "ENOSPC"), Fault(call: "rename", error: "ENOSPC"),
        Fault(call: "fsync", error: "EIO"), Fault(call: "mkdir", error: "EACCES"),
        Fault(call: "flock", error: "ENOLCK"), Fault(call: "unlink", error: "EIO"),
    ]

    @Test func aColdUpIsTakenBack() throws {
        let lab = try LifecycleLab("fail")
        let host = lab.hosts[0]
        let before = try LifecycleSnapshot(host)
        var failures: [String: Int] = [:]
        for fault in Self.faults {
            for number in 1... {
                let arguments = ["up", "--forwarder", "ebpf"]
                let (result, hit) = try LifecycleFault.run(
                    host,
                    arguments,
                    fault: "error=\(fault.error)",
                    call: fault.call,
                    number: number
                )
                guard let hit else { break }
                if try Self.isDone(host, result, hit) { continue }
                failures[fault.call, default: 0] += 1
                try Self.requireExplained(result, hit)
                let left = try LifecycleSnapshot(host).difference(from: before)
                try #require(left.isEmpty, "\(hit): \(result.errorOutput)")
            }
            try #require(try host.fanmesh("down").isSuccess)
            for name in ["node-id", "machine"] {
                try? FileManager.default.removeItem(atPath: "\(host.stateDirectory)/\(name)")
            }
        }
        // Each of the nine steps, and more.
        #expect(failures["sendto", default: 0] >= 13, "\(failures)")
        #expect(failures["bpf", default: 0] >= 4, "\(failures)")
        #expect(failures["write", default: 0] >= 4, "\(failures)")
        // The id, its machine and the record.
        #expect(failures["rename", default: 0] == 3, "\(failures)")
    }

    /// Ways to change an overlay that is up: `former` is what is up, `wanted` what fails.
    struct Switch: CustomTestStringConvertible, Sendable {
        var name: String
        var former: [String]
        var wanted: [String]
        var testDescription: String { name }
    }

    static let switches = [
        Switch(name: "port", former: ["--forwarder", "ebpf"], wanted: ["--forwarder", "ebpf", "--port", "8477"]),
        Switch(name: "mtu", former: ["--forwarder", "ebpf"], wanted: ["--forwarder", "ebpf", "--mtu", "1300"]),
        Switch(name: "vni", former: ["--forwarder", "ebpf"], wanted: ["--forwarder", "ebpf", "--vni", "4711"]),
        Switch(
            name: "overlay",
            former: ["--forwarder", "ebpf"],
            wanted: ["--forwarder", "ebpf", "--overlay", "241.0.0.0/8"]
        ),
        Switch(name: "tofdb", former: ["--forwarder", "ebpf"], wanted: ["--forwarder", "fdb", "-p", "PEER"]),
        Switch(name: "toebpf", former: ["--forwarder", "fdb", "-p", "PEER"], wanted: ["--forwarder", "ebpf"]),
        Switch(
            name: "peers",
            former: ["--forwarder", "fdb", "-p", "PEER", "-p", "172.31.16.1"],
            wanted: ["--forwarder", "fdb", "-p", "172.31.20.20", "-p", "172.31.20.21"]
        ),
    ]

    @Test(arguments: switches)
    func aFailedChangeLeavesTheFormerOverlay(_ change: Switch) throws {
        let lab = try LifecycleLab("fail\(change.name)", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        func words(_ arguments: [String]) -> [String] {
            ["up"] + arguments.map { $0 == "PEER" ? peer.address : $0 }
        }
        let former = words(change.former)
        let wanted = words(change.wanted)
        try #require(try host.fanmesh(behind: [], former).isSuccess)
        var peerWords = change.former
        if peerWords.contains("fdb") { peerWords = ["--forwarder", "fdb", "-p", host.address] }
        try #require(try peer.fanmesh(behind: [], ["up"] + peerWords).isSuccess)
        try #require(try host.reaches(peer.bridgeAddress))
        let before = try LifecycleSnapshot(host)
        var failures = 0
        // The long form, FANMESH_ALL_FAULTS=1, fails every call; otherwise it is the first ones of each kind and a third of
        // the others, another third for another switch.
        let isLong = ProcessInfo.processInfo.environment["FANMESH_ALL_FAULTS"] != nil
        let third = Self.switches.firstIndex { $0.name == change.name }.map { $0 % 3 }
        for fault in Self.faults where fault.call != "mkdir" {
            for number in 1... where isLong || number <= 4 || number % 3 == third {
                let (result, hit) = try LifecycleFault.run(
                    host,
                    wanted,
                    fault: "error=\(fault.error)",
                    call: fault.call,
                    number: number
                )
                guard let hit else {
                    try #require(try host.fanmesh(behind: [], former).isSuccess)
                    break
                }
                if result.isSuccess || hit.contains("write(1<") {
                    let again = try host.fanmesh(behind: [], wanted)
                    try #require(again.output.contains("already right"), "after \(hit): \(again.explanation)")
                    try #require(try host.fanmesh(behind: [], former).isSuccess)
                    continue
                }
                failures += 1
                // libbpf tries once whether the kernel knows program names, and holds on to what it found: this process
                // cannot load the former programs either. The next one can.
                if hit.contains("BPF_PROG_TYPE_SOCKET_FILTER") {
                    try #require(result.ending == .exited(1), "\(hit): \(result.explanation)")
                    try #require(try host.fanmesh(behind: [], former).isSuccess)
                } else {
                    try Self.requireExplained(result, hit)
                }
                let left = try LifecycleSnapshot(host).difference(from: before)
                try #require(left.isEmpty, "\(hit): \(result.errorOutput)")
                // Once for each kind of call is enough: the state is the same after all of them.
                if number == 4 { try #require(try host.reaches(peer.bridgeAddress), "after \(hit)") }
            }
        }
        #expect(try host.reaches(peer.bridgeAddress))
        #expect(failures >= 10)
        #expect(try host.fanmesh("status").isSuccess)
    }

    /// Whether `up` got its work done in spite of the fault; if so the overlay has to be right, and is removed.
    private static func isDone(_ host: LifecycleHost, _ result: ProcessResult, _ hit: String) throws -> Bool {
        // What fails when the overlay stands is only the report of it.
        guard result.isSuccess || hit.contains("write(1<") else { return false }
        try #require(try host.fanmesh("up").output.contains("already right"), "after \(hit)")
        try #require(try host.fanmesh("down").isSuccess)
        for name in ["node-id", "machine"] {
            try? FileManager.default.removeItem(atPath: "\(host.stateDirectory)/\(name)")
        }
        return true
    }

    private static func requireExplained(_ result: ProcessResult, _ hit: String) throws {
        try #require(result.ending == .exited(1), "\(hit): \(result.explanation)")
        let text = result.errorOutput
        try #require(text.hasPrefix("Error: "), "\(hit): \(text)")
        try #require(!text.contains("taking it back failed"), "\(hit): \(text)")
        // The errno's name.
        let names = ["ENOBUFS", "ENOMEM", "ENOSPC", "EIO", "EACCES", "ENOLCK", "EOPNOTSUPP"]
        try #require(names.contains { text.contains($0) }, "\(hit): \(text)")
        // A step that is named comes with what became of the others.
        if text.contains(" dev ") || text.contains("add ") {
            try #require(text.contains("everything this run did was taken back"), "\(hit): \(text)")
        }
    }
}
