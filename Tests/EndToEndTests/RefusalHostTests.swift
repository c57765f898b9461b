import CLinux
import FanCore
import FanLab
import Foundation
import Glibc
import TestSupport
import Testing

/// What is on the host and in the way: it is named, left alone, and nothing of ours is left behind.
@Suite(.enabled(if: isRoot))
struct RefusalHostTests {
    /// What `setpriv` leaves to fanmesh; the wrapper stays root for the file system where `uid` is nil.
    static func without(_ capabilities: String, uid: Int? = nil) -> [String] {
        ["setpriv"] + (uid.map { ["--reuid", "\($0)", "--clear-groups"] } ?? [])
            + ["--bounding-set=\(capabilities)", "--inh-caps=-all"]
    }

    /// Expects a refusal with exit code 1 that says all of `texts` and changes nothing.
    private func expectRefused(
        _ host: LifecycleHost,
        _ arguments: [String],
        code: Int32 = 1,
        saying texts: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let before = try LifecycleSnapshot(host, keepingNumbers: true)
        let result = try host.fanmesh(behind: [], arguments)
        #expect(result.ending == .exited(code), "\(result.explanation)", sourceLocation: sourceLocation)
        for text in texts {
            #expect(result.errorOutput.contains(text), "\(result.errorOutput)", sourceLocation: sourceLocation)
        }
        try host.expectUnchanged(since: before, keepingNumbers: true, sourceLocation: sourceLocation)
    }

    @Test func foreignDevicesOfOurNamesStay() throws {
        let lab = try LifecycleLab("rforeign")
        let host = lab.hosts[0]
        let mac = "02:00:00:00:00:07"
        let foreign: [(device: [String], is: String)] = [
            (["fan0", "address", mac, "type", "bridge"], "a bridge with address \(mac)"),
            (["fan0", "address", mac, "type", "veth", "peer", "name", "far0"], "a veth with address \(mac)"),
            (["fan0-vx", "address", mac, "type", "bridge"], "a bridge with address \(mac)"),
            (
                ["fan0-vx", "address", mac, "type", "vxlan", "id", "42", "dstport", "4789"],
                "a vxlan id 42 dstport 4789 with address \(mac)"
            ),
            (
                ["fan0-vx", "address", mac, "type", "vxlan", "external", "dstport", "8472"],
                "a vxlan external dstport 8472 with address \(mac)"
            ),
        ]
        for (device, text) in foreign {
            for identity in ["fresh", "known"] {
                if identity == "known" {
                    // This node has been up before, so it could recognise its own.
                    try #require(try host.fanmesh("up").isSuccess)
                    try #require(try host.fanmesh("down").isSuccess)
                }
                let add = try host.node.namespace.run(ProcessRequest(["ip", "link", "add"] + device))
                try #require(add.isSuccess, "\(add.explanation)")
                try expectRefused(
                    host,
                    ["up"],
                    saying: "device '\(device[0])' is not fanmesh's: it is \(text)",
                    "it is not touched",
                    "--network"
                )
                try expectRefused(host, ["up", "--dry-run"], saying: text)
                try expectRefused(host, ["down"], saying: text)
                try host.require("ip", "link", "delete", device[0])
            }
            try FileManager.default.removeItem(atPath: "\(host.stateDirectory)/node-id")
        }
    }

    @Test func aDeviceOfOursWithAnotherVNIIsRefused() throws {
        let lab = try LifecycleLab("rvni")
        let host = lab.hosts[0]
        try #require(try host.fanmesh("up", "--forwarder", "fdb").isSuccess)
        let shown = try host.run("ip", "-o", "link", "show", "dev", "fan0-vx").output
        let mac = try #require(shown.split(separator: " ").drop { $0 != "link/ether" }.dropFirst().first)
        try host.require("ip", "link", "delete", "fan0-vx")
        try host.require(
            "ip",
            "link",
            "add",
            "fan0-vx",
            "address",
            "\(mac)",
            "type",
            "vxlan",
            "id",
            "42",
            "dstport",
            "8472",
            "local",
            host.address
        )
        try expectRefused(
            host,
            ["up", "--forwarder", "fdb"],
            saying: "it is a vxlan id 42 dstport 8472",
            "not a vxlan id 15728640"
        )
        let status = try host.fanmesh("status")
        #expect(status.ending == .exited(1))
        #expect(status.output.contains("device-not-ours"))
        #expect(status.output.contains("id 42"))
    }

