import FanCore
import FanLab
import Foundation
import TestSupport
import Testing

/// A lab of hosts without an overlay, for tests that start and stop fanmesh themselves.
///
/// It goes when this value goes, so a test that fails leaves nothing.
struct LifecycleLab: ~Copyable {
    private let lab: Lab
    let hosts: [LifecycleHost]

    init(
        _ name: String,
        underlay: String = "172.31.16.0/20",
        overlay: String = "240.0.0.0/8",
        hosts count: Int = 1,
        mtuBytes: Int = 1500
    ) throws {
        let plan = try LabPlan(
            name: "e2\(name)",
            underlay: IPv4Prefix(parsing: underlay),
            overlay: IPv4Prefix(parsing: overlay),
            nodes: count,
            guests: 0,
            mtuBytes: mtuBytes
        )
        let made = try Lab(plan)
        try made.makeHosts()
        let hosts = made.nodes.map { LifecycleHost(node: $0) }
        for host in hosts {
            // The lab turns IPv6 off everywhere; a real host has it on, and fanmesh has something to do.
            try host.require("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=0")
        }
        self.hosts = hosts
        lab = consume made
    }
}

/// One host, with the real executable and ways to look at what the kernel has.
struct LifecycleHost: Sendable {
    let node: LabNode

    var address: String { "\(node.address)" }
    var bridgeAddress: String { "\(node.slice.bridgeAddress.address)" }
    var underlay: String { "\(node.plan.mapping.underlay)" }
    var stateDirectory: String { node.stateDirectory }

    func fanmeshCommand(_ arguments: [String]) -> [String] { node.fanmesh(Programs.fanmesh, arguments) }

    @discardableResult
    func fanmesh(_ arguments: String...) throws -> ProcessResult {
        try node.namespace.run(ProcessRequest(fanmeshCommand(arguments)))
    }

    /// Runs fanmesh behind other words: `strace …`, `setpriv …`.
    func fanmesh(behind wrapper: [String], _ arguments: [String]) throws -> ProcessResult {
        try node.namespace.run(ProcessRequest(wrapper + fanmeshCommand(arguments)))
    }

    func start(_ arguments: String...) throws -> RunningProcess {
        try RunningProcess(ProcessRequest(fanmeshCommand(arguments)), in: node.namespace)
    }

    @discardableResult
    func run(_ command: String...) throws -> ProcessResult {
        try node.namespace.run(ProcessRequest(command))
    }

    /// Runs a program that has to succeed, as part of setting a test up.
    func require(_ command: String..., sourceLocation: SourceLocation = #_sourceLocation) throws {
        let result = try node.namespace.run(ProcessRequest(command))
        try #require(
            result.isSuccess,
            "\(command.joined(separator: " ")): \(result.explanation)",
            sourceLocation: sourceLocation
        )
    }

    /// Whether another address answers a ping from here.
    ///
    /// All namespaces share the kernel's one table of neighbours, which other tests may fill for a while on either
    /// side; so a few attempts are made.
    func reaches(_ address: String) throws -> Bool {
        for _ in 0..<15 where try run("ping", "-q", "-c", "1", "-W", "1", address).isSuccess { return true }
        return false
    }

    /// Expects that nothing differs from an earlier snapshot.
    func expectUnchanged(
        since before: LifecycleSnapshot,
        keepingNumbers: Bool = false,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let difference = try LifecycleSnapshot(self, keepingNumbers: keepingNumbers).difference(from: before)
        #expect(difference == "", sourceLocation: sourceLocation)
    }

    /// The interface index of a device, nil when there is none.
    func index(of device: String) throws -> Int? {
        try Int(run("ip", "-o", "link", "show", "dev", device).output.prefix { $0 != ":" })
    }

    /// The names of the host's devices.
    func devices() throws -> [String] {
        // One line a device, `5: fan0: <…`, with `@peer` behind the name of a pair's end.
        try run("ip", "-o", "link").output.split(separator: "\n").compactMap { line in
            line.split(separator: ":").dropFirst().first?.split(whereSeparator: { " @".contains($0) }).first
        }.map(String.init).sorted()
    }
}

/// What the kernel and the state directory hold, as text that can be compared.
///
/// Left out is what changes by itself (timers, carrier, learned addresses) or with the number of a new object.
struct LifecycleSnapshot: Equatable, CustomStringConvertible {
    var lines: [String]

    var description: String { lines.joined(separator: "\n") }

    /// What differs from another snapshot, `-` there and `+` here.
    func difference(from other: LifecycleSnapshot) -> String {
        let removed = other.lines.filter { !lines.contains($0) }.map { "- \($0)" }
        let added = lines.filter { !other.lines.contains($0) }.map { "+ \($0)" }
        return (removed + added).joined(separator: "\n")
    }

