/// How long the log of changes gets before a snapshot replaces its beginning.
///
/// The whole log is in memory, with every page of 4 KiB that a change wrote, so that this is what a node's memory grows
/// to: both numbers together, times the pages of a change. It must not be much shorter either. libraft 0.22.1 crashes
/// when it is sent a whole database while it takes a snapshot itself (its `takeSnapshotCb` clears the pending request
/// before it reads it), which happens to a node that missed more than ``trailing`` changes and still gets the last of
/// them. The process starts again without loss; how rarely that is needed is what the tests with random faults count.
public struct LogLength: Hashable, Sendable {
    /// After how many changes a snapshot is taken.
    public var changes: Int
    /// How many changes before the snapshot are kept, at least ``changes``: a node that missed no more than these gets
    /// them one by one, any other one gets the whole database.
    public var trailing: Int

    /// A length.
    public init(changes: Int = 512, trailing: Int = 1024) {
        self.changes = changes
        self.trailing = trailing
    }
}
