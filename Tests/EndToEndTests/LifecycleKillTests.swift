import FanCore
import FanLab
import Foundation
import Glibc
import TestSupport
import Testing

/// `up` is killed at every system call that changes something: the next `up` finishes, and `down` leaves nothing.
@Suite(.enabled(if: isRoot))
struct LifecycleKillTests {
    /// The calls by which `up` changes the kernel or the disk, or learns that it did.
    static let calls = [
        "sendto", "bpf", "recvmsg", "write", "rename", "fsync", "mkdir", "flock", "unlink",
    ]

    @Test func aColdUpKilledAnywhereIsFinishedByTheNext() throws {
        let lab = try LifecycleLab("kill")
        let host = lab.hosts[0]
        try FileManager.default.removeItem(atPath: host.stateDirectory)
        let before = try LifecycleSnapshot(host)
        let up = ["up", "-p", "\(host.node.plan.gateway.address)"]
        let plan = try LifecycleDocument(host.fanmesh("up", "--dry-run", "--format", "json"))

        var kills: [String: Int] = [:]
        var stages: Set<[String]> = []
        for call in Self.calls {
            for number in 1... {
                let killed = try LifecycleFault.run(host, up, fault: "signal=KILL", call: call, number: number)
                guard killed.hit != nil else {
                    try #require(killed.result.isSuccess, "\(killed.result.explanation)")
                    try #require(try host.fanmesh("down").isSuccess)
                    try FileManager.default.removeItem(atPath: host.stateDirectory)
                    break
                }
                try #require(killed.result.ending != .exited(1), "\(killed.result.explanation)")
                kills[call, default: 0] += 1
                let stage = try host.devices()
                stages.insert(stage)
                // Every second time it is taken down from where the kill left it.
                if number.isMultiple(of: 2) {
                    let mended = try host.fanmesh("up")
                    try #require(mended.isSuccess, "after \(killed.hit ?? ""): \(mended.explanation)")
                    let status = try host.fanmesh("status")
                    try #require(status.isSuccess, "after \(killed.hit ?? ""): \(status.output)")
                    try #require(try host.fanmesh("up").output.contains("already right"))
                }
                let down = try host.fanmesh("down")
                try #require(down.isSuccess, "after \(killed.hit ?? ""): \(down.explanation)")
                try Self.requireNothingLeft(host, before, after: killed.hit ?? "")
                try? FileManager.default.removeItem(atPath: host.stateDirectory)
            }
        }
        let total = kills.values.reduce(0, +)
        #expect(total >= plan.changes.count, "\(kills)")
        #expect(plan.changes.count == 13)
        for (call, least) in ["sendto": 4, "bpf": 2, "write": 2, "rename": 2] {
            #expect(kills[call, default: 0] >= least, "\(kills)")
        }
        // No device, the bridge alone, both: it was stopped in between, not only before and after.
        #expect(stages.count == 3, "\(stages)")
    }

    @Test func aChangeKilledAnywhereIsFinishedByTheNext() throws {
        let lab = try LifecycleLab("killchange", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        // Everything that can differ does: overlay, forwarder, port, VNI, MTU and peers.
        let former = ["up", "--forwarder", "fdb", "--vni", "77", "--port", "8475", "-p", peer.address]
        let wanted = ["up", "--overlay", "241.0.0.0/8", "--forwarder", "fdb", "--vni", "78", "--mtu", "1400"]
        let peerUp = try peer.fanmesh(
            "up",
            "--overlay",
            "241.0.0.0/8",
            "--forwarder",
            "fdb",
            "--vni",
            "78",
            "-p",
            host.address
        )
        try #require(peerUp.isSuccess, "\(peerUp.explanation)")
        let before = try LifecycleSnapshot(host)
        var kills = 0
        for call in ["sendto", "recvmsg", "write", "rename", "unlink"] {
            for number in 1... {
                try #require(try host.fanmesh(behind: [], former).isSuccess)
                let killed = try LifecycleFault.run(
                    host,
                    wanted + ["-p", peer.address],
                    fault: "signal=KILL",
                    call: call,
                    number: number
                )
                guard killed.hit != nil else { break }
                kills += 1
                let mended = try host.fanmesh(behind: [], wanted + ["-p", peer.address])
                try #require(mended.isSuccess, "after \(killed.hit ?? ""): \(mended.explanation)")
                let addresses = try host.run("ip", "-4", "-o", "address", "show", "dev", "fan0").output
                try #require(addresses.contains(" 241."), "after \(killed.hit ?? ""): \(addresses)")
                try #require(!addresses.contains(" 240."), "after \(killed.hit ?? ""): \(addresses)")
                try #require(
                    try host.reaches(peer.bridgeAddress.replacing("240.", with: "241.", maxReplacements: 1)),
                    "after \(killed.hit ?? "")"
                )
                try #require(try !LifecycleSnapshot.files(host.stateDirectory).contains { $0.contains(".former") })
            }
            try #require(try host.fanmesh("down").isSuccess)
            try Self.requireNothingLeft(host, before, after: call)
        }
        #expect(kills >= 20)
    }

    @Test func programsAndMapsGoWithTheDevices() throws {
        let lab = try LifecycleLab("bpf", underlay: "10.83.0.0/16")
        let host = lab.hosts[0]
        #expect(try LifecyclePrograms.named(of: host).isEmpty)
        try #require(try host.fanmesh("up").isSuccess)
        let loaded = try LifecyclePrograms.named(of: host)
        #expect(loaded.count == 2)
        let maps = Set(loaded.flatMap(\.maps))
        #expect(maps.count == 2)
        #expect(maps.allSatisfy(LifecyclePrograms.mapExists))
        for _ in 0..<2 { try #require(try host.fanmesh("down").isSuccess) }
        // The kernel frees programs after a grace period.
        let areGone = try eventually {
            try LifecyclePrograms.named(of: host).isEmpty && !maps.contains(where: LifecyclePrograms.mapExists)
        }
        #expect(areGone, "programs or maps of \(host.address) are still loaded")
    }

    static func requireNothingLeft(_ host: LifecycleHost, _ before: LifecycleSnapshot, after: String) throws {
        var left = try LifecycleSnapshot(host)
        // The identity stays: the addresses of this node's devices shall be the same next time.
        left.lines.removeAll { $0.hasPrefix("file node-id: ") || $0.hasPrefix("file machine: ") }
        // A file that was being written when the kill came is overwritten by the next writer.
        left.lines.removeAll { $0.hasPrefix("file ") && $0.contains(".new: ") }
        try #require(left.difference(from: before).isEmpty, "after \(after)")
    }
}
