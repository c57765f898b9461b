import FanCore
import FanLab
import Foundation
import Glibc
import TestSupport
import Testing

/// Each finding of a host that keeps its overlay by itself is brought about, and doing what its remedy says mends it.
@Suite(.enabled(if: isRoot))
struct RemedyTests {
    /// A situation: what brings it about, and what an operator does who reads the remedy; nil to run the command in it.
    private struct Situation {
        var code: String
        var verdict: String
        var cause: (LifecycleHost) throws -> Void
        /// What is done by hand where the remedy names no command; the words are a part of the remedy.
        var byHand: (words: String, act: (LifecycleHost) throws -> Void)?
    }

    private static func situations() -> [Situation] {
        let device = "eth0"
        return [
            Situation(code: "no-overlay", verdict: "error", cause: { try $0.fanmesh("down") }),
            Situation(
                code: "overlay-out-of-shape",
                verdict: "error",
                cause: { try $0.require("ip", "link", "set", "fan0", "down") }
            ),
            Situation(
                code: "mtu-too-large",
                verdict: "error",
                cause: { try $0.require("ip", "link", "set", device, "mtu", "1400") }
            ),
            Situation(
                code: "underlay-down",
                verdict: "error",
                cause: { try $0.require("ip", "link", "set", device, "down") }
            ),
            Situation(
                code: "underlay-address-gone",
                verdict: "error",
                cause: { try $0.require("ip", "address", "flush", "dev", device) },
                byHand: (
                    "give the address back",
                    { try $0.require("ip", "address", "add", "\($0.address)/20", "dev", device) }
                )
            ),
            Situation(
                code: "route-overlap",
                verdict: "warning",
                cause: { try $0.require("ip", "route", "add", "240.1.0.0/16", "dev", device) },
                byHand: ("remove the route", { try $0.require("ip", "route", "del", "240.1.0.0/16") })
            ),
            Situation(
                code: "forwarding-off",
                verdict: "warning",
                cause: { host in
                    try host.require("sysctl", "-qw", "net.ipv4.ip_forward=1")
                    try host.require("sysctl", "-qw", "net.ipv4.conf.\(device).forwarding=0")
                }
            ),
            Situation(
                code: "no-source-check",
                verdict: "warning",
                cause: { try #require(try $0.fanmesh("up", "--forwarder", "fdb").isSuccess) }
            ),
            Situation(
                code: "device-not-ours",
                verdict: "error",
                cause: { host in
                    try #require(try host.fanmesh("down").isSuccess)
                    let record = "\(host.stateDirectory)/networks/fan0"
                    try #require(try host.fanmesh("up").isSuccess)
                    let text = try String(contentsOfFile: record, encoding: .utf8)
                    try #require(try host.fanmesh("down").isSuccess)
                    try text.write(toFile: record, atomically: true, encoding: .utf8)
                    try host.require("ip", "link", "add", "fan0", "type", "bridge")
                },
                byHand: (
                    "rename the device",
                    { host in
                        try host.require("ip", "link", "set", "fan0", "name", "other0")
                        #expect(try host.fanmesh("up").isSuccess)
                        // What is not ours is still there.
                        #expect(try host.devices().contains("other0"))
                    }
                )
            ),
            Situation(
                code: "identity-gone",
                verdict: "error",
                cause: { host in
                    let path = "\(host.stateDirectory)/node-id"
                    try FileManager.default.moveItem(atPath: path, toPath: "\(path).backup")
                },
                byHand: (
                    "restore '",
                    { host in
                        let path = "\(host.stateDirectory)/node-id"
                        try FileManager.default.moveItem(atPath: "\(path).backup", toPath: path)
                    }
                )
            ),
            Situation(
                code: "machine-changed",
                verdict: "error",
                cause: { host in
                    // A copy of the disk on another machine: the devices stayed behind.
                    let former = try String(contentsOfFile: "\(host.stateDirectory)/node-id", encoding: .utf8)
                    try #require(try host.fanmesh("down").isSuccess)
                    try #require(try host.fanmesh("up").isSuccess)
                    for name in ["fan0-vx", "fan0"] { try host.require("ip", "link", "del", name) }
                    let path = "\(host.stateDirectory)/machine"
                    let text = try String(contentsOfFile: path, encoding: .utf8)
                    let other = String(text.map { $0.isHexDigit && $0.isNumber ? ($0 == "9" ? "0" : "9") : $0 })
                    try other.write(toFile: path, atomically: true, encoding: .utf8)
                    try former.write(toFile: "\(host.stateDirectory)/former", atomically: true, encoding: .utf8)
                }
            ),
            Situation(
                code: "disk-full",
                verdict: "error",
                cause: { host in
                    let path = "\(host.stateDirectory)/filler"
                    _ = try host.run("dd", "if=/dev/zero", "of=\(path)", "bs=64k")
                },
                byHand: (
                    "free some of it", { try FileManager.default.removeItem(atPath: "\($0.stateDirectory)/filler") }
                )
            ),
        ]
    }

    /// What a remedy has behind `run: `, as words.
    private static func command(_ remedy: String) -> [String] {
        guard let range = remedy.range(of: "run: ") else { return [] }
        let rest = remedy[range.upperBound...]
        // What is said beside the command is no part of it.
        let ends = [", which", " with the options", ";"].compactMap { rest.range(of: $0)?.lowerBound }
        return rest[..<(ends.min() ?? rest.endIndex)].split(separator: " ").map(String.init)
    }

    @Test(.timeLimit(.minutes(4))) func doingWhatTheRemedySaysMendsIt() throws {
        for situation in Self.situations() {
            let lab = try LifecycleLab("remedy")
            let host = lab.hosts[0]
            // A small disk of its own; it goes with the test.
            try FileManager.default.createDirectory(atPath: host.stateDirectory, withIntermediateDirectories: true)
            if situation.code == "disk-full" {
                let mounted = unsafe mount("none", host.stateDirectory, "tmpfs", 0, "size=4m,mode=0700")
                try #require(mounted == 0, "\(errno)")
            }
            defer { if situation.code == "disk-full" { _ = unsafe umount2(host.stateDirectory, Int32(MNT_DETACH)) } }
            try #require(try host.fanmesh("up").isSuccess)
            let healthy = try LifecycleDocument(try host.fanmesh("status", "--format", "json"))
            try #require(healthy.text("verdict") == "healthy", "\(healthy.list("warnings"))")
            try situation.cause(host)
            let status = try LifecycleDocument(try host.fanmesh("status", "--format", "json"))
            #expect(status.text("verdict") == situation.verdict, "\(situation.code)")
            let found = status.list("warnings").first { $0["code"] as? String == situation.code }
            let remedy = try #require(found?["remedy"] as? String, "\(situation.code): \(status.list("warnings"))")
            #expect(!remedy.contains("ip link del"), "\(remedy)")
            if let byHand = situation.byHand {
                #expect(remedy.contains(byHand.words), "\(situation.code): \(remedy)")
                try byHand.act(host)
            } else {
                let words = Self.command(remedy)
                try #require(!words.isEmpty, "\(situation.code): \(remedy)")
                let command = words[0] == "fanmesh" ? host.fanmeshCommand(Array(words.dropFirst())) : words
                let result = try host.node.namespace.run(ProcessRequest(command))
                #expect(result.isSuccess, "\(situation.code): \(words): \(result)")
            }
            let after = try LifecycleDocument(try host.fanmesh("status", "--format", "json"))
            #expect(after.text("verdict") == "healthy", "\(situation.code): \(after.list("warnings"))")
            if situation.code == "machine-changed" {
                let id = try String(contentsOfFile: "\(host.stateDirectory)/node-id", encoding: .utf8)
                let former = try String(contentsOfFile: "\(host.stateDirectory)/former", encoding: .utf8)
                #expect(id != former)
            }
        }
    }
}
