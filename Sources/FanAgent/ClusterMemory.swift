public import FanCore
public import FanStore
internal import FanSystem

/// What this node last knew about its cluster, on disk: what it works from while its store is away.
public struct ClusterMemory: Sendable {
    /// The file, in the state directory.
    public let path: String
    /// Where it is, and what this host is pinned to.
    let stateDirectory: String
    /// The most that is read, in bytes: 10,000 members take some 4 MiB.
    private static let maximumBytes = 16 << 20

    /// Names the file; nothing is made yet.
    ///
    /// - Parameter stateDirectory: the state directory.
    public init(stateDirectory: String) {
        path = "\(stateDirectory)/cluster"
        self.stateDirectory = stateDirectory
    }

    /// What was last known, nil in no cluster.
    ///
    /// - Throws: ``FileError``, ``ClusterMemoryError``.
    public func load() throws -> ClusterView? {
        guard let text = try File.read(path, limit: Self.maximumBytes) else { return nil }
        do throws(DocumentError) { return try ClusterView(Document(json: text.utf8)) } catch {
            throw ClusterMemoryError(path: path, cause: error)
        }
    }

    /// Keeps what is known, atomically.
    ///
    /// - Throws: ``FileError``.
    func save(_ cluster: ClusterView) throws(FileError) {
        try File.replace(path, with: cluster.document.compactJSONText + "\n")
    }

    /// Forgets the cluster.
    ///
    /// - Throws: ``FileError``.
    func remove() throws(FileError) {
        try File.remove(path)
    }
}

/// The last known state of the cluster cannot be read.
public struct ClusterMemoryError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file.
    public let path: String
    /// What is wrong with it.
    public let cause: DocumentError

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        "'\(path)' cannot be read: \(cause); the agent writes it again once it learns of its cluster"
    }
}
