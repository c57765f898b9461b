internal import FanCore

/// A failure of the database, its node or its client.
public struct DatabaseError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What kind of failure it is: what a caller decides by.
    public enum Reason: Hashable, Sendable {
        /// The node is not the leader, or stopped being it; another node may be.
        case notLeader
        /// No answer within the time.
        case timeout
        /// The connection or the node is gone.
        case closed
        /// What arrived is not the protocol.
        case malformed
        /// The disk is full: reads go on, writes do not.
        case diskFull
        /// Somebody else is at it; the same can be tried again.
        case busy
        /// A row breaks a rule of the schema.
        case constraint
        /// A member has the value already.
        case conflict(member: String, field: String)
        /// Another leader wrote in the meantime: the model in memory is stale.
        case epochLost
        /// The database was made by a newer version.
        case schemaTooNew
        /// The schema waits for all members to run this version.
        case schemaBlocked
        /// The node's files or directory cannot be used.
        case unusable
        /// Too many writes are waiting.
        case overloaded
        /// Anything else that the database refused.
        case refused
    }

    /// What kind of failure it is.
    public var reason: Reason
    /// The result code of SQLite or of the Raft library, nil when there was none.
    public var code: UInt64?
    /// What was tried, such as `commit`.
    public var operation: String
    /// What happened and what to do.
    public var message: String
    /// Whether the write may still be, or become, part of the database.
    public var mayBeApplied: Bool

    /// Describes a failure.
    public init(
        _ reason: Reason,
        code: UInt64? = nil,
        operation: String,
        message: String,
        mayBeApplied: Bool = false
    ) {
        self.reason = reason
        self.code = code
        self.operation = operation
        self.message = message
        self.mayBeApplied = mayBeApplied
    }

    /// Sorts a failure that the database answered with.
    ///
    /// - Parameters:
    ///   - code: SQLite's extended result code, or cowsql's own.
    ///   - text: the database's words, possibly empty.
    ///   - operation: what was tried.
    init(code: UInt64, text: String, operation: String) {
        let words = text.escapingControls()
        let said = words.isEmpty ? "\(code)" : "\(code): \(words)"
        let (reason, message): (Reason, String) =
            switch code {
            // Only statements without a connection's database or after a lost leadership end in the last two.
            case ResultCode.ioErrorNotLeader, ResultCode.ioErrorLeadershipLost, ResultCode.ok, ResultCode.notFound:
                (.notLeader, "this node is not the leader (\(said))")
            case ResultCode.busy, ResultCode.busyRecovery, ResultCode.busySnapshot:
                (.busy, "the database is busy (\(said)); try again")
            case ResultCode.ioErrorWrite, ResultCode.full:
                (.diskFull, "the disk under the database is full (\(said)); free some space, then writes go on")
            case _ where ResultCode.primary(code) == ResultCode.constraint: (.constraint, "\(words) (\(code))")
            default: (.refused, "\(words.isEmpty ? "failed" : words) (\(code))")
            }
        self.init(reason, code: code, operation: operation, message: message)
    }

    /// Whether another node must be asked.
    public var isNotLeader: Bool { reason == .notLeader }
    /// Whether the disk is full.
    public var isDiskFull: Bool { reason == .diskFull }
    /// Whether the same may succeed at once.
    public var isBusy: Bool { reason == .busy }
    /// Whether the connection cannot be used any more.
    var endsConnection: Bool {
        switch reason {
        case .notLeader, .timeout, .closed, .malformed: true
        default: false
        }
    }

    /// The form `commit: this node is not the leader (10250: not leader)`.
    public var description: String {
        "\(operation): \(message)\(mayBeApplied ? "; it may still have been applied" : "")"
    }
}
