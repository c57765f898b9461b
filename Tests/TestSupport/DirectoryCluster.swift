internal import FanCore
public import FanStore
internal import FanSystem
internal import Foundation

/// A cluster in a directory: `settings`, `members/NAME`, `reports/NAME` and `mail/NAME`, each a file of JSON.
///
/// Nobody announces a change: who waits looks again and again. The version is a digest of the files, and says nothing
/// about how often they changed.
public final class DirectoryCluster: TestCluster {
    /// What its messages call it.
    public static let profile = StoreProfile(
        name: "the cluster's directory",
        joining: "write its file into 'members'",
        starting: "mount it",
        permission: "chmod it",
        log: "dmesg",
        version: "look into its files"
    )

    private let place: TestDirectory
    private var path: String { place.file("cluster") }
    private let writing = Lock(())

    /// Makes the directory.
    public init() throws {
        place = try TestDirectory()
        try File.makeDirectory(path)
        for name in ["members", "reports", "mail"] { try File.makeDirectory("\(path)/\(name)") }
    }

    /// Takes the directory away, or brings it back.
    public func setAway(_ isAway: Bool) throws {
        let ways = isAway ? (path, place.file("away")) : (place.file("away"), path)
        try FileManager.default.moveItem(atPath: ways.0, toPath: ways.1)
    }

    /// All that it holds.
    public func contents() throws(StoreError) -> TestClusterContents {
        do {
            guard FileManager.default.fileExists(atPath: path) else {
                throw FileError(operation: "open", path: path, code: ENOENT)
            }
            var contents = TestClusterContents()
            contents.settings = try read("settings").map { try OverlayConfig($0) }
            for (_, document) in try readAll("members") {
                contents.members.append(
                    ClusterView.Node(
                        name: try document.text("name"),
                        nodeID: try document.text("node_id"),
                        underlayAddress: try document.parsed("underlay_address") { try IPv4Address(parsing: $0) }
                    )
                )
            }
            for (name, document) in try readAll("reports") { contents.reports[name] = try NodeReport(document) }
            for (name, document) in try readAll("mail") { contents.mail[name] = try Self.mailbox(document) }
            var digest: UInt64 = 0xcbf2_9ce4_8422_2325
            let members = contents.members.map { Self.document($0).compactJSONText }
            for byte in "\(contents.settings?.document.compactJSONText ?? "")\(members)".utf8 {
                digest = (digest ^ UInt64(byte)) &* 0x100_0000_01b3
            }
            contents.version = "digest \(String(digest, radix: 16))"
            return contents
        } catch let error as DocumentError {
            throw StoreError(.malformed(request: "read '\(path)'", problem: "\(error)"), of: Self.profile)
        } catch {
            throw StoreError(.notRunning(attempt: "open '\(path)'", cause: "\(error)"), of: Self.profile)
        }
    }

    /// Changes what it holds.
    public func change(_ edit: (inout TestClusterContents) -> Void) throws(StoreError) {
        try writing.withLock { _ throws(StoreError) in
            let old = try contents()
            var new = old
            edit(&new)
            do {
                if let settings = new.settings { try write("settings", settings.document) }
                for node in new.members where !old.members.contains(node) {
                    try write("members/\(node.name)", Self.document(node))
                }
                for node in old.members where !new.members.contains(where: { $0.name == node.name }) {
                    try File.remove("\(path)/members/\(node.name)")
                }
                for (name, report) in new.reports where old.reports[name] != report {
                    try write("reports/\(name)", report.document)
                }
                for (name, mailbox) in new.mail where old.mail[name] != mailbox {
                    try write("mail/\(name)", Self.document(mailbox))
                }
            } catch {
                throw StoreError(.notRunning(attempt: "write '\(path)'", cause: "\(error)"), of: Self.profile)
            }
        }
    }

    /// Waits for a change.
    public func wait(after version: String, for time: Duration) {
        _ = eventually(within: time) { (try? contents())?.version != version }
    }

    private static func document(_ node: ClusterView.Node) -> Document {
        [
            "name": .string(node.name), "node_id": .string(node.nodeID),
            "underlay_address": .text(node.underlayAddress),
        ]
    }

    /// When messages came is written down as the time since then.
    private static let start = ContinuousClock.now

    private static func document(_ mailbox: Mailbox) -> Document {
        let entries = mailbox.entries.map { entry -> Document in
            let arrived = "\((entry.arrived - start).milliseconds)"
            return ["from": .string(entry.message.sender), "text": .string(entry.message.text), "at": .string(arrived)]
        }
        return ["entries": .array(entries)]
    }

    private static func mailbox(_ document: Document) throws -> Mailbox {
        Mailbox(
            try document.list("entries").map { entry in
                let arrived = start + .milliseconds(Int(try entry.text("at")) ?? 0)
                return Mailbox.Entry(try AgentMessage(entry), arrived: arrived)
            }
        )
    }

    private func read(_ name: String) throws -> Document? {
        try File.read("\(path)/\(name)").map { try Document(json: $0.utf8) }
    }

    private func readAll(_ name: String) throws -> [(String, Document)] {
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(name)")
        // What is being written has another name yet.
        return try names.filter { !$0.contains(".") }.sorted().compactMap { file in
            try read("\(name)/\(file)").map { (file, $0) }
        }
    }

    private func write(_ name: String, _ document: Document) throws {
        try File.replace("\(path)/\(name)", with: document.compactJSONText + "\n")
    }
}
