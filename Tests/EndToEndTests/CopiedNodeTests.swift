import FanCore
import FanLab
import Foundation
import TestSupport
import Testing

/// Hosts whose disks are copies of one, so that they have one node id, and what earlier versions left.
@Suite(.enabled(if: isRoot))
struct CopiedNodeTests {
    @Test(arguments: ["ebpf", "fdb"]) func copiesReachEachOther(_ forwarder: String) throws {
        let lab = try LifecycleLab("copy\(forwarder)", hosts: 2)
        let hosts = lab.hosts
        func up(_ host: LifecycleHost, peer: LifecycleHost) throws {
            let peers = forwarder == "fdb" ? ["--peer", peer.address] : []
            let result = try host.fanmesh(behind: [], ["up", "--forwarder", forwarder] + peers)
            try #require(result.isSuccess, "\(result.explanation)")
        }
        try up(hosts[0], peer: hosts[1])
        try FileManager.default.createDirectory(atPath: hosts[1].stateDirectory, withIntermediateDirectories: true)
        for name in ["node-id", "machine"] {
            let copy = "\(hosts[1].stateDirectory)/\(name)"
            if FileManager.default.fileExists(atPath: copy) { try FileManager.default.removeItem(atPath: copy) }
            try FileManager.default.copyItem(atPath: "\(hosts[0].stateDirectory)/\(name)", toPath: copy)
        }
        try up(hosts[1], peer: hosts[0])
        let ids = try hosts.map { try String(contentsOfFile: "\($0.stateDirectory)/node-id", encoding: .utf8) }
        try #require(ids[0] == ids[1])
        for device in ["fan0", "fan0-vx"] {
            let macs = try hosts.map { try $0.node.namespace.link(device).mac }
            #expect(macs[0] != nil && macs[0] != macs[1], "\(device) has \(macs) on both")
        }
        #expect(try hosts[0].reaches(hosts[1].bridgeAddress) && hosts[1].reaches(hosts[0].bridgeAddress))
    }

    /// A host without a cluster moves by a command, guests' bridge and all.
    @Test func aHostMovesToAnotherAddress() throws {
        let lab = try LifecycleLab("move", hosts: 2)
        let (host, other) = (lab.hosts[0], lab.hosts[1])
        for host in lab.hosts { try #require(try host.fanmesh("up").isSuccess) }
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        let index = try host.index(of: "fan0")
        let held = try host.fanmesh("readdress")
        #expect(held.ending == .exited(1) && held.errorOutput.contains("nothing to move"), "\(held)")
        try host.require("ip", "address", "add", "172.31.22.9/20", "dev", "eth0")
        let shown = try host.fanmesh("readdress", "--dry-run", "--underlay-address", "172.31.22.9")
        #expect(shown.isSuccess && shown.output.contains("-> 240.96.144.0/20"), "\(shown)")
        try host.require("ip", "address", "del", "172.31.22.9/20", "dev", "eth0")
        try host.expectUnchanged(since: before, keepingNumbers: true)
        try host.require("ip", "address", "del", "\(host.node.interfaceAddress)", "dev", "eth0")
        try host.require("ip", "address", "add", "172.31.22.9/20", "dev", "eth0")
        let status = try host.fanmesh("status")
        #expect(status.output.contains("-> 240.96.144.0/20") && status.output.contains("fanmesh readdress"))
        let moved = try host.fanmesh("readdress")
        #expect(moved.isSuccess, "\(moved)")
        #expect(try host.fanmesh("status").isSuccess && host.index(of: "fan0") == index)
        #expect(try other.reaches("240.96.144.1") && host.reaches(other.bridgeAddress))
    }

    /// The devices of an earlier version, and those of another slice, are this node's: kept, mended and removed.
    @Test func formerAddressesAreKnown() throws {
        let lab = try LifecycleLab("former", hosts: 2)
        let (host, other) = (lab.hosts[0], lab.hosts[1])
        for host in lab.hosts { try #require(try host.fanmesh("up").isSuccess) }
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        let id = try String(contentsOfFile: "\(host.stateDirectory)/node-id", encoding: .utf8).dropLast()
        let elsewhere = try host.node.plan.mapping.slice(of: other.node.address)
        func rename(_ mac: (String) -> MACAddress) throws {
            for device in ["fan0", "fan0-vx"] {
                try host.require("ip", "link", "set", device, "address", "\(mac(device))")
            }
        }
        for mac in [
            { MACAddress.derived(node: String(id), device: $0) },
            { MACAddress.derived(node: String(id), device: $0, slice: elsewhere) },
        ] {
            try rename(mac)
            let up = try host.fanmesh("up")
            #expect(up.isSuccess && up.output.contains("set fan0 address"), "\(up.explanation) \(up.output)")
            try host.expectUnchanged(since: before, keepingNumbers: true)
            #expect(try host.reaches(other.bridgeAddress))
        }
        try rename { MACAddress.derived(node: String(id), device: $0) }
        #expect(try host.fanmesh("down").isSuccess)
        #expect(try host.devices().contains { $0.hasPrefix("fan0") } == false)
    }
}