    /// Looks at a host; with `keepingNumbers`, devices and programs must be the same objects, not only alike.
    init(_ host: LifecycleHost, keepingNumbers: Bool = false) throws {
        var dropped: Set<String> = ["operstate", "carrier_changes", "linkmode"]
        // The name of a filter ends in its program's number.
        if !keepingNumbers { dropped.formUnion(["ifindex", "link_index", "id", "parent", "tag", "bpf_name"]) }
        var lines: [String] = []
        for command in [
            ["ip", "-d", "-j", "address"], ["ip", "-j", "route", "show", "table", "all"],
            ["bridge", "-j", "fdb", "show"], ["tc", "-j", "qdisc", "show"],
        ] {
            lines += try Self.objects(host, command, dropped)
        }
        for device in try host.devices() {
            for hook in ["ingress", "egress"] {
                lines += try Self.objects(
                    host,
                    ["tc", "-j", "filter", "show", "dev", device, hook],
                    dropped
                ).map { "\(device) \(hook) \($0)" }
            }
        }
        lines += try Self.files(host.stateDirectory)
        self.lines = lines
    }

    private static func objects(
        _ host: LifecycleHost,
        _ command: [String],
        _ dropped: Set<String>
    ) throws -> [String] {
        let result = try host.node.namespace.run(ProcessRequest(command))
        try #require(result.isSuccess, "\(command): \(result.explanation)")
        guard !result.output.isEmpty else { return [] }
        let parsed = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [[String: Any]]
        return try #require(parsed).compactMap { object in
            // Learned addresses come and go with traffic, IPv6 groups when IPv6 is turned on and off.
            if command[0] == "bridge" {
                let isGroup = (object["mac"] as? String)?.hasPrefix("33:33:") == true
                if isGroup || object["state"] as? String != "permanent" { return nil }
            }
            let kept = Self.stripped(object, dropped)
            let text = try JSONSerialization.data(withJSONObject: kept, options: [.sortedKeys])
            return "\(command[0]) \(String(decoding: text, as: UTF8.self))"
        }.sorted()
    }

    private static func stripped(_ value: Any, _ dropped: Set<String>) -> Any {
        if let object = value as? [String: Any] {
            return object.filter { key, _ in
                !dropped.contains(key) && !key.hasSuffix("_timer") && !key.hasPrefix("topology_change")
            }.mapValues { stripped($0, dropped) }
        }
        if let array = value as? [Any] {
            return array.filter {
                ($0 as? String).map { !["LOWER_UP", "NO-CARRIER", "linkdown"].contains($0) } ?? true
            }
            .map { stripped($0, dropped) }
        }
        return value
    }

    /// The files of a state directory with their content; the lock file says nothing about the state.
    static func files(_ directory: String) throws -> [String] {
        guard let names = FileManager.default.enumerator(atPath: directory) else { return [] }
        return names.compactMap { $0 as? String }.sorted().compactMap { name in
            guard name != "lock", let content = FileManager.default.contents(atPath: "\(directory)/\(name)") else {
                return nil
            }
            return "file \(name): \(String(decoding: content, as: UTF8.self))"
        }
    }
}

/// Faults that strace puts into the real executable's system calls.
enum LifecycleFault {
    /// Runs fanmesh with a fault, `signal=KILL` or `error=ENOSPC`, at the `number`-th call of a kind.
    ///
    /// The result comes with the traced call that was hit; nil when there were fewer calls.
    static func run(
        _ host: LifecycleHost,
        _ arguments: [String],
        fault: String,
        call: String,
        number: Int
    ) throws -> (result: ProcessResult, hit: String?) {
        let log = "\(host.node.directory)/trace"
        try? FileManager.default.removeItem(atPath: log)
        let result = try host.fanmesh(
            behind: [
                "strace", "-f", "-qq", "-y", "-o", log, "-e", "trace=\(call)",
                "-e", "inject=\(call):\(fault):when=\(number)",
            ],
            arguments
        )
        let text = FileManager.default.contents(atPath: log).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let lines = text.split(separator: "\n").map(String.init)
        // A killed call is the last; a failed one is marked.
        let hit =
            if fault.hasPrefix("signal=") {
                result.ending == .exited(0) ? nil : lines.last { $0.contains("\(call)(") }
            } else { lines.first { $0.contains("(INJECTED)") } }
        return (result, hit)
    }

    /// The calls of a kind that a command makes, as strace shows them.
    static func trace(_ host: LifecycleHost, _ arguments: [String], calls: String) throws -> [String] {
        let log = "\(host.node.directory)/trace"
        let result = try host.fanmesh(
            behind: ["strace", "-f", "-qq", "-s", "256", "-o", log, "-e", "trace=\(calls)"],
            arguments
        )
        try #require(result.isSuccess, "\(result.explanation)")
        let text = try #require(FileManager.default.contents(atPath: log))
        return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}

/// A document that fanmesh printed as JSON.
struct LifecycleDocument {
    let object: [String: Any]

    init(_ result: ProcessResult) throws {
        let parsed = try? JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        object = try #require(parsed, "no JSON object: \(result.output) \(result.errorOutput)")
    }

    subscript(key: String) -> Any? { object[key] }
    func text(_ key: String) -> String? { object[key] as? String }
    func list(_ key: String) -> [[String: Any]] { object[key] as? [[String: Any]] ?? [] }
    var keys: Set<String> { Set(object.keys) }

    /// The texts of a plan's steps.
    var changes: [String] { list("changes").compactMap { $0["text"] as? String } }
}