    @Test func thePortsOwnerIsNamed() throws {
        let lab = try LifecycleLab("rport")
        let host = lab.hosts[0]
        try host.require("ip", "link", "add", "lxdfan0-fan", "type", "vxlan", "id", "7", "dstport", "8472")
        for arguments in [["up"], ["up", "--dry-run"]] {
            try expectRefused(
                host,
                arguments,
                saying: "UDP port 8472 belongs to VXLAN device 'lxdfan0-fan'",
                "vxlan id 7",
                "--port"
            )
        }
        // Two devices with fixed VNIs of their own may share a port, as the kernel does it.
        #expect(try host.fanmesh("up", "--forwarder", "fdb").isSuccess)
        #expect(try host.fanmesh("down").isSuccess)
        #expect(try host.fanmesh("up", "--port", "8473").isSuccess)
        #expect(try host.devices().contains("lxdfan0-fan"))
    }

    @Test func aSocketOnThePortIsNamed() throws {
        let lab = try LifecycleLab("rsocket")
        let host = lab.hosts[0]
        let before = try LifecycleSnapshot(host)
        let holder = try host.node.namespace.run { () -> Int32 in
            let number = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(8472).bigEndian
            let bound = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe bind(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            return bound == 0 ? number : -1
        }
        try #require(holder >= 0)
        for forwarder in ["ebpf", "fdb"] {
            let result = try host.fanmesh("up", "--forwarder", forwarder)
            #expect(result.ending == .exited(1))
            for text in ["EADDRINUSE", "another program owns the UDP port", "ss -lunp", "--port", "taken back"] {
                #expect(result.errorOutput.contains(text), "\(result.errorOutput)")
            }
            try host.expectUnchanged(since: before)
        }
        close(holder)
        #expect(try host.fanmesh("up").isSuccess)
    }

    @Test func withoutPrivilegesItSaysWhatIsMissing() throws {
        let lab = try LifecycleLab("rpriv")
        let host = lab.hosts[0]
        let nobody = Self.without("-all", uid: 65534)
        let rootless = Self.without("-all")
        for isUp in [false, true] {
            if isUp { try #require(try host.fanmesh("up").isSuccess) }
            let before = try LifecycleSnapshot(host, keepingNumbers: true)
            let reading: [([String], Int32)] = isUp ? [(["status"], 4), (["check"], 4)] : []
            for (arguments, code) in reading + [(["up", "--mtu", "1400"], 1), (["down"], 1)] {
                let result = try host.fanmesh(behind: nobody, arguments)
                #expect(result.ending == .exited(code), "\(arguments) \(isUp): \(result.explanation)")
                #expect(result.errorOutput.contains("run it as root"), "\(arguments): \(result.errorOutput)")
                #expect(result.errorOutput.contains("E"), "\(arguments): \(result.errorOutput)")
            }
            let up = try host.fanmesh(behind: rootless, ["up", "--mtu", "1400", "--forwarder", "fdb"])
            #expect(up.ending == .exited(1))
            #expect(up.errorOutput.contains("CAP_NET_ADMIN"), "\(up.errorOutput)")
            try host.expectUnchanged(since: before, keepingNumbers: true)
        }
        let status = try host.fanmesh(behind: rootless, ["status"])
        #expect(status.ending == .exited(4), "\(status.explanation)")
        #expect(status.errorOutput.contains("CAP_"), "\(status.errorOutput)")
        #expect(try host.fanmesh("status").isSuccess)
    }

    @Test func autoFallsBackWhereEBPFIsMissing() throws {
        let lab = try LifecycleLab("rauto", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        try #require(try peer.fanmesh("up").isSuccess)
        let wrapper = Self.without("-bpf,-sys_admin,-perfmon")
        let refused = try host.fanmesh(behind: wrapper, ["up", "--forwarder", "ebpf"])
        #expect(refused.ending == .exited(1))
        #expect(refused.errorOutput.contains("CAP_BPF"), "\(refused.errorOutput)")
        #expect(try host.devices() == ["eth0", "lo"])

        let result = try host.fanmesh(behind: wrapper, ["up", "-p", peer.address, "--format", "json"])
        #expect(result.isSuccess, "\(result.explanation)")
        let plan = try LifecycleDocument(result)
        #expect(plan.text("forwarder") == "fdb")
        let reason = try #require(plan.text("forwarder_reason"))
        #expect(reason.hasPrefix("fell back from ebpf: "))
        #expect(reason.contains("CAP_BPF"), "\(reason)")
        #expect(try host.reaches(peer.bridgeAddress))
        let status = try LifecycleDocument(host.fanmesh("status", "--format", "json"))
        #expect(status.text("verdict") == "warning")
        #expect(status.list("warnings").map { $0["code"] as? String } == ["no-source-check"])

        // With the privilege it goes back to eBPF by itself.
        let better = try LifecycleDocument(host.fanmesh("up", "-p", peer.address, "--format", "json"))
        #expect(better.text("forwarder") == "ebpf")
        #expect(try host.reaches(peer.bridgeAddress))
        try #require(try host.fanmesh("down").isSuccess)

        // The same for a kernel that refuses every bpf call.
        let traced = try host.fanmesh(
            behind: ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", "inject=bpf:error=EPERM"],
            ["up", "-p", peer.address]
        )
        #expect(traced.isSuccess, "\(traced.explanation)")
        #expect(traced.output.contains("forwarder fdb: fell back from ebpf"))
        #expect(traced.output.contains("EPERM"))
    }

    @Test func anUnderlayAddressThatIsGoneIsSeenAndFollowed() throws {
        let lab = try LifecycleLab("rgone", hosts: 2)
        let (host, peer) = (lab.hosts[0], lab.hosts[1])
        for each in lab.hosts { try #require(try each.fanmesh("up").isSuccess) }
        try host.require("ip", "address", "flush", "dev", "eth0")
        let status = try host.fanmesh("status", "--format", "json")
        #expect(status.ending == .exited(1))
        let warning = try #require(
            LifecycleDocument(status).list("warnings").first { $0["code"] as? String == "underlay-address-gone" }
        )
        #expect((warning["message"] as? String)?.contains(host.address) == true)
        #expect(warning["remedy"] as? String == "give the address back")
        let check = try host.fanmesh("check", peer.address, "--timeout", "500ms")
        #expect(check.ending == .exited(1), "\(check.explanation)")
        #expect(check.output.contains("no longer has its underlay address \(host.address)"))

        // Without any address there is nothing to move to.
        try expectRefused(host, ["up", "--underlay", "eth0"], code: 2, saying: "'eth0'", "no IPv4 address")
        try expectRefused(host, ["up"], code: 1, saying: "no default route")

        // With another one the slice moves.
        try host.require("ip", "address", "add", "172.31.20.9/20", "dev", "eth0")
        let moved = try LifecycleDocument(host.fanmesh("up", "--underlay", "eth0", "--format", "json"))
        #expect(moved.text("slice") == "240.64.144.0/20")
        #expect(moved.changes.contains { $0.hasPrefix("delete address \(host.bridgeAddress)/8") })
        #expect(moved.changes.contains { $0.hasPrefix("add address 240.64.144.1/8") })
        #expect(try host.fanmesh("status").isSuccess)
        #expect(try host.reaches(peer.bridgeAddress))
    }

    @Test func aFullOrReadOnlyStateDirectoryStopsUp() throws {
        let lab = try LifecycleLab("rdisk")
        let host = lab.hosts[0]
        let before = try LifecycleSnapshot(host)
        let script = """
            mount -t tmpfs -o "mode=0700,$1" none "$2" || exit 99
            case "$1" in *full*) dd if=/dev/zero of="$2/filler" bs=4k >/dev/null 2>&1;; esac
            [ -z "$3" ] || mount -o remount,ro "$2" || exit 99
            shift 3
            "$@"
            """
        func up(_ options: String, readOnly: Bool) throws -> ProcessResult {
            let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
            return try host.fanmesh(
                behind: wrapper + [options, host.stateDirectory, readOnly ? "ro" : ""],
                ["up", "--forwarder", "ebpf"]
            )
        }
        #expect(try up("size=64k", readOnly: false).isSuccess)
        // The devices are in the network namespace, the record was in the mount that is gone: `state wiped`.
        let wiped = try host.fanmesh("up")
        #expect(wiped.ending == .exited(1))
        #expect(wiped.errorOutput.contains("not fanmesh's"), "\(wiped.errorOutput)")
        try host.require("ip", "link", "delete", "fan0-vx")
        try host.require("ip", "link", "delete", "fan0")
        try host.expectUnchanged(since: before)

        let readOnly = try up("size=64k", readOnly: true)
        #expect(readOnly.ending == .exited(1), "\(readOnly.explanation)")
        #expect(readOnly.errorOutput.contains("EROFS"), "\(readOnly.errorOutput)")
        #expect(readOnly.errorOutput.contains("--state-dir"))
        try host.expectUnchanged(since: before)

        let full = try up("size=16k,nr_inodes=100", readOnly: false)
        #expect(full.isSuccess, "\(full.explanation)")
        try host.require("ip", "link", "delete", "fan0-vx")
        try host.require("ip", "link", "delete", "fan0")
        // Room for the lock file's name but not for another file.
        let tight = try up("size=64k,nr_inodes=2", readOnly: false)
        #expect(tight.ending == .exited(1), "\(tight.explanation)")
        #expect(tight.errorOutput.contains("ENOSPC"), "\(tight.errorOutput)")
        #expect(tight.errorOutput.contains("--state-dir"))
        try host.expectUnchanged(since: before)
    }

    @Test func damagedStateIsNamedAndLeft() throws {
        let lab = try LifecycleLab("rstate")
        let host = lab.hosts[0]
        try #require(try host.fanmesh("up").isSuccess)
        let record = "\(host.stateDirectory)/networks/fan0"
        let identity = "\(host.stateDirectory)/node-id"
        let goodRecord = try String(contentsOfFile: record, encoding: .utf8)
        let goodIdentity = try String(contentsOfFile: identity, encoding: .utf8)

        for damage in ["", "garbage", goodRecord.replacing("mtu=1450\n", with: ""), goodRecord + "colour=blue\n"] {
            try damage.write(toFile: record, atomically: false, encoding: .utf8)
            try expectRefused(host, ["up"], saying: record, "remove the file")
            try expectRefused(host, ["status"], code: 4, saying: record)
            try expectRefused(host, ["check"], code: 4, saying: record)
        }
        // The remedy works.
        try FileManager.default.removeItem(atPath: record)
        #expect(try host.fanmesh("up").isSuccess)
        #expect(try String(contentsOfFile: record, encoding: .utf8) == goodRecord)

        for damage in ["", "short\n", goodIdentity.uppercased() + "g", goodIdentity + goodIdentity] {
            try damage.write(toFile: identity, atomically: false, encoding: .utf8)
            for (arguments, code) in [(["up"], 1), (["down"], 1), (["status"], 4), (["check"], 4)] {
                try expectRefused(host, arguments, code: Int32(code), saying: identity, "restore it from a backup")
            }
        }
        // An identity that is gone is not invented anew for devices that are there.
        try FileManager.default.removeItem(atPath: identity)
        let status = try host.fanmesh("status")
        #expect(status.ending == .exited(1))
        #expect(status.output.contains("identity-gone"))
        try expectRefused(host, ["up"], saying: "device 'fan0' is not fanmesh's", "it is not touched")
        try goodIdentity.write(toFile: identity, atomically: false, encoding: .utf8)
        #expect(try host.fanmesh("up").output.contains("already right"))
        #expect(try host.fanmesh("down").isSuccess)
    }

    @Test func aSecondUpWaitsForTheFirst() throws {
        let lab = try LifecycleLab("rlock")
        let host = lab.hosts[0]
        let lock = unsafe open("\(host.stateDirectory)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        try #require(lock >= 0)
        try #require(flock(lock, LOCK_EX) == 0)
        let waiting = try (0..<2).map { _ in try host.start("up") }
        #expect(try !waiting[0].wait(atMost: .milliseconds(500)) { output, _ in !output.isEmpty })
        #expect(waiting[0].isRunning)
        #expect(try host.devices() == ["eth0", "lo"])
        close(lock)
        let results = try waiting.map { try $0.wait() }
        // One does the work; the other finds it done, although it looked at the host before.
        for result in results { #expect(result.isSuccess, "\(result.explanation)") }
        #expect(results.filter { $0.output.contains("already right") }.count == 1)
        #expect(results.filter { $0.output.contains("took 13 steps") }.count == 1)
        #expect(try host.fanmesh("status").isSuccess)
    }
}
