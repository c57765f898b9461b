/// How long the log of changes gets before a snapshot replaces its beginning.
///
/// The whole log is in memory, with every page of 4 KiB that a change wrote, so that this is what a node's memory grows
/// to: both numbers together, times the pages of a change, two or three of the server's. A node that missed more than
/// ``trailing`` is sent the whole database, see ``InstallGate``.
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
