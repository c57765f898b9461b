import FanCore
import FanLab
import Foundation
import Glibc
import TestSupport
import Testing

/// `up` again, `up` that mends, `up --dry-run` and `down`: nothing is touched that is right.
@Suite(.enabled(if: isRoot))
struct LifecycleRepeatTests {
    /// Netlink messages and files by which something would change.
    static func changes(in trace: [String]) -> [String] {
        trace.filter { line in
            let asks = line.contains("sendmsg(") || line.contains("sendto(")
            return asks && (line.contains("RTM_NEW") || line.contains("RTM_SET") || line.contains("RTM_DEL"))
                || ["BPF_PROG_ATTACH", "BPF_PROG_DETACH", "BPF_PROG_LOAD", "rename(", "unlink("].contains {
                    line.contains($0)
                }
        }
    }

    @Test(arguments: [["up"], ["up", "--forwarder", "fdb", "-p", "172.31.16.1"]])
    func aSecondUpSendsNoChange(_ up: [String]) throws {
        let lab = try LifecycleLab(up.count == 1 ? "same" : "samefdb")
        let host = lab.hosts[0]
        let calls = "sendmsg,sendto,bpf,rename,unlink"
        // The trace sees changes where there are some.
        #expect(try Self.changes(in: LifecycleFault.trace(host, up, calls: calls)).count >= 8)
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        #expect(try Self.changes(in: LifecycleFault.trace(host, up, calls: calls)) == [])
        let text = try host.fanmesh(behind: [], up)
        #expect(text.isSuccess)
        #expect(text.output.contains("already right, nothing to change"))
        let document = try LifecycleDocument(host.fanmesh(behind: [], up + ["--format", "json"]))
        #expect(document.changes == [])
        #expect(document["applied"] as? Bool == true)
        try host.expectUnchanged(since: before, keepingNumbers: true)
    }

    /// One thing that breaks, how, and the steps that mend it.
    struct Damage: CustomTestStringConvertible, Sendable {
        var name: String
        var command: [String]
        var steps: [String]
        /// Whether traffic has to go on while it is broken and mended.
        var isHarmless = false
        var testDescription: String { name }
    }

    static let damages = [
        Damage(
            name: "ingress",
            command: ["tc", "filter", "delete", "dev", "fan0-vx", "ingress"],
            steps: ["attach classifiers"],
            isHarmless: true
        ),
        Damage(
            name: "egress",
            command: ["tc", "filter", "delete", "dev", "fan0-vx", "egress"],
            steps: ["attach classifiers"]
        ),
        Damage(
            name: "qdisc",
            command: ["tc", "qdisc", "delete", "dev", "fan0-vx", "clsact"],
            steps: ["attach classifiers"]
        ),
        Damage(
            name: "address",
            command: ["ip", "address", "flush", "dev", "fan0"],
            steps: ["add address"]
        ),
        Damage(
            name: "mtu",
            command: ["ip", "link", "set", "fan0-vx", "mtu", "1200"],
            steps: ["set fan0-vx mtu 1450 (was 1200)", "set fan0-vx ipv6 off"],
            isHarmless: true
        ),
        Damage(
            name: "bridgemtu",
            command: ["ip", "link", "set", "fan0", "mtu", "1300"],
            steps: ["set fan0 mtu 1450 (was 1300)"],
            isHarmless: true
        ),
        Damage(
            name: "arpignore",
            command: ["sysctl", "-qw", "net.ipv4.conf.fan0.arp_ignore=8", "net.ipv4.conf.fan0.rp_filter=1"],
            steps: ["set fan0 arp_ignore 1 rp_filter 2"]
        ),
        Damage(name: "down", command: ["ip", "link", "set", "fan0", "down"], steps: ["set fan0 up"]),
        Damage(name: "vxdown", command: ["ip", "link", "set", "fan0-vx", "down"], steps: ["set fan0-vx up"]),
        Damage(
            name: "vxgone",
            command: ["ip", "link", "delete", "fan0-vx"],
            steps: [
                "add vxlan", "set fan0-vx ipv6 off", "attach classifiers", "add fdb", "set fan0-vx learning off",
                "set fan0-vx up",
            ]
        ),
        Damage(
            name: "master",
            command: ["ip", "link", "set", "fan0-vx", "nomaster"],
            steps: ["set fan0-vx master fan0", "add fdb", "set fan0-vx learning off"]
        ),
        Damage(
            name: "learning",
            command: ["bridge", "link", "set", "dev", "fan0-vx", "learning", "on"],
            steps: ["set fan0-vx learning off"],
            isHarmless: true
        ),
        Damage(
            name: "far",
            command: ["bridge", "fdb", "delete", "\(ClassifierSpec.farAddress)", "dev", "fan0-vx", "master"],
            steps: ["add fdb"],
            isHarmless: true
        ),
        Damage(
            name: "fence",
            command: ["nft", "delete", "table", "bridge", "fanmesh-fan0"],
            steps: ["set fence"],
            isHarmless: true
        ),
        Damage(
            name: "rule",
            command: ["nft", "flush", "chain", "ip", "fanmesh-fan0", "input"],
            steps: ["set fence"],
            isHarmless: true
        ),
        Damage(
            name: "ipv6",
            command: ["sysctl", "-qw", "net.ipv6.conf.fan0.disable_ipv6=0"],
            steps: ["set fan0 ipv6 off"],
            isHarmless: true
        ),
    ]

