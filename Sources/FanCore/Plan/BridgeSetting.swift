/// A sysctl of IPv4 that the bridge has to have for the overlay to work, whatever the host's others are.
///
/// Source: Linux, Documentation/networking/ip-sysctl.rst.
public enum BridgeSetting: String, CaseIterable, Sendable {
    /// A new address is announced to the guests at once.
    case notifies = "arp_notify"
    /// Requests for the bridge's address are answered, and none for the host's others.
    case ignores = "arp_ignore"
    /// Requests name the bridge's address: with another one of this host no other host takes them.
    case announces = "arp_announce"
    /// Loose: the fence says who may send, and with rules for routing the way back may be another one.
    case reversePath = "rp_filter"
    /// Where this host forwards, it does so for its guests.
    case forwards = "forwarding"

    /// The name of the file.
    public var name: String { rawValue }

    /// Where it is, below `/proc/sys`.
    ///
    /// - Parameter device: the device; `all` is the host's.
    /// - Returns: the path.
    public func path(of device: String) -> String { "net/ipv4/conf/\(device)/\(name)" }

    /// Whether the kernel says nothing when it is changed.
    public var isUnannounced: Bool {
        switch self {
        case .notifies, .ignores, .announces: true
        case .reversePath, .forwards: false
        }
    }

    /// What it is set to.
    var wanted: Int {
        switch self {
        case .notifies, .ignores, .forwards: 1
        case .announces, .reversePath: 2
        }
    }

    /// The value of `arp_ignore` with which nothing is answered.
    public static let ignoresAll = 8
    /// The value of `rp_filter` with which a packet has to come in where the way back leaves.
    public static let strict = 1
}
