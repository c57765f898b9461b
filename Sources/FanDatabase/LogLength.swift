/// How long the log of changes gets before a snapshot replaces its beginning.
///
/// The whole log is in memory, with every page of 4 KiB that a change wrote, so that this is what a node's memory grows
/// to: both numbers together, times the pages of a change, two or three of the server's. It must not be much shorter:
/// libraft 0.22.1 frees twice what it still sends to a node that stands still when more than ``trailing`` changes are made
/// meanwhile (its log asks only for live entries of a batch); the tunnel to such a node is given up after 2 s. A node that
/// missed more is sent the whole database, see ``InstallGate``.
public struct LogLength: Hashable, Sendable {
    /// After how many changes a snapshot is taken.
    public var changes: Int
    /// How many changes before the snapshot are kept, at least ``changes``: a node that missed no more than these gets
    /// them one by one, any other one gets the whole database.
    public var trailing: Int

    /// A length.
    public init(changes: Int = 128, trailing: Int = 512) {
        self.changes = changes
        self.trailing = trailing
    }
}
