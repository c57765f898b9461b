import FanCore
import Glibc

@testable import FanLab

/// A plan with a name of its own, so that tests may run side by side.
func plan(
    _ name: String,
    underlay: String = "172.31.16.0/20",
    overlay: String = "240.0.0.0/8",
    nodes: Int = 3,
    guests: Int = 2,
    mtuBytes: Int = 1500
) throws -> LabPlan {
    try LabPlan(
        name: name,
        underlay: IPv4Prefix(parsing: underlay),
        overlay: IPv4Prefix(parsing: overlay),
        nodes: nodes,
        guests: guests,
        mtuBytes: mtuBytes
    )
}

/// The namespaces of a lab, as `ip netns list` shows them.
func listedNamespaces(ofLab name: String) throws -> [String] {
    let result = try RunningProcess(ProcessRequest(["ip", "netns", "list"])).wait()
    return result.output.split(separator: "\n").compactMap { line in
        line.split(separator: " ").first.map(String.init)
    }.filter { LabNames.belongs($0, toLab: name) }
}

/// Runs a program in the tests' own namespace.
func run(_ command: String...) throws -> ProcessResult {
    try RunningProcess(ProcessRequest(command)).wait()
}

/// Which network namespace the calling thread is in.
func currentNamespace() -> String {
    var text = [CChar](repeating: 0, count: 64)
    let count = unsafe readlink("/proc/thread-self/ns/net", &text, text.count)
    return String(decoding: text.prefix(max(0, count)).map(UInt8.init(bitPattern:)), as: UTF8.self)
}

/// Whether there is a file or directory.
func fileExists(_ path: String) -> Bool {
    unsafe access(path, F_OK) == 0
}
