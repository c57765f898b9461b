internal import FanCore
internal import FanSystem
internal import FanTLS
internal import Glibc

/// The files of a server: its identity, its membership, and what it last knew of the cluster.
struct ServerDirectory: Sendable {
    /// A shared certificate of all members, and the one that is to replace it.
    enum Certificate: String {
        case node
        case cluster
        case next = "cluster-next"
        case former = "cluster-former"
    }

    /// Where they are.
    let path: String
    /// The machine that they are on.
    private let machine: MachineBinding

    /// Names the directory; nothing is made yet.
    ///
    /// - Parameters:
    ///   - path: where it is.
    ///   - machine: the machine that it is on; nil for this one.
    init(path: String, machine: MachineBinding? = nil) {
        let marks = MachineMarks.read()
        self.path = path
        self.machine = machine ?? MachineBinding(machineID: marks.machineID, productUUID: marks.productUUID)
    }

    /// What the database keeps.
    var database: String { "\(path)/database" }
    private func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes the directory if need be.
    func make() throws(FileError) {
        try File.makeDirectory(path)
    }

    /// Waits for nobody: one server per directory.
    func lock() throws -> Descriptor {
        let descriptor = try Descriptor(opening: file("lock"), flags: O_RDWR | O_CREAT, mode: 0o600)
        guard flock(descriptor.number, LOCK_EX | LOCK_NB) == 0 else {
            throw ServerError.alreadyRunning(directory: path)
        }
        // A file that was being replaced when the server was killed.
        for name in try File.names(in: path) where name.hasSuffix(".new") { try File.remove(file(name)) }
        return descriptor
    }

    // MARK: certificates

    /// Reads a certificate with its key, nil when there is none.
    func identity(_ certificate: Certificate) throws -> Identity? {
        guard
            let text = try File.read(file("\(certificate.rawValue).crt")),
            let key = try File.read(file("\(certificate.rawValue).key"))
        else { return nil }
        do { return try Identity(certificatePEM: text, keyPEM: key) } catch {
            let pair = "\(file(certificate.rawValue)).key, or the .crt beside it"
            throw ServerError.damaged(file: pair, "\(error)")
        }
    }

    /// Keeps a certificate with its key: the key first, since the certificate says that both are there.
    func save(_ identity: Identity, as certificate: Certificate) throws(FileError) {
        try File.replace(file("\(certificate.rawValue).key"), with: identity.keyPEM)
        try File.replace(file("\(certificate.rawValue).crt"), with: identity.certificatePEM)
    }

    /// Forgets a certificate.
    func remove(_ certificate: Certificate) throws(FileError) {
        try File.remove(file("\(certificate.rawValue).crt"))
        try File.remove(file("\(certificate.rawValue).key"))
    }

    // MARK: membership

    /// Reads which member of which cluster this is, nil when of none.
    func membership() throws -> Membership? {
        try read("membership")
    }

    private func read<Shape: DocumentShape>(_ name: String, limit: Int = File.maximumBytes) throws -> Shape? {
        guard let text = try File.read(file(name), limit: limit) else { return nil }
        do { return try Shape(Document(json: Array(text.utf8))) } catch {
            throw ServerError.damaged(file: file(name), "\(error)")
        }
    }

    /// Refuses a membership that was got on another machine: the member goes on there, and two are one too many.
    func requireOwn(_ membership: Membership) throws {
        let kept = MachineBinding(parsing: try File.read(file("machine")) ?? "")
        guard !kept.contradicts(machine) else { throw ServerError.copied(directory: path, name: membership.name) }
        let whole = machine.merged(over: kept)
        if whole != kept { try File.replace(file("machine"), with: whole.text) }
    }

    /// Whether what it holds is another machine's.
    var isCopy: Bool {
        guard let text = try? File.read(file("machine")) else { return false }
        return MachineBinding(parsing: text).contradicts(machine)
    }

