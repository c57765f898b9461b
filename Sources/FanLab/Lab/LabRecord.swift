internal import FanSystem
internal import Glibc

/// What is written down about a lab, for other processes.
struct LabRecord: Equatable, Sendable {
    /// Whether the lab lives as long as a process, or until `lab down`.
    enum Kind: String, Sendable {
        /// `lab run` and tests: it ends with its process.
        case bound
        /// `lab up`, while it is being made: it ends with its process too.
        case building
        /// `lab up`, made.
        case kept
    }

    var kind: Kind
    var owner: Int32
    /// The owner's start time in clock ticks since boot; a process with the same id but another start is another one.
    var ownerStart: UInt64

    /// A lab of this process.
    init(kind: Kind) {
        self.kind = kind
        owner = getpid()
        ownerStart = Self.startTime(of: getpid()) ?? 0
    }

    /// Parses the text form; nil when something is missing.
    init?(parsing text: String) {
        var values: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
        }
        guard
            let kind = values["kind"].flatMap(Kind.init(rawValue:)), let owner = values["owner"].flatMap(Int32.init),
            let ownerStart = values["owner_start"].flatMap(UInt64.init)
        else { return nil }
        self.kind = kind
        self.owner = owner
        self.ownerStart = ownerStart
    }

    /// `NAME=VALUE` lines.
    var text: String {
        "kind=\(kind.rawValue)\nowner=\(owner)\nowner_start=\(ownerStart)\n"
    }

    /// Whether the process that made the lab still runs.
    var isOwnerAlive: Bool { ownerStart != 0 && Self.startTime(of: owner) == ownerStart }

    /// When a process started, in clock ticks since boot.
    static func startTime(of process: Int32) -> UInt64? {
        // The command name, in parentheses, may hold spaces and parentheses; field 22 is the 20th after it.
        guard
            let stat = (try? File.read("/proc/\(process)/stat")) ?? nil,
            let end = stat.lastIndex(of: ")")
        else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }
}
