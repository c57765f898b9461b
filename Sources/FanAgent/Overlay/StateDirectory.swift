public import FanCore
public import FanSystem
internal import Glibc

/// The directory in which a node keeps its id and its networks.
///
/// Layout: `node-id` holds the id, `machine` the machine that it was made on, `networks/NAME` a record per network,
/// `lock` serialises changes.
/// `networks/NAME.former` exists while a network is being changed: what it was, for a run after an interrupted one.
public struct StateDirectory: Sendable {
    /// Where it is.
    public let path: String

    /// The machine that it is on.
    private let machine: MachineBinding

    /// Names a state directory; nothing is made yet.
    ///
    /// - Parameters:
    ///   - path: where it is.
    ///   - machine: the machine that it is on; nil for this one.
    public init(path: String, machine: MachineBinding? = nil) {
        self.path = path
        self.machine = machine ?? MachineBinding(.read())
    }

    private var nodeIDPath: String { "\(path)/node-id" }
    private var machinePath: String { "\(path)/machine" }
    private var networksPath: String { "\(path)/networks" }
    private func recordPath(_ network: String) -> String { "\(networksPath)/\(network)" }
    private func formerPath(_ network: String) -> String { recordPath(network) + ".former" }

    /// Whether the directory is there.
    var exists: Bool { unsafe access(path, F_OK) == 0 }

    /// Whether it is a copy: what it holds was made on another machine.
    ///
    /// - Throws: ``FileError``.
    public func isCopy() throws(FileError) -> Bool {
        guard let text = try File.read(machinePath) else { return false }
        return MachineBinding(parsing: text).contradicts(machine)
    }

    /// This node's id, nil when it has none yet, or has only that of the machine that it is a copy of.
    ///
    /// - Throws: ``StateError``, ``FileError``.
    public func nodeID() throws -> String? {
        guard try !isCopy(), let text = try File.read(nodeIDPath) else { return nil }
        let nodeID = text.hasSuffix("\n") ? String(text.dropLast()) : text
        guard Self.isNodeID(nodeID) else { throw StateError.badNodeID(path: nodeIDPath, found: nodeID) }
        return nodeID
    }

    /// Makes a new id without keeping it: 32 random hexadecimal digits.
    public static func newNodeID() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<32).map { _ in String(Int.random(in: 0..<16, using: &generator), radix: 16) }.joined()
    }

    /// Keeps this node's id, and binds it to this machine.
    ///
    /// - Throws: ``FileError``.
    public func save(nodeID: String) throws(FileError) {
        try File.makeGuardedDirectory(path)
        // In this order: with the machine alone a copy would take the other's id for its own.
        try File.replace(nodeIDPath, with: nodeID + "\n")
        try File.replace(machinePath, with: machine.text)
    }

    /// Binds an id that was kept before there were bindings, or when the machine showed less of itself.
    ///
    /// - Throws: ``FileError``.
    func bind() throws(FileError) {
        let text = try File.read(machinePath) ?? ""
        let whole = machine.merged(over: MachineBinding(parsing: text)).text
        if whole != text { try File.replace(machinePath, with: whole) }
    }

    /// Forgets this node's id.
    ///
    /// - Throws: ``FileError``.
    public func removeNodeID() throws(FileError) {
        try File.remove(nodeIDPath)
        try File.remove(machinePath)
    }

    /// Reads a network's record, nil when there is none.
    ///
    /// - Throws: ``StateError``, ``FileError``.
    public func network(_ name: String) throws -> NetworkSpec? {
        try record(at: recordPath(name))
    }

    /// What a network was before a change that was interrupted, nil when none was.
    func formerNetwork(_ name: String) throws -> NetworkSpec? {
        try record(at: formerPath(name))
    }

    private func record(at path: String) throws -> NetworkSpec? {
        guard let text = try File.read(path) else { return nil }
        do throws(NetworkRecordError) {
            return try NetworkRecord.decode(text)
        } catch {
            throw StateError.badRecord(path: path, error)
        }
    }

    /// The names of the networks that have a record, in order.
    ///
    /// - Throws: ``FileError`` when there may be some but they cannot be listed.
    public func networkNames() throws(FileError) -> [String] {
        // Half-written files are no networks.
        try File.names(in: networksPath).filter { (try? NetworkSpec.check(name: $0)) != nil }.sorted()
    }

    /// Keeps a network's record.
    ///
    /// - Throws: ``FileError``.
    public func save(_ spec: NetworkSpec) throws(FileError) {
        try File.makeDirectory(networksPath)
        try File.replace(recordPath(spec.name), with: NetworkRecord.encode(spec))
    }

    /// Keeps what a network was, while it is being changed.
    func saveFormer(_ spec: NetworkSpec) throws(FileError) {
        try File.replace(formerPath(spec.name), with: NetworkRecord.encode(spec))
    }

    /// Forgets what a network was.
    func removeFormer(_ network: String) throws(FileError) {
        try File.remove(formerPath(network))
    }

    /// Forgets a network.
    ///
    /// - Throws: ``FileError``.
    public func remove(network: String) throws(FileError) {
        try File.remove(recordPath(network))
        try removeFormer(network)
    }

    /// Waits for the lock that serialises changes; it is held until the returned descriptor is closed.
    ///
    /// - Throws: ``FileError``.
    public func lock() throws(FileError) -> Descriptor {
        try File.makeGuardedDirectory(path)
        let descriptor = try Descriptor(opening: "\(path)/lock", flags: O_RDWR | O_CREAT, mode: 0o600)
        while flock(descriptor.number, LOCK_EX) != 0 {
            guard errno == EINTR else { throw FileError(operation: "lock", path: "\(path)/lock", code: errno) }
        }
        try removeUnfinished()
        return descriptor
    }

    /// Removes what a run that was killed was writing; nobody else writes these files while the lock is held.
    private func removeUnfinished() throws(FileError) {
        for name in try File.names(in: networksPath) where name.hasSuffix(".new") {
            try File.remove("\(networksPath)/\(name)")
        }
        for name in try File.names(in: path)
        where name.hasSuffix(".new") && (name.hasPrefix("node-id.") || name.hasPrefix("machine.")) {
            try File.remove("\(path)/\(name)")
        }
    }

    private static func isNodeID(_ text: String) -> Bool {
        text.utf8.count == 32 && text.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
    }
}

extension MachineBinding {
    /// Binds to a machine.
    public init(_ marks: MachineMarks) {
        self.init(machineID: marks.machineID, productUUID: marks.productUUID)
    }
}

/// A state file that cannot be understood.
public enum StateError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The node's id is none.
    case badNodeID(path: String, found: String)
    /// The record is no record.
    case badRecord(path: String, NetworkRecordError)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .badNodeID(let path, let found):
            "'\(path)' holds '\(found.prefix(40))', not an id of 32 hexadecimal digits; "
                + "restore it from a backup; without one remove it, and restart this host"
        case .badRecord(let path, let cause):
            "'\(path)' cannot be read: \(cause); remove the file and run 'fanmesh up' again"
        }
    }
}
