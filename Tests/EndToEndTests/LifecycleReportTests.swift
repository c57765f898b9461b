import FanCore
import FanLab
import Foundation
import Glibc
import TestSupport
import Testing

/// What `status` and `check` say: the JSON of the contract, the verdict first, the right diagnosis and exit code.
@Suite(.enabled(if: isRoot))
struct LifecycleReportTests {
    @Test func statusFollowsItsSchema() throws {
        let lab = try LifecycleLab("status", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        let none = try host.fanmesh("status", "--format", "json")
        #expect(none.ending == .exited(1))
        let empty = try LifecycleDocument(none)
        #expect(empty.text("schema") == "fanmesh.status/v1")
        #expect(empty.text("verdict") == "error")
        #expect(empty.list("warnings").map { $0["code"] as? String } == ["no-overlay"])
        #expect(empty.list("networks").isEmpty)

        for each in lab.hosts {
            try #require(try each.fanmesh("up", "-p", peer.node == each.node ? host.address : peer.address).isSuccess)
        }
        try #require(try host.reaches(peer.bridgeAddress))
        let result = try host.fanmesh("status", "--format", "json")
        #expect(result.isSuccess)
        let status = try LifecycleDocument(result)
        #expect(status.keys == ["schema", "verdict", "node", "networks", "peers", "warnings"])
        #expect(status.text("verdict") == "healthy")
        #expect(status.list("warnings").isEmpty)
        let network = try #require(status.list("networks").first)
        let promised: Set<String> = [
            "name", "underlay", "underlay_address", "overlay", "slice", "bridge", "vxlan", "forwarder", "vni", "port",
            "mtu", "counters",
        ]
        #expect(promised.isSubset(of: network.keys))
        #expect(network["name"] as? String == "fan0")
        #expect(network["underlay"] as? String == host.underlay)
        #expect(network["underlay_address"] as? String == host.address)
        #expect(network["overlay"] as? String == "240.0.0.0/8")
        #expect(network["slice"] as? String == "\(host.node.slice.prefix)")
        #expect(network["bridge"] as? String == "fan0")
        #expect(network["vxlan"] as? String == "fan0-vx")
        #expect(network["forwarder"] as? String == "ebpf")
        #expect(network["vni"] as? Int == 15_728_640)
        #expect(network["port"] as? Int == 8472)
        #expect(network["mtu"] as? Int == 1450)
        let counters = try #require(network["counters"] as? [String: Int])
        #expect(Set(counters.keys) == ["forwarded", "fenced", "spoofed", "outside", "unsupported"])
        #expect(counters["forwarded", default: 0] > 0)
        let known = try #require(status.list("peers").first)
        #expect(known["underlay_address"] as? String == peer.address)
        #expect(known["overlay_address"] as? String == peer.bridgeAddress)

        let table = try host.fanmesh("status").output
        #expect(table.hasPrefix("HEALTHY\n"))
        try host.require("ip", "link", "set", "fan0", "down")
        let broken = try host.fanmesh("status")
        #expect(broken.ending == .exited(1))
        #expect(broken.output.hasPrefix("ERROR\n"))
        #expect(broken.output.contains("set fan0 up"))
        #expect(broken.output.contains("fix: run: fanmesh up"))
    }

    @Test func everyFormatSaysTheSame() throws {
        let lab = try LifecycleLab("formats", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        for each in lab.hosts { try #require(try each.fanmesh("up").isSuccess) }
        try #require(try host.reaches(peer.bridgeAddress))
        for arguments in [["status"], ["check", peer.address], ["up"], ["up", "--dry-run"]] {
            for format in ["table", "compact", "csv", "json", "yaml"] {
                let result = try host.fanmesh(behind: [], arguments + ["--format", format])
                #expect(result.isSuccess, "\(arguments) \(format): \(result.explanation)")
                #expect(result.errorOutput.isEmpty)
                #expect(result.output.utf8.last == UInt8(ascii: "\n"))
                // CSV shows rows, and an up with nothing to do has none.
                if arguments[0] != "up" || format != "csv" {
                    #expect(
                        result.output.contains(arguments[0] == "check" ? peer.address : host.address),
                        "\(result.output)"
                    )
                }
                switch format {
                case "json":
                    _ = try LifecycleDocument(result)
                    #expect(result.output.hasPrefix("{"))
                case "yaml": #expect(result.output.contains("schema: fanmesh."))
                case "csv": #expect(result.output.split(separator: "\n").first?.contains(",") == true)
                default: #expect(!result.output.hasPrefix("{"))
                }
            }
            let quiet = try host.fanmesh(behind: [], arguments + ["-q"])
            #expect(quiet.isSuccess)
            #expect(quiet.output.isEmpty && quiet.errorOutput.isEmpty, "\(arguments)")
        }
        try host.require("ip", "link", "set", "fan0", "down")
        let quiet = try host.fanmesh("status", "-q")
        #expect(quiet.ending == .exited(1))
        #expect(quiet.output.isEmpty)
    }

    @Test func checkTellsPeersApart() throws {
        let lab = try LifecycleLab("check", hosts: 5)
        let host = lab.hosts[0]
        let (live, closed, narrow, off) = (lab.hosts[1], lab.hosts[2], lab.hosts[3], lab.hosts[4])
        for each in lab.hosts where each.node != off.node { try #require(try each.fanmesh("up").isSuccess) }
        let dead = "172.31.29.29"
        // One peer lets no VXLAN out, one takes only small packets off the wire, one has no overlay at all.
        try closed.require("ip", "rule", "add", "pref", "1", "ipproto", "udp", "dport", "8472", "blackhole")
        try narrow.require("ip", "link", "set", "eth0", "mtu", "1400")
        try narrow.require("ip", "link", "set", "fan0-vx", "mtu", "1350")
        try narrow.require("ip", "link", "set", "fan0", "mtu", "1350")
        for each in [live, narrow] { try #require(try host.reaches(each.bridgeAddress)) }

        let command = [live.address, closed.address, narrow.bridgeAddress, off.address, dead]
        let result = try host.fanmesh(behind: [], ["check", "--timeout", "500ms", "--format", "json"] + command)
        #expect(result.ending == .exited(1), "\(result.explanation)")
        let check = try LifecycleDocument(result)
        #expect(check.keys == ["schema", "verdict", "host", "peers", "causes"])
        #expect(check.text("schema") == "fanmesh.check/v1")
        #expect(check.text("verdict") == "error")
        #expect(check.list("host").allSatisfy { Set($0.keys) == ["check", "result", "detail", "remedy"] })
        #expect(check.list("host").allSatisfy { ["ok", "skipped"].contains($0["result"] as? String) })
        let peers = check.list("peers")
        #expect(peers.map { $0["name"] as? String } == command)
        for peer in peers {
            #expect(
                Set(peer.keys) == [
                    "name", "underlay_address", "overlay_address", "guest_address", "layers", "rtt_ms", "path_mtu",
                    "code", "diagnosis", "remedy", "legs",
                ]
            )
            let layers = try #require(peer["layers"] as? [String: String])
            #expect(Set(layers.keys) == ["underlay", "vxlan", "guest", "tcp", "mtu", "checksum"])
            #expect(layers.values.allSatisfy { ["ok", "fail", "skipped", "unknown"].contains($0) })
        }
        try #require(peers.count == 5)
        func layers(_ number: Int) -> [String] {
            let found = peers[number]["layers"] as? [String: String] ?? [:]
            return ["underlay", "vxlan", "mtu"].map { found[$0] ?? "" }
        }
        func says(_ number: Int) -> String { "\(peers[number]["diagnosis"] ?? "") \(peers[number]["remedy"] ?? "")" }
        #expect(layers(0) == ["ok", "ok", "ok"], "\(peers[0])")
        #expect(peers[0]["path_mtu"] as? Int == 1450)
        #expect((peers[0]["rtt_ms"] as? Double ?? -1) > 0)
        #expect(peers[0]["overlay_address"] as? String == live.bridgeAddress)

        #expect(layers(1) == ["ok", "fail", "skipped"], "\(peers[1])")
        #expect(says(1).contains("UDP 8472"))
        #expect(says(1).contains("blocked"))

        #expect(layers(2) == ["ok", "ok", "fail"], "\(peers[2])")
        // A veth takes four bytes more than its MTU, the room of a VLAN tag.
        let passing = try #require(peers[2]["path_mtu"] as? Int)
        #expect((1350...1354).contains(passing), "\(peers[2])")
        #expect(peers[2]["underlay_address"] as? String == narrow.address)
        #expect(says(2).contains("path MTU \(passing)"))
        #expect(says(2).contains("--mtu \(passing)"))

        #expect(layers(3) == ["ok", "fail", "skipped"], "\(peers[3])")
        #expect(says(3).contains("fanmesh is not running there"))

        #expect(layers(4) == ["fail", "fail", "skipped"], "\(peers[4])")
        #expect(peers[4]["rtt_ms"] is NSNull)
        #expect(says(4).contains(dead))

        // Peers with one cause are one group, and that of more peers comes first.
        #expect(
            peers.map { $0["code"] as? String }
                == ["reachable", "vxlan-blocked", "path-mtu", "vxlan-blocked", "host-silent"]
        )
        let causes = check.list("causes")
        #expect(causes.allSatisfy { Set($0.keys) == ["code", "severity", "subjects", "message", "remedy"] })
        #expect(causes.map { $0["code"] as? String } == ["vxlan-blocked", "path-mtu", "host-silent"])
        #expect(causes.first?["subjects"] as? [String] == [closed.address, off.address])

        let table = try host.fanmesh("check", "--timeout", "500ms", live.address)
        #expect(table.isSuccess, "\(table.explanation)")
        #expect(table.output.hasPrefix("HEALTHY\n"))
        #expect(try host.fanmesh("check", "--timeout", "500ms", dead).output.hasPrefix("ERROR\n"))
    }

    /// When no peer is reached it is this host, which is said once and before any peer is blamed; what is said mends it.
    @Test func whenNoPeerIsReachedItIsThisHost() throws {
        let lab = try LifecycleLab("ownfault", hosts: 4)
        let host = lab.hosts[0]
        for each in lab.hosts { try #require(try each.fanmesh("up").isSuccess) }
        let peers = lab.hosts.dropFirst().map(\.address)
        for peer in lab.hosts.dropFirst() { try #require(try host.reaches(peer.bridgeAddress)) }
        let check = ["check", "--timeout", "500ms"] + peers
        func causes() throws -> [[String: Any]] {
            try LifecycleDocument(host.fanmesh(behind: [], check + ["--format", "json"])).list("causes")
        }
        #expect(try causes().isEmpty)

        // No VXLAN goes out of this host.
        let rule = ["pref", "1", "ipproto", "udp", "dport", "8472", "blackhole"]
        try host.node.namespace.succeed(["ip", "rule", "add"] + rule)
        let found = try causes()
        #expect(found.count == 1 && found.first?["code"] as? String == "own-vxlan", "\(found)")
        #expect(found.first?["subjects"] as? [String] == peers)
        let text = try host.fanmesh(behind: [], check).output
        #expect(
            text.contains(
                "own-vxlan: no peer answers over the overlay, while all answer ping: most likely it is this host"
            )
        )
        #expect(text.split(separator: "\n").count { $0.hasPrefix("fix ") && $0.contains(peers[0]) } == 1, "\(text)")
        try host.node.namespace.succeed(["ip", "rule", "del"] + rule)
        #expect(try host.fanmesh(behind: [], check).isSuccess)

        // Nothing comes in.
        let filter =
            "table ip cut { chain input { type filter hook input priority 0; iifname eth0 meta l4proto icmp drop; "
            + "iifname eth0 meta l4proto udp drop; }; }"
        try host.require("nft", filter)
        #expect(try causes().map { $0["code"] as? String } == ["own-underlay"])
        try host.require("nft", "delete table ip cut")
        #expect(try host.fanmesh(behind: [], check).isSuccess)
        // Of one peer alone nobody knows whose fault it is.
        try lab.hosts[1].require("ip", "link", "set", "fan0", "down")
        #expect(try causes().map { $0["code"] as? String } == ["vxlan-blocked"])
    }

    @Test func checkWithoutAnOverlaySaysSo() throws {
        let lab = try LifecycleLab("checknone")
        let host = lab.hosts[0]
        let result = try host.fanmesh("check")
        #expect(result.ending == .exited(1))
        #expect(result.errorOutput.contains("'fan0' is not up on this host"))
        #expect(result.errorOutput.contains("fanmesh up"))
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func checkWatchSeesTheOverlayGoAndEnds(_ signal: Int32) throws {
        let lab = try LifecycleLab("watch\(signal)", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        for each in lab.hosts { try #require(try each.fanmesh("up").isSuccess) }
        try #require(try host.reaches(peer.bridgeAddress))
        let watch = try host.start("check", "--watch", "--timeout", "500ms", peer.address)
        #expect(try watch.wait(atMost: .seconds(20)) { output, _ in output.contains("HEALTHY") })
        try host.require("ip", "link", "set", "fan0", "down")
        #expect(try watch.wait(atMost: .seconds(20)) { output, _ in output.contains("ERROR") })
        try #require(try host.fanmesh("down").isSuccess)
        #expect(try watch.wait(atMost: .seconds(20)) { _, errors in errors.contains("is not up on this host") })
        #expect(watch.isRunning)
        watch.signal(signal)
        let result = try watch.wait()
        let isEnded = result.ending == .signaled(signal) || result.ending == .exited(1) || result.ending == .exited(0)
        #expect(isEnded, "\(result.ending)")
    }

    @Test func whatCannotBeFoundOutIsNotCalledBroken() throws {
        let lab = try LifecycleLab("unknown", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        for each in lab.hosts { try #require(try each.fanmesh("up").isSuccess) }
        let wrapper = RefusalHostTests.without("-net_raw")
        let check = try host.fanmesh(behind: wrapper, ["check", "--timeout", "500ms", peer.address])
        #expect(check.ending == .exited(4), "\(check.explanation)")
        #expect(check.errorOutput.contains("CAP_NET_RAW"), "\(check.explanation)")
        // strace makes the kernel unreadable.
        let blind = [
            "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=sendto", "-e", "inject=sendto:error=ENOBUFS",
        ]
        for arguments in [["status"], ["check"]] {
            let result = try host.fanmesh(behind: blind, arguments)
            #expect(result.ending == .exited(4), "\(result.explanation)")
            #expect(result.errorOutput.contains("list 'links'"))
        }
    }
}
