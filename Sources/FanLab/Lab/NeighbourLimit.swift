internal import FanSystem

/// Room in the machine's neighbour table, which all its network namespaces share.
///
/// A lab is many hosts on one machine: the usual limit of 1,024 is soon full, and then ARP fails without a word.
public struct NeighbourLimit: Equatable, Sendable {
    /// The limit before.
    public let before: Int
    /// The limit now; equal to the one before when that was enough.
    public let now: Int

    /// The smallest limit that a lab leaves in place: enough for many small labs side by side.
    static let minimum = 8192

    /// The largest limit that a lab sets, a few hundred MB when full; a check that needs more is refused.
    static let maximum = 1 << 20

    private static let directory = "/proc/sys/net/ipv4/neigh/default"

    /// The limit; nil in a namespace that cannot see it.
    static func limit() throws(LabError) -> Int? {
        let text = try file { () throws(FileError) in try File.read("\(directory)/gc_thresh3") }
        return text?.split(separator: "\n").first.flatMap { Int($0) }
    }

    /// Raises the limit where a lab would fill it; nil in a namespace that cannot see it.
    ///
    /// Requires: root. Idempotent: yes. Undo: none; a higher limit costs nothing until it is used.
    static func make(for plan: LabPlan) throws(LabError) -> NeighbourLimit? {
        guard let before = try limit() else { return nil }
        let wanted = min(max(minimum, 2 * plan.neighbourEntries), maximum)
        guard before < wanted else { return NeighbourLimit(before: before, now: before) }
        for (name, value) in [("gc_thresh3", wanted), ("gc_thresh2", wanted / 2), ("gc_thresh1", wanted / 4)] {
            try file { () throws(FileError) in try File.write("\(value)", to: "\(directory)/\(name)") }
        }
        return NeighbourLimit(before: before, now: wanted)
    }
}