    /// Keeps which member of which cluster this is, and binds it to this machine.
    func save(_ membership: Membership) throws(FileError) {
        try File.replace(file("machine"), with: machine.text)
        try File.replace(file("membership"), with: membership.document.json)
    }

    /// Reads what was last known of the cluster.
    func snapshot() throws -> ClusterState? {
        try read("members", limit: 32 << 20)
    }

    /// Keeps what is known of the cluster.
    func save(_ state: ClusterState) throws(FileError) {
        try File.replace(file("members"), with: state.document.json)
    }

    /// Counts this start, and says which it is.
    func nextIncarnation() throws -> Int {
        let number = (try incarnation() ?? 0) + 1
        try File.replace(file("incarnation"), with: "\(number)\n")
        return number
    }

    /// How often the server was started as this member.
    func incarnation() throws -> Int? {
        try number("incarnation")
    }

    private func number(_ name: String) throws -> Int? {
        guard let text = try File.read(file(name)) else { return nil }
        guard let number = Int(text.filter { $0 != "\n" }) else {
            throw ServerError.damaged(file: file(name), "it holds no number")
        }
        return number
    }

    /// How many heartbeats were written down.
    func beats() throws -> Int {
        try number("beats") ?? 0
    }

    /// Reads where the database's voters were last heard to be, empty when never.
    func voters() throws -> [SocketAddress] {
        let lines = try File.read(file("voters"))?.split(separator: "\n") ?? []
        do {
            return try lines.map { try SocketAddress(parsing: String($0)) }
        } catch { throw ServerError.damaged(file: file("voters"), "\(error)") }
    }

    /// Keeps where the database's voters are.
    func save(voters: Set<SocketAddress>) throws(FileError) {
        try File.replace(file("voters"), with: voters.map { "\($0)\n" }.sorted().joined())
    }

    /// When the newest file of the database was last written, in nanoseconds since 1970.
    func databaseTime() -> Int64 {
        var newest: Int64 = 0
        for name in (try? File.names(in: database)) ?? [] {
            var status = stat()
            guard unsafe stat("\(database)/\(name)", &status) == 0 else { continue }
            newest = max(newest, Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec))
        }
        return newest
    }

    /// Writes down how many heartbeats there were.
    func save(beats: Int) throws(FileError) {
        try File.replace(file("beats"), with: "\(beats)\n")
    }

    /// Forgets the cluster, its certificate and its data.
    ///
    /// A node that joins again does so under a new identity.
    func forgetCluster() throws {
        // The membership goes first: what is left without it is rubbish that the next join clears away.
        for name in ["membership", "machine", "members", "incarnation", "beats", "voters"] {
            try File.remove(file(name))
        }
        for certificate in [Certificate.next, .former, .cluster, .node] { try remove(certificate) }
        try removeDatabase()
    }

    /// Removes the database's files.
    func removeDatabase() throws {
        for name in try File.names(in: database) { try File.remove("\(database)/\(name)") }
        guard unsafe rmdir(database) == 0 || errno == ENOENT else {
            throw FileError(operation: "remove directory", path: database, code: errno)
        }
    }
}

/// Which member of which cluster a node is.
struct Membership: Hashable, Sendable, DocumentShape {
    /// The cluster.
    var clusterID: String
    /// The number of its database node.
    var id: UInt64
    /// Its name.
    var name: String
    /// Where its server listens.
    var address: SocketAddress
    /// Whether its overlay was not yet verified.
    var isJoining: Bool

    init(clusterID: String, id: UInt64, name: String, address: SocketAddress, isJoining: Bool) {
        self.clusterID = clusterID
        self.id = id
        self.name = name
        self.address = address
        self.isJoining = isJoining
    }

    init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes(schema: "membership")
        clusterID = try table.value("cluster_id", \.clusterID)
        id = try table.number(.id, \.id)
        name = try table.value("name", \.name)
        address = try table.value("address", \.address)
        isJoining = try table.value("joining", \.isJoining)
    }
}
