internal import CCowSQL

/// The numbers that the database answers with, by their names in SQLite, cowsql and the Raft library.
enum ResultCode {
    static let ok = UInt64(SQLITE_OK)
    static let busy = UInt64(SQLITE_BUSY)
    static let busyRecovery = busy | 1 << 8
    static let busySnapshot = busy | 2 << 8
    static let ioError = UInt64(SQLITE_IOERR)
    static let ioErrorWrite = ioError | 3 << 8
    /// cowsql's own, in no header of its.
    static let ioErrorNotLeader = ioError | 40 << 8
    /// cowsql's own, in no header of its.
    static let ioErrorLeadershipLost = ioError | 41 << 8
    static let notFound = UInt64(SQLITE_NOTFOUND)
    static let full = UInt64(SQLITE_FULL)
    static let constraint = UInt64(SQLITE_CONSTRAINT)
    /// What may end the whole transaction: SQLite rolls back by itself.
    static let rollingBack = [SQLITE_BUSY, SQLITE_LOCKED, SQLITE_NOMEM, SQLITE_INTERRUPT, SQLITE_IOERR, SQLITE_FULL]
        .map { UInt64($0) }
    // The Raft library's own, as in raft.h, which comes with a package that nothing else here needs.
    private static let raftNotLeader: UInt64 = 7
    private static let raftLeadershipLost: UInt64 = 8
    private static let raftShutdown: UInt64 = 9
    private static let raftCanceled: UInt64 = 13
    private static let raftBusy: UInt64 = 17
    static let raftNoSpace: UInt64 = 22
    /// What a commit fails with when this node stops being the leader.
    static let leadershipEnds = [raftNotLeader, raftLeadershipLost, raftShutdown, raftCanceled, raftBusy]

    /// The code without its extension.
    static func primary(_ code: UInt64) -> UInt64 { code & 0xff }
}