    @Test(arguments: damages)
    func oneBrokenThingIsMendedAlone(_ damage: Damage) throws {
        let lab = try LifecycleLab("mend\(damage.name)", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        for each in lab.hosts { try #require(try each.fanmesh("up").isSuccess) }
        try #require(try host.reaches(peer.bridgeAddress))
        let before = try LifecycleSnapshot(host)
        let bridge = try host.index(of: "fan0")
        let vxlan = try host.index(of: "fan0-vx")
        let ping = damage.isHarmless ? try LifecyclePing(from: host, to: peer.bridgeAddress) : nil

        let result = try host.node.namespace.run(ProcessRequest(damage.command))
        try #require(result.isSuccess, "\(result.explanation)")
        let status = try host.fanmesh("status", "--format", "json")
        #expect(status.ending == .exited(1))
        #expect(
            try LifecycleDocument(status).list("warnings").contains { $0["code"] as? String == "overlay-out-of-shape" }
        )

        let mended = try LifecycleDocument(host.fanmesh("up", "--format", "json"))
        #expect(mended.changes.count == damage.steps.count, "\(mended.changes)")
        for (step, wanted) in zip(mended.changes, damage.steps) { #expect(step.hasPrefix(wanted), "\(mended.changes)") }
        try host.expectUnchanged(since: before)
        #expect(try host.index(of: "fan0") == bridge)
        #expect(try damage.name == "vxgone" || host.index(of: "fan0-vx") == vxlan)
        #expect(try host.fanmesh("status").isSuccess)
        if let ping {
            let lost = try ping.stop()
            #expect(lost == 0)
        }
        #expect(try host.reaches(peer.bridgeAddress))
    }

    @Test func anMTUAroundTheLeastOfIPv6LeavesItOff() throws {
        let lab = try LifecycleLab("mtus")
        let host = lab.hosts[0]
        for mtu in ["1280", "1279", "1280", "1200", "1400", "68", "1450"] {
            let result = try host.fanmesh("up", "--mtu", mtu)
            #expect(result.isSuccess, "\(mtu): \(result.explanation)")
            #expect(try host.fanmesh("up", "--mtu", mtu).output.contains("already right"))
            #expect(try host.run("ip", "-6", "address", "show", "dev", "fan0").output.isEmpty)
            #expect(try host.run("ip", "-6", "address", "show", "dev", "fan0-vx").output.isEmpty)
            #expect(try host.fanmesh("status").isSuccess)
        }
    }

    @Test func aDeletedBridgeComesBackWithItsPort() throws {
        let lab = try LifecycleLab("mendbridge", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        for each in lab.hosts { try #require(try each.fanmesh("up").isSuccess) }
        let before = try LifecycleSnapshot(host)
        try host.require("ip", "link", "delete", "fan0")
        #expect(try host.fanmesh("status").ending == .exited(1))
        try #require(try host.fanmesh("up").isSuccess)
        try host.expectUnchanged(since: before)
        #expect(try host.reaches(peer.bridgeAddress))
    }

    @Test func trafficGoesOnWhilePeersComeAndGo() throws {
        let lab = try LifecycleLab("peers", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        let up = ["up", "--forwarder", "fdb", "-p", peer.address]
        try #require(try host.fanmesh(behind: [], up).isSuccess)
        try #require(try peer.fanmesh("up", "--forwarder", "fdb", "-p", host.address).isSuccess)
        try #require(try host.reaches(peer.bridgeAddress))
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        let ping = try LifecyclePing(from: host, to: peer.bridgeAddress)

        let more = try LifecycleDocument(
            host.fanmesh(behind: [], up + ["-p", "172.31.20.20", "-p", "172.31.20.21", "--format", "json"])
        )
        #expect(
            more.changes == [
                "add fdb 00:00:00:00:00:00 dev fan0-vx dst 172.31.20.20",
                "add fdb 00:00:00:00:00:00 dev fan0-vx dst 172.31.20.21",
            ]
        )
        let entries = try host.run("bridge", "fdb", "show", "dev", "fan0-vx").output
        for address in [peer.address, "172.31.20.20", "172.31.20.21"] {
            #expect(entries.contains("00:00:00:00:00:00 dst \(address) self permanent"))
        }
        let added = try LifecycleSnapshot(host, keepingNumbers: true).difference(from: before)
            .split(separator: "\n")
            .filter { ($0.hasPrefix("+ ") || $0.hasPrefix("- ")) && !$0.contains("networks/fan0") }
        #expect(added.count == 2 && added.allSatisfy { $0.hasPrefix("+ bridge") }, "\(added)")

        // One is replaced by another.
        let other = try LifecycleDocument(
            host.fanmesh(behind: [], up + ["-p", "172.31.20.21", "-p", "172.31.20.22", "--format", "json"])
        )
        #expect(
            other.changes == [
                "add fdb 00:00:00:00:00:00 dev fan0-vx dst 172.31.20.22",
                "delete fdb 00:00:00:00:00:00 dev fan0-vx dst 172.31.20.20",
            ]
        )
        try #require(try host.fanmesh(behind: [], up).isSuccess)
        try host.expectUnchanged(since: before, keepingNumbers: true)
        let lost = try ping.stop()
        #expect(lost == 0)
    }

    @Test func anEBPFHostKnowsPeersWithoutTheKernel() throws {
        let lab = try LifecycleLab("peersebpf")
        let host = lab.hosts[0]
        try #require(try host.fanmesh("up").isSuccess)
        let calls = "sendmsg,sendto,bpf"
        let trace = try LifecycleFault.trace(host, ["up", "-p", "172.31.20.20"], calls: calls)
        #expect(Self.changes(in: trace) == [])
        let status = try LifecycleDocument(host.fanmesh("status", "--format", "json"))
        #expect(status.list("peers").map { $0["underlay_address"] as? String } == ["172.31.20.20"])
    }

    @Test func aDryRunPlansAndTouchesNothing() throws {
        let lab = try LifecycleLab("dry")
        let host = lab.hosts[0]
        try FileManager.default.removeItem(atPath: host.stateDirectory)
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        let calls = "sendmsg,sendto,mkdir,rename,unlink"
        let trace = try LifecycleFault.trace(host, ["up", "--dry-run"], calls: calls)
        #expect(Self.changes(in: trace) == [])
        #expect(!trace.contains { $0.contains("mkdir(") })

        let result = try host.fanmesh("up", "--dry-run", "--format", "json")
        #expect(result.isSuccess)
        let plan = try LifecycleDocument(result)
        #expect(plan.text("schema") == "fanmesh.plan/v1")
        #expect(plan["applied"] as? Bool == false)
        #expect(plan.list("changes").allSatisfy { Set($0.keys) == ["action", "object", "text"] })
        let steps = plan.list("changes").map { "\($0["action"] ?? "") \($0["object"] ?? "")" }
        #expect(
            steps == [
                "add fan0", "set fan0", "set fan0", "set fan0", "add fan0", "set fanmesh-fan0", "add fan0-vx",
                "set fan0-vx", "attach fan0-vx", "add fan0-vx", "set fan0-vx", "set fan0-vx", "set fan0",
            ]
        )
        let text = try host.fanmesh("up", "--dry-run").output
        #expect(text.contains("would take 13 steps"))
        #expect(!FileManager.default.fileExists(atPath: host.stateDirectory))
        try host.expectUnchanged(since: before, keepingNumbers: true)

        // A dry run on an overlay that is up shows only what would change.
        try #require(try host.fanmesh("up").isSuccess)
        let up = try LifecycleSnapshot(host, keepingNumbers: true)
        let change = try LifecycleDocument(host.fanmesh("up", "--mtu", "1400", "--dry-run", "--format", "json"))
        #expect(change.changes == ["set fan0 mtu 1400 (was 1450)", "set fan0-vx mtu 1400 (was 1450)"])
        try host.expectUnchanged(since: up, keepingNumbers: true)
    }

    @Test func downRemovesItsOwnAndMayBeRepeated() throws {
        let lab = try LifecycleLab("down")
        let host = lab.hosts[0]
        try host.require("ip", "link", "add", "other", "type", "bridge")
        try host.require(
            "ip",
            "link",
            "add",
            "other-vx",
            "type",
            "vxlan",
            "id",
            "9",
            "dstport",
            "4789",
            "local",
            host.address
        )
        let before = try LifecycleSnapshot(host)
        try #require(try host.fanmesh("up").isSuccess)
        try host.require("ip", "link", "set", "other-vx", "master", "fan0")
        try host.require("ip", "link", "set", "other-vx", "nomaster")

        let first = try LifecycleDocument(host.fanmesh("down", "--format", "json"))
        #expect(first.changes == ["delete vxlan fan0-vx", "delete bridge fan0", "delete fence of fan0"])
        #expect(first.text("schema") == "fanmesh.plan/v1")
        for _ in 0..<2 {
            let again = try host.fanmesh("down", "--format", "json")
            #expect(again.isSuccess)
            #expect(try LifecycleDocument(again).changes == [])
        }
        #expect(try host.fanmesh("down").output.contains("nothing to remove"))
        try LifecycleKillTests.requireNothingLeft(host, before, after: "down")
    }

    @Test func twoNetworksStandSideBySide() throws {
        let lab = try LifecycleLab("two", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        let a = ["--network", "a", "--overlay", "240.0.0.0/8"]
        let b = ["--network", "b", "--overlay", "250.0.0.0/8", "--port", "8479"]
        let far = "250." + peer.bridgeAddress.split(separator: ".").dropFirst().joined(separator: ".")
        for each in lab.hosts {
            try #require(try each.fanmesh(behind: [], ["up"] + a).isSuccess)
            let second = try each.fanmesh(behind: [], ["up"] + b)
            try #require(second.isSuccess, "\(second.explanation)")
        }
        #expect(try host.devices() == ["a", "a-vx", "b", "b-vx", "eth0", "lo"])
        #expect(try host.reaches(peer.bridgeAddress))
        #expect(try host.reaches(far))
        let status = try LifecycleDocument(host.fanmesh("status", "--format", "json"))
        #expect(status.list("networks").map { $0["name"] as? String } == ["a", "b"])
        #expect(status.list("networks").map { $0["port"] as? Int } == [8472, 8479])
        #expect(status.text("verdict") == "healthy")

        try #require(try host.fanmesh("down", "--network", "a").isSuccess)
        #expect(try host.devices() == ["b", "b-vx", "eth0", "lo"])
        #expect(try host.reaches(far))
        #expect(try host.fanmesh("status").isSuccess)
        try #require(try host.fanmesh("down", "--network", "b").isSuccess)
        #expect(try host.devices() == ["eth0", "lo"])

        // One port cannot serve two networks with eBPF: the owner is named.
        try #require(try host.fanmesh(behind: [], ["up"] + a).isSuccess)
        let clash = try host.fanmesh("up", "--network", "b", "--overlay", "250.0.0.0/8")
        #expect(clash.ending == .exited(1))
        #expect(clash.errorOutput.contains("UDP port 8472 belongs to VXLAN device 'a-vx'"))
        #expect(try host.devices() == ["a", "a-vx", "eth0", "lo"])
    }
}

/// A ping that runs while something else happens.
struct LifecyclePing {
    private let process: RunningProcess

    init(from host: LifecycleHost, to address: String) throws {
        let command = ["ping", "-O", "-i", "0.02", "-W", "2", address]
        process = try RunningProcess(ProcessRequest(command), in: host.node.namespace)
        let answers = try process.wait(atMost: .seconds(10)) { output, _ in
            output.split(separator: "\n").filter { $0.contains("bytes from") }.count >= 3
        }
        try #require(answers, "no answer from \(address)")
    }

    /// Ends it once more answers have come, and counts what got none, the last one in flight aside.
    func stop() throws -> Int {
        // What was sent at the end of the change shall be answered too.
        usleep(200_000)
        process.signal(SIGINT)
        let output = try process.wait().output
        let lines = output.split(separator: "\n")
        let answered = Set(
            lines.filter { $0.contains("bytes from") }.compactMap { line in
                line.split(separator: " ").first { $0.hasPrefix("icmp_seq=") }.flatMap { Int($0.dropFirst(9)) }
            }
        )
        let last = try #require(answered.max())
        return last - answered.count
    }
}
