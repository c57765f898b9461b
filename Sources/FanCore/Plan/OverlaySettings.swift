/// What all hosts of an overlay must have the same of: those that differ in any of it do not understand each other.
///
/// The MTU and the forwarder are none of it: each host may have its own.
public struct OverlaySettings: Hashable, Sendable {
    /// The network's name, which is its bridge's.
    public var network: String
    /// The overlay and the underlay.
    public var mapping: FanMapping
    /// The VXLAN network identifier.
    public var vni: UInt32
    /// The UDP port.
    public var port: UInt16

    /// The name of a network unless another is chosen.
    public static let defaultNetwork = "fan0"

    /// The settings of a mapping, each the default unless it is given.
    public init(_ mapping: FanMapping, network: String? = nil, vni: UInt32? = nil, port: UInt16? = nil) {
        self.network = network ?? Self.defaultNetwork
        self.mapping = mapping
        self.vni = vni ?? mapping.defaultVNI
        self.port = port ?? NetworkSpec.defaultPort
    }
}

extension OverlaySettings: DocumentShape {
    /// Goes through the fields; whatever a mapping has a default for may be missing.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        let overlay = try table.value("overlay", \.mapping.overlay)
        let underlay = try table.value("underlay", \.mapping.underlay)
        let mapping = table.isDescribing ? .example : try FanMapping(fitting: overlay, underlay)
        self.mapping = mapping
        network = try table.value("network", \.network, default: Self.defaultNetwork)
        vni = try table.number(.vni, \.vni, default: mapping.defaultVNI)
        port = try table.number(.port, \.port, default: NetworkSpec.defaultPort)
    }
}

extension FanMapping {
    /// Any mapping.
    fileprivate static var example: FanMapping {
        let underlay = IPv4Prefix(containing: .example, prefixBits: 16)
        do throws(FanMappingError) { return try FanMapping(overlay: .defaultOverlay, underlay: underlay) } catch {
            preconditionFailure("\(error)")
        }
    }

    /// The mapping of two prefixes of a document.
    init(fitting overlay: IPv4Prefix, _ underlay: IPv4Prefix) throws(DocumentError) {
        do throws(FanMappingError) { try self.init(overlay: overlay, underlay: underlay) } catch {
            throw DocumentError(path: "overlay", problem: "does not fit: \(error)")
        }
    }
}

/// What has the settings of an overlay, and shows them as its own.
@dynamicMemberLookup
public protocol HasOverlaySettings {
    /// The settings of the overlay.
    var settings: OverlaySettings { get set }
}

extension HasOverlaySettings {
    /// One of the settings.
    public subscript<Value>(dynamicMember path: WritableKeyPath<OverlaySettings, Value>) -> Value {
        get { settings[keyPath: path] }
        set { settings[keyPath: path] = newValue }
    }
}

/// What the members of a cluster agree on for their overlay: what all must have the same of, and what each makes of it
/// within the limits of its host.
public struct OverlayConfig: Hashable, Sendable, HasOverlaySettings {
    /// What all must have the same of.
    public var settings: OverlaySettings
    /// The overlay's MTU in bytes; nil for each host's underlay MTU less the encapsulation.
    public var mtuBytes: Int?
    /// The forwarder; nil for `auto`.
    public var forwarder: ForwarderKind?

    /// Leaves the MTU and the forwarder to each host.
    public init(_ settings: OverlaySettings) {
        self.settings = settings
    }
}

extension OverlayConfig: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        settings = try table.part(\.settings)
        mtuBytes = try table.optionalNumber(.mtu, \.mtuBytes)
        forwarder = try table.value("forwarder", { ForwarderChoice($0.forwarder) }, default: .auto).kind
    }
}

/// What was chosen of an overlay: nil is left to the default, or to each host.
public struct OverlayChoices: Hashable, Sendable {
    /// How the underlay is found.
    public var underlay: UnderlaySelector?
    /// The overlay's prefix.
    public var overlay: IPv4Prefix?
    /// The network's name.
    public var network: String?
    /// The VXLAN network identifier.
    public var vni: UInt32?
    /// The UDP port of the overlay.
    public var port: UInt16?
    /// The overlay's MTU in bytes.
    public var mtuBytes: Int?
    /// `auto` or the name of a forwarder.
    public var forwarder: ForwarderChoice?

    /// Leaves everything open.
    public init() {}

    /// The choices that were made for a cluster.
    public init(_ config: OverlayConfig) {
        underlay = .prefix(config.mapping.underlay)
        overlay = config.mapping.overlay
        network = config.network
        vni = config.vni
        port = config.port
        mtuBytes = config.mtuBytes
        forwarder = ForwarderChoice(config.forwarder)
    }

    /// The settings that follow for an underlay that was found.
    ///
    /// - Parameter underlay: the prefix of the underlay.
    /// - Returns: the settings, with the defaults of what is open.
    /// - Throws: ``FanMappingError`` when the overlay does not fit.
    public func settings(underlay: IPv4Prefix) throws(FanMappingError) -> OverlaySettings {
        let mapping = try FanMapping(overlay: overlay ?? .defaultOverlay, underlay: underlay)
        return OverlaySettings(mapping, network: network, vni: vni, port: port)
    }
}

extension OverlayChoices: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes(leavesOutNull: true)
        underlay = try table.optional("underlay", \.underlay)
        overlay = try table.optional("overlay", \.overlay)
        network = try table.optional("network", \.network, check: NetworkSpec.check(name:))
        vni = try table.optionalNumber(.vni, \.vni)
        port = try table.optionalNumber(.port, \.port)
        mtuBytes = try table.optionalNumber(.mtu, \.mtuBytes)
        forwarder = try table.optional("forwarder", \.forwarder)
    }
}
