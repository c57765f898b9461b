public import FanCore

/// One node of the database, as its configuration has it.
public struct DatabaseServer: Hashable, Sendable {
    /// The node's number.
    public var id: UInt64
    /// The node's address: its member's server.
    public var address: String
    /// The node's part.
    public var role: DatabaseRole
}

/// The node that leads.
public struct DatabaseLeader: Hashable, Sendable {
    /// The node's number.
    public var id: UInt64
    /// The node's address.
    public var address: String
}

/// A file of a node's own copy of the database.
public struct DatabaseFile: Hashable, Sendable {
    /// Its name.
    public var name: String
    /// Its content.
    public var bytes: [UInt8]
}

extension DatabaseRole {
    /// The role's number in the wire protocol.
    var wireNumber: UInt64 {
        switch self {
        case .voter: 0
        case .standby: 1
        case .spare: 2
        }
    }

    /// The role with a number of the wire protocol.
    init?(wireNumber: UInt64) {
        switch wireNumber {
        case 0: self = .voter
        case 1: self = .standby
        case 2: self = .spare
        default: return nil
        }
    }
}
