internal import CLinux
internal import FanSystem
internal import Glibc

/// A directory that one node of one process owns.
struct DirectoryLock: ~Copyable, Sendable {
    fileprivate let descriptor: Descriptor
}

/// The directory with a node's files, and our own file in it that says whose they are.
struct NodeDirectory {
    private let path: String
    private var signature: String { "\(path)/fanmesh-node" }

    /// Names a directory.
    init(_ path: String) {
        self.path = path
    }

    /// Makes the directory, and locks it as long as the result lives.
    func prepare() throws(DatabaseError) -> DirectoryLock {
        let operation = "open the database in '\(path)'"
        do throws(FileError) {
            try File.makeDirectory(path, mode: 0o700)
            let descriptor = try Descriptor(opening: path, flags: O_RDONLY | O_DIRECTORY)
            let code = fan_lock_alone(descriptor.number)
            guard code == 0 else { throw FileError(operation: "lock", path: path, code: -code) }
            return DirectoryLock(descriptor: descriptor)
        } catch {
            let isTaken = error.operation == "lock" && error.code == EWOULDBLOCK
            throw DatabaseError(
                .unusable,
                operation: operation,
                message: isTaken ? "another server uses it; stop that one first" : error.description
            )
        }
    }

    /// Checks that the files are this node's.
    func check(id: UInt64, mayBeEmpty: Bool) throws(DatabaseError) {
        let operation = "open the database in '\(path)'"
        let names: [String]
        let text: String?
        do throws(FileError) {
            names = try File.names(in: path)
            text = try File.read(signature)
        } catch {
            throw DatabaseError(.unusable, operation: operation, message: error.description)
        }
        let isEmpty = !names.contains { $0 == "metadata1" || $0 == "metadata2" }
        guard !isEmpty || mayBeEmpty else {
            throw DatabaseError(
                .unusable,
                operation: operation,
                message: "it is empty, and a node that lost its files must not start again under its number \(id);"
                    + " remove it from the cluster and join again"
            )
        }
        guard !isEmpty, let text else { return }
        let owner = text.split(separator: "\n").first.flatMap { UInt64($0) }
        guard owner == id else {
            throw DatabaseError(
                .unusable,
                operation: operation,
                message: "its files are those of node \(owner.map(String.init) ?? "?"), not of node \(id);"
                    + " remove the directory to join as a new node"
            )
        }
    }

    /// Writes down whose files they are.
    func sign(id: UInt64, address: String) throws(DatabaseError) {
        do throws(FileError) { try File.replace(signature, with: "\(id)\n\(address)\n") } catch {
            throw DatabaseError(
                .unusable,
                operation: "open the database in '\(path)'",
                message: error.description
            )
        }
    }
}
