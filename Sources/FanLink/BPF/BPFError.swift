internal import CBPF
internal import FanSystem
internal import Glibc

/// Why an operation on eBPF programs failed.
public struct BPFError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried, such as `load`.
    public var operation: String
    /// What it was tried on, such as `classifier 'fe_0123456789ab'`.
    public var object: String
    /// The errno, positive.
    public var code: Int32
    /// What the kernel said beyond that: the end of the verifier's log, or an explanation of a refusal.
    public var log: String

    /// The failure in one line, with the kernel's explanation behind it.
    public var description: String {
        var text = "\(operation) \(object): \(errnoText(code))"
        if !log.isEmpty { text += ": \(log)" }
        return text
    }
}

extension BPFError {
    /// Takes the negative error number that libbpf returned; for a refusal it adds what this process lacks.
    static func failed(_ operation: String, _ object: String, _ result: Int32, log: String = "") -> BPFError {
        let explanation = -result == EPERM ? Privilege.explanation() : log
        return BPFError(operation: operation, object: object, code: -result, log: explanation)
    }
}

/// Why the kernel may have said EPERM to a bpf operation.
enum Privilege {
    static func explanation() -> String {
        explanation(
            effectiveCapabilities(),
            userMap: read("/proc/self/uid_map"),
            lockdown: read("/sys/kernel/security/lockdown")
        )
    }

    /// What is missing, from this process's effective capabilities, its map of user numbers and the kernel's state of
    /// lockdown.
    static func explanation(_ held: UInt64, userMap: String?, lockdown: String?) -> String {
        func holds(_ capability: Int32) -> Bool { held >> UInt64(capability) & 1 == 1 }
        var missing: [String] = []
        if !holds(CAP_NET_ADMIN) { missing.append("CAP_NET_ADMIN") }
        if !holds(CAP_BPF) && !holds(CAP_SYS_ADMIN) { missing.append("CAP_BPF") }
        guard missing.isEmpty else {
            return "this process lacks \(missing.joined(separator: " and ")); run it as root or grant these"
        }
        if let userMap, userMap.split(whereSeparator: \.isWhitespace) != ["0", "0", "4294967295"] {
            return "eBPF cannot be loaded inside a user namespace; run it on the host or in a privileged container"
        }
        if let lockdown, !lockdown.contains("[none]") {
            return "the kernel is locked down (\(lockdown.filter { $0 != "\n" }))"
        }
        return holds(CAP_SYS_ADMIN)
            ? "a security module or seccomp filter refuses it" : "finding loaded programs needs CAP_SYS_ADMIN as well"
    }

    private static func effectiveCapabilities() -> UInt64 {
        let line = read("/proc/self/status")?.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        return line?.split(whereSeparator: \.isWhitespace).last.flatMap { UInt64($0, radix: 16) } ?? 0
    }

    private static func read(_ path: String) -> String? {
        do throws(FileError) { return try File.read(path) } catch { return nil }
    }
}
