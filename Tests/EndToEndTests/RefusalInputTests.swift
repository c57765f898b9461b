import FanCore
import FanLab
import Foundation
import Glibc
import TestSupport
import Testing

/// Bad input is refused with exit code 2, the value and the way out named, and nothing touched.
@Suite(.enabled(if: isRoot))
struct RefusalInputTests {
    /// A command line and what its refusal has to say.
    struct Refusal: CustomTestStringConvertible, Sendable {
        var arguments: [String]
        var says: [String]
        var testDescription: String { arguments.joined(separator: " ") }

        func arguments(on host: LifecycleHost) -> [String] {
            arguments.map { $0.replacing("HOST", with: host.address) }
        }

        func says(on host: LifecycleHost) -> [String] { says.map { $0.replacing("HOST", with: host.address) } }

        init(_ line: String, _ says: String...) {
            arguments = line.split(separator: " ").map(String.init)
            self.says = says
        }
    }

    /// The host is HOST in 172.31.16.0/20.
    static let mistakes = [
        Refusal("up --overlay 240.1.0.0/8", "240.1.0.0/8", "240.0.0.0/8"),
        Refusal("up --underlay 172.31.21.0/20", "172.31.21.0/20", "172.31.16.0/20"),
        Refusal("up --overlay 240.0.0.0/24", "172.31.16.0/20", "240.0.0.0/24", "larger overlay"),
        Refusal("up --overlay 240.0.0.0/19", "/31", "/30"),
        Refusal("up --underlay 10.9.0.0/16", "10.9.0.0/16", "HOST/20"),
        Refusal("up --overlay 172.0.0.0/8", "172.0.0.0/8", "HOST/20"),
        Refusal("up --overlay 172.31.16.0/20", "172.31.16.0/20", "used nowhere else"),
        Refusal("up --underlay 172.31.16.0/20 --overlay 172.31.0.0/16", "HOST/20", "172.31.0.0/16"),
        Refusal("up --underlay eth0 --overlay 172.16.0.0/12", "HOST/20", "172.16.0.0/12"),
        Refusal("up --overlay 240.0.0/8", "'240.0.0/8'", "172.31.16.0/20"),
        Refusal("up --overlay 240.0.0.0/33", "'240.0.0.0/33'"),
        Refusal("up --overlay 240.0.0.256/8", "'240.0.0.256"),
        Refusal("up --overlay 240.0.0.0", "'240.0.0.0'", "ADDRESS/LENGTH"),
        Refusal("up --overlay=", "''"),
        Refusal("up --underlay HOST", "'HOST'", "ADDRESS/LENGTH"),
        Refusal("up --underlay 1.2.3.4.5/6", "'1.2.3.4.5/6'"),
        Refusal("up --underlay eth9", "'eth9'", "eth0"),
        Refusal("up --underlay lo", "'lo'", "loopback"),
        Refusal("up --underlay-round wide", "'wide'", "lxd"),
        Refusal("up --network Fan", "'Fan'", "a-z"),
        Refusal("up --network fan_0", "'fan_0'", "a-z"),
        Refusal("up --network -fan", "--network needs a value"),
        Refusal("up --network=-fan", "'-fan'"),
        Refusal("up --network fan-", "'fan-'"),
        Refusal("up --network abcdefghijklm", "'abcdefghijklm'", "13 bytes", "12"),
        Refusal("up --network ../../etc", "'../../etc'"),
        Refusal("up --network=", "''"),
        Refusal("down --network abcdefghijklm", "'abcdefghijklm'", "12"),
        Refusal("check --network a/b", "'a/b'"),
        Refusal("up --forwarder magic", "'magic'", "ebpf", "fdb"),
        Refusal("up --peer 10.9.9.9", "10.9.9.9", "172.31.16.0/20"),
        Refusal("up --peer 172.31.16.0", "172.31.16.0", "network address"),
        Refusal("up --peer 172.31.31.255", "172.31.31.255", "broadcast"),
        Refusal("up --peer HOST", "HOST", "this host itself"),
        Refusal("up --peer nobody", "'nobody'", "172.31.21.5"),
        Refusal("up --port 0", "'0'", "1 to 65535"),
        Refusal("up --port 70000", "'70000'", "65535"),
        Refusal("up --port -1", "--port needs a value"),
        Refusal("up --port=-1", "'-1'", "65535"),
        Refusal("up --port http", "'http'", "65535"),
        Refusal("up --mtu 1451", "1451", "1500", "1450"),
        Refusal("up --mtu 67", "67", "68"),
        Refusal("up --mtu 99999999999999999999", "99999999999999999999"),
        Refusal("up --vni 0", "'0'", "1 to 16777215"),
        Refusal("up --vni 16777216", "'16777216'", "16777215"),
        Refusal("up --unknown", "--unknown"),
        Refusal("up surplus", "surplus"),
        Refusal("up --mtu", "--mtu"),
        Refusal("status --format xml", "'xml'", "json"),
        Refusal("check --timeout soon", "'soon'"),
        Refusal("check --timeout=-1s", "-1s"),
        Refusal("frobnicate", "frobnicate"),
    ]

