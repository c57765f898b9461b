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

    /// Says why the directory cannot be used.
    private func unusable(_ message: String, _ operation: String = "open") -> DatabaseError {
        DatabaseError(.unusable, operation: "\(operation) the database in '\(path)'", message: message)
    }

    /// So many bytes from the beginning of a file; fewer when it is shorter.
    private func head(of name: String, _ count: Int) throws(FileError) -> ArraySlice<UInt8> {
        let file = try Descriptor(opening: "\(path)/\(name)", flags: O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: count)
        let read = unsafe bytes.withUnsafeMutableBytes { unsafe fan_read(file.number, $0.baseAddress, $0.count) }
        return bytes.prefix(max(0, read))
    }

    /// Makes the directory, and locks it as long as the result lives.
    func prepare() throws(DatabaseError) -> DirectoryLock {
        do throws(FileError) {
            try File.makeDirectory(path, mode: 0o700)
            let descriptor = try Descriptor(opening: path, flags: O_RDONLY | O_DIRECTORY)
            let code = fan_lock_now(descriptor.number)
            guard code == 0 else { throw FileError(operation: "lock", path: path, code: -code) }
            return DirectoryLock(descriptor: descriptor)
        } catch {
            let isTaken = error.operation == "lock" && error.code == EWOULDBLOCK
            throw unusable(isTaken ? "another server uses it; stop that one first" : error.description)
        }
    }

    /// Checks that the files are this node's.
    func check(id: UInt64, mayBeEmpty: Bool) throws(DatabaseError) {
        let names: [String]
        let text: String?
        do throws(FileError) {
            names = try File.names(in: path)
            text = try File.read(signature)
        } catch {
            throw unusable(error.description)
        }
        let owner = text?.split(separator: "\n").first.flatMap { UInt64($0) }
        // The library writes the first of these when it hears of a term. A node that never did has nothing to lose,
        // except for the first one, which would make another cluster.
        let isEmpty = !names.contains { $0 == "metadata1" || $0 == "metadata2" }
        guard !isEmpty || mayBeEmpty || (owner == id && id != 1) else {
            throw unusable(
                "it is empty, and a node that lost its files must not start again under its number \(id);"
                    + " remove it from the cluster and join again"
            )
        }
        guard !isEmpty, text != nil else { return }
        guard owner == id else {
            throw unusable(
                "its files are those of node \(owner.map(String.init) ?? "?"), not of node \(id);"
                    + " remove the directory to join as a new node"
            )
        }
    }

    /// What of the log there is.
    func log() throws(DatabaseError) -> NodeLog {
        do throws(FileError) {
            var log = NodeLog()
            for name in try File.names(in: path).sorted() {
                if name.hasPrefix("corrupt-") {
                    log.damaged.append(name)
                } else if name.hasPrefix("snapshot-") {
                    log.snapshots += 1
                } else if name.hasPrefix("open-") {
                    // A version, then a checksum; room that was only set aside holds zeros.
                    let head = try head(of: name, 24)
                    if head.count == 24, head[8...].contains(where: { $0 != 0 }) { log.openSegments += 1 }
                } else if name.contains("-"), name.first?.isNumber == true {
                    log.closedSegments += 1
                }
            }
            return log
        } catch {
            throw unusable(error.description, "read")
        }
    }

    /// Raft's term, from the newer of the two files that hold it; 0 when none can be read.
    ///
    /// Each has four words of 64 bits: the format, a number that grows with each change, the term, and the vote.
    func term() -> UInt64 {
        var newest: (version: UInt64, term: UInt64) = (0, 0)
        for name in ["metadata1", "metadata2"] {
            guard let bytes = try? head(of: name, 32), bytes.count == 32 else { continue }
            func word(_ position: Int) -> UInt64 {
                bytes[8 * position..<8 * position + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
            }
            if word(0) == 1, word(1) > newest.version { newest = (word(1), word(2)) }
        }
        return newest.term
    }

    /// Writes down whose files they are.
    func sign(id: UInt64, address: String) throws(DatabaseError) {
        do throws(FileError) { try File.replace(signature, with: "\(id)\n\(address)\n") } catch {
            throw unusable(error.description)
        }
    }
}

/// The files of a node's log, by kind.
struct NodeLog {
    /// Snapshots, with a description each.
    var snapshots = 0
    /// Parts of the log that are complete.
    var closedSegments = 0
    /// Parts that were being written.
    var openSegments = 0
    /// Files that were set aside.
    var damaged: [String] = []

    /// Whether there is anything; the library aborts the process when it recovers nothing.
    var holdsData: Bool { snapshots + closedSegments + openSegments > 0 }

    /// Whether something is left without the last part of the log.
    var survivesItsEnd: Bool { snapshots > 0 || closedSegments > 1 }
}
