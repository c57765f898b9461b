public import FanCore
public import FanStore
public import FanSystem

/// The settings of the overlay that this host joined with: it follows no change of them without its operator's word.
///
/// They decide which addresses the host routes into the overlay and what it takes from there. The database is kept by
/// the members' servers, which face the network; whoever breaks into one of those that vote can write what they like
/// into it, and must not be able to change other hosts' kernels with that.
public struct PinnedSettings: Hashable, Sendable {
    /// The overlay.
    public var settings: OverlaySettings
    /// This host's address in the underlay.
    public var underlayAddress: IPv4Address

    /// The settings that a cluster has for this host, nil when the view does not say them all.
    public init?(_ cluster: ClusterView) {
        guard cluster.standing != .unconfigured, let settings = cluster.settings, let own = cluster.node else {
            return nil
        }
        self.settings = settings.settings
        underlayAddress = own.underlayAddress
    }

    /// What is otherwise in other settings, such as `overlay 8.0.0.0/8 instead of 240.0.0.0/8`; empty when nothing is.
    public func changes(to other: PinnedSettings) -> [String] {
        zip(fields, other.fields).compactMap { own, other in
            own.value == other.value ? nil : "\(own.name) \(other.value) instead of \(own.value)"
        }
    }

    private var fields: [(name: String, value: String)] {
        [
            ("overlay", "\(settings.mapping.overlay)"), ("underlay", "\(settings.mapping.underlay)"),
            ("network", settings.network), ("VNI", "\(settings.vni)"), ("port", "\(settings.port)"),
            ("underlay address", "\(underlayAddress)"),
        ]
    }

    /// The view with these settings in the place of its own.
    func applied(to cluster: ClusterView) -> ClusterView {
        var cluster = cluster
        cluster.settings?.settings = settings
        for index in cluster.members.indices where cluster.members[index].name == cluster.name {
            cluster.members[index].underlayAddress = underlayAddress
        }
        return cluster
    }

    // MARK: - On disk

    private static func path(_ stateDirectory: String) -> String { "\(stateDirectory)/pinned" }

    /// What this host is pinned to, nil in no cluster.
    ///
    /// - Throws: ``FileError``, ``ClusterMemoryError``.
    public static func load(stateDirectory: String) throws -> PinnedSettings? {
        let path = path(stateDirectory)
        guard let text = try File.read(path) else { return nil }
        do throws(DocumentError) { return try PinnedSettings(complete: Document(json: text.utf8)) } catch {
            throw ClusterMemoryError(path: path, cause: error)
        }
    }

    /// Pins this host to the settings.
    ///
    /// - Throws: ``FileError``.
    public func save(stateDirectory: String) throws(FileError) {
        try File.replace(Self.path(stateDirectory), with: document.compactJSONText + "\n")
    }

    /// Lets go of what this host is pinned to.
    ///
    /// - Throws: ``FileError``.
    static func remove(stateDirectory: String) throws(FileError) {
        try File.remove(path(stateDirectory))
    }
}

extension PinnedSettings: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes(schema: "pinned")
        settings = try table.part(\.settings)
        underlayAddress = try table.value("underlay_address", \.underlayAddress)
    }
}

extension Finding {
    /// The cluster's database has other settings than this host joined with.
    ///
    /// - Parameter changes: what is otherwise there, of ``PinnedSettings/changes(to:)``.
    /// - Returns: the finding.
    public static func settingsPinned(_ changes: String) -> Finding {
        Finding(
            code: "settings-pinned",
            severity: .error,
            message: "the cluster's database says \(changes); this host stays with what it joined with",
            remedy: "when that is meant, run on this host: fanmesh accept; when not, see who changed it: "
                + "fanmesh cluster audit"
        )
    }
}
