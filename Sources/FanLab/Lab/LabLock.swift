internal import CLinux
internal import FanSystem
internal import Glibc

/// The right to make, change or remove the lab of one name, held as a lock on the lab's directory.
///
/// The kernel releases the lock when the process dies, however it dies; so a record without a lock is a leftover, or a
/// lab that was made to stay.
struct LabLock: ~Copyable, Sendable {
    let name: String
    private let directory: Descriptor

    private static let attempts = 16

    /// Takes the claim, creating the lab's directory.
    ///
    /// - Throws: ``LabError/running(name:owner:)`` when another process holds it.
    init(name: String) throws(LabError) {
        guard geteuid() == 0 else { throw .notRoot }
        let path = Self.path(name)
        for _ in 0..<Self.attempts {
            try require(
                unsafe fan_directory_create(LabPlan.directory, 0o755),
                "create",
                LabPlan.directory,
                ignoring: [EEXIST]
            )
            // ENOENT: another lab, now gone, removed the common directory at this moment.
            try require(unsafe fan_directory_create(path, 0o755), "create", path, ignoring: [EEXIST, ENOENT])
            if let claim = try Self.locked(name) {
                self = claim
                return
            }
        }
        throw .system(operation: "lock", object: path, code: EAGAIN)
    }

    deinit {
        // A program that is being started still has a copy of the descriptor, with which the lock would stay.
        _ = flock(directory.number, LOCK_UN)
    }

    private init(name: String, directory: consuming Descriptor) {
        self.name = name
        self.directory = directory
    }

    /// Nil when the directory went away while it was being locked.
    private static func locked(_ name: String) throws(LabError) -> LabLock? {
        let path = path(name)
        let opened = unsafe fan_open(path, O_RDONLY | O_DIRECTORY, 0)
        guard opened != -ENOENT else { return nil }
        let directory = try Descriptor(opened, "open", path)
        let result = fan_lock_now(directory.number)
        guard result != -EWOULDBLOCK else {
            throw .running(name: name, owner: record(of: name).flatMap { $0.isOwnerAlive ? $0.owner : nil })
        }
        try require(result, "lock", path)
        guard unsafe fan_names(path, directory.number) == 1 else { return nil }
        return LabLock(name: name, directory: directory)
    }

    private static func path(_ name: String) -> String { "\(LabPlan.directory)/\(name)" }
    private static func recordPath(_ name: String) -> String { "\(path(name))/lab" }

    /// What is written down about a lab.
    static func record(of name: String) -> LabRecord? {
        ((try? File.read(recordPath(name))) ?? nil).flatMap(LabRecord.init(parsing:))
    }

    /// Replaces what is written down; a reader sees the old text or the new one.
    func write(_ record: LabRecord) throws(LabError) {
        try file { () throws(FileError) in
            try File.replace(Self.recordPath(name), with: record.text, mode: 0o644)
        }
    }

    /// Removes every daemon, namespace and file of a lab of this name, whatever state it is in; the claim stays.
    ///
    /// Idempotent: yes. Goes on past a failure, and reports the first.
    ///
    /// - Returns: how many namespaces there were.
    @discardableResult
    func empty() throws(LabError) -> Int {
        var first: LabError?
        let mine = NetworkNamespace.all().filter { LabNames.belongs($0.name, toLab: name) }
        // A daemon without its namespace would no longer be found.
        try LabDaemons.kill(lab: name, in: mine)
        for namespace in mine {
            do throws(LabError) { try namespace.delete() } catch { first = first ?? error }
        }
        // The record goes last: until then the next lab of this name knows that there is something to remove.
        let path = Self.path(name)
        for entry in ((try? File.names(in: path)) ?? []).sorted(by: >) {
            do throws(LabError) {
                try require(unsafe fan_remove_tree("\(path)/\(entry)"), "remove", "\(path)/\(entry)")
            } catch {
                first = first ?? error
            }
        }
        if let first { throw first }
        return mine.count
    }

    /// Empties the lab and removes its directory.
    ///
    /// Idempotent: yes.
    ///
    /// - Returns: how many namespaces there were.
    @discardableResult
    func removeEverything() throws(LabError) -> Int {
        let count = try empty()
        try require(unsafe fan_remove(Self.path(name)), "remove", Self.path(name), ignoring: [ENOENT])
        // Stays while other labs are in it.
        _ = unsafe fan_remove(LabPlan.directory)
        return count
    }
}

/// The names of a lab's namespaces.
enum LabNames {
    /// Whether a namespace is the switch, a node or a guest of a lab; not those of a lab whose name merely begins alike.
    static func belongs(_ namespace: String, toLab lab: String) -> Bool {
        let prefix = "fanlab-\(lab)-"
        guard namespace.hasPrefix(prefix) else { return false }
        let parts = namespace.dropFirst(prefix.count).split(separator: "-", omittingEmptySubsequences: false)
        switch parts.count {
        case 1: return parts[0] == "switch" || isNumbered(parts[0], "node")
        case 2: return isNumbered(parts[0], "node") && isNumbered(parts[1], "guest")
        default: return false
        }
    }

    private static func isNumbered(_ text: Substring, _ word: String) -> Bool {
        guard text.hasPrefix(word) else { return false }
        let digits = text.dropFirst(word.count)
        return !digits.isEmpty && digits.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }
}