    @Test func mistakesAreNamedAndTouchNothing() throws {
        let lab = try LifecycleLab("rinput")
        let host = lab.hosts[0]
        try FileManager.default.removeItem(atPath: host.stateDirectory)
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        for mistake in Self.mistakes {
            let result = try host.fanmesh(behind: [], mistake.arguments(on: host))
            #expect(result.ending == .exited(2), "\(mistake.testDescription): \(result.explanation)")
            #expect(result.output.isEmpty, "\(mistake.testDescription)")
            #expect(result.errorOutput.hasPrefix("Error: "), "\(mistake.testDescription): \(result.errorOutput)")
            for text in mistake.says(on: host) {
                #expect(result.errorOutput.contains(text), "\(mistake.testDescription): \(result.errorOutput)")
            }
            #expect(!FileManager.default.fileExists(atPath: host.stateDirectory), "\(mistake.testDescription)")
        }
        try host.expectUnchanged(since: before, keepingNumbers: true)
        // The same host without a mistake.
        #expect(try host.fanmesh("up").isSuccess)
    }

    @Test func mistakesLeaveAnOverlayAlone() throws {
        let lab = try LifecycleLab("rinputup")
        let host = lab.hosts[0]
        try #require(try host.fanmesh("up").isSuccess)
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        for mistake in Self.mistakes {
            let result = try host.fanmesh(behind: [], mistake.arguments(on: host))
            #expect(result.ending == .exited(2), "\(mistake.testDescription): \(result.explanation)")
        }
        let unknown: [(peer: String, says: [String])] = [
            ("10.1.2.3", ["10.1.2.3", "172.31.16.0/20", "240.0.0.0/8"]),
            ("nobody", ["'nobody'"]),
            (host.address, ["this host itself"]),
            (host.bridgeAddress, ["this host itself"]),
            ("240.0.0.1", ["172.31.16.0"]),
            ("172.31.31.255", ["broadcast"]),
        ]
        for (peer, says) in unknown {
            let result = try host.fanmesh("check", peer)
            #expect(result.ending == .exited(2), "\(peer): \(result.explanation)")
            for text in says { #expect(result.errorOutput.contains(text), "\(result.errorOutput)") }
        }
        try host.expectUnchanged(since: before, keepingNumbers: true)
    }

    @Test func oddAddressesOfThisHostAreRefusedOrFit() throws {
        let lab = try LifecycleLab("rodd")
        let host = lab.hosts[0]
        for (address, says) in [
            ("10.8.0.0/24", "network address"),
            ("10.8.0.255/24", "broadcast"),
        ] {
            try host.require("ip", "link", "add", "odd0", "type", "veth", "peer", "name", "far0")
            try host.require("ip", "link", "set", "odd0", "up")
            try host.require("ip", "address", "add", address, "dev", "odd0")
            let before = try LifecycleSnapshot(host, keepingNumbers: true)
            let result = try host.fanmesh("up", "--underlay", "odd0", "--overlay", "240.0.0.0/4")
            #expect(result.ending == .exited(2), "\(address): \(result.explanation)")
            #expect(result.errorOutput.contains(says), "\(address): \(result.errorOutput)")
            try host.expectUnchanged(since: before, keepingNumbers: true)
            try host.require("ip", "link", "delete", "odd0")
        }
        // A /29 in a /5 is odd but right, and so are both addresses of a /31 (RFC 3021).
        for address in ["10.8.0.3/29", "10.7.0.4/31", "10.7.0.5/31"] {
            try host.require("ip", "link", "add", "odd0", "type", "veth", "peer", "name", "far0")
            try host.require("ip", "link", "set", "odd0", "up")
            try host.require("ip", "address", "add", address, "dev", "odd0")
            let result = try host.fanmesh("up", "--underlay", "odd0", "--overlay", "240.0.0.0/5")
            #expect(result.isSuccess, "\(address): \(result.explanation)")
            try #require(try host.fanmesh("down").isSuccess)
            try host.require("ip", "link", "delete", "odd0")
        }
    }

    @Test func repeatedPeersCountOnce() throws {
        let lab = try LifecycleLab("rtwice")
        let host = lab.hosts[0]
        let up = ["up", "--forwarder", "fdb", "-p", "172.31.16.9", "--peer", "172.31.16.9"]
        let result = try LifecycleDocument(host.fanmesh(behind: [], up + ["--format", "json"]))
        #expect(result.changes.filter { $0.hasPrefix("add fdb") }.count == 1)
        #expect(try host.fanmesh(behind: [], up).output.contains("already right"))
    }

    @Test func theChoiceOfTheUnderlayIsExplained() throws {
        let lab = try LifecycleLab("rchoice")
        let host = lab.hosts[0]
        for address in ["172.31.22.99/32", "172.31.21.77/20", "10.5.0.1/16", "240.9.9.9/8"] {
            try host.require("ip", "address", "add", address, "dev", "eth0")
        }
        let plan = try LifecycleDocument(host.fanmesh("up", "--dry-run", "--format", "json"))
        #expect(plan.text("underlay_address") == host.address)
        #expect(plan.text("underlay_reason")?.contains("default route") == true)
        let skipped = try #require(plan["underlay_skipped"] as? [String])
        #expect(
            skipped.sorted() == [
                "10.5.0.1/16 on eth0: another address of the same interface",
                "172.31.21.77/20 on eth0: a secondary address",
                "172.31.22.99/32 on eth0: a /32 has no subnet",
                "240.9.9.9/8 on eth0: an address of overlay 240.0.0.0/8",
            ]
        )
        let text = try host.fanmesh("up", "--dry-run").output
        for reason in skipped { #expect(text.contains("passed over \(reason)")) }

        // Two usable addresses in one prefix: the operator has to choose.
        try host.require("ip", "link", "add", "second", "type", "veth", "peer", "name", "far0")
        try host.require("ip", "link", "set", "second", "up")
        try host.require("ip", "address", "add", "172.31.30.1/20", "dev", "second")
        let ambiguous = try host.fanmesh("up", "--underlay", "172.31.16.0/20")
        #expect(ambiguous.ending == .exited(2))
        for text in ["several addresses", host.address, "172.31.30.1/20", "--underlay INTERFACE"] {
            #expect(ambiguous.errorOutput.contains(text), "\(ambiguous.errorOutput)")
        }
        let named = try LifecycleDocument(host.fanmesh("up", "--underlay", "second", "--dry-run", "--format", "json"))
        #expect(named.text("underlay_address") == "172.31.30.1")

        // Without a default route `auto` has nothing to go by; that is the host's fault, not the command line's.
        try host.require("ip", "route", "delete", "default")
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        let lost = try host.fanmesh("up")
        #expect(lost.ending == .exited(1))
        #expect(lost.errorOutput.contains("no default route"))
        #expect(lost.errorOutput.contains("--underlay"))
        try host.expectUnchanged(since: before, keepingNumbers: true)
    }
}
