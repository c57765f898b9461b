/// What happened to frames at an overlay's classifiers since they were attached, in both directions together.
public struct ForwardingCounters: Hashable, Sendable {
    /// Frames passed.
    public var forwarded: UInt64
    /// Frames dropped because their source does not belong to the host they came from, or because they carry another
    /// network's VNI.
    public var spoofed: UInt64
    /// Frames dropped because they go outside the overlay, or to this very host.
    public var outside: UInt64
    /// Frames dropped because they are neither IPv4 nor ARP for IPv4, or are cut short.
    public var unsupported: UInt64
    /// Packets of guests dropped at the fence: with an address that is not theirs to use, or VXLAN.
    public var fenced: UInt64
    /// Those of the frames that came from other hosts; the rest were on their way there.
    public var received = Part()

    /// What the classifiers counted in one direction.
    public struct Part: Hashable, Sendable {
        /// See ``ForwardingCounters/forwarded``.
        public var forwarded: UInt64
        /// See ``ForwardingCounters/spoofed``.
        public var spoofed: UInt64
        /// See ``ForwardingCounters/outside``.
        public var outside: UInt64
        /// See ``ForwardingCounters/unsupported``.
        public var unsupported: UInt64

        /// Collects the counts.
        public init(forwarded: UInt64 = 0, spoofed: UInt64 = 0, outside: UInt64 = 0, unsupported: UInt64 = 0) {
            self.forwarded = forwarded
            self.spoofed = spoofed
            self.outside = outside
            self.unsupported = unsupported
        }
    }

    /// What was counted of frames on their way to other hosts.
    public var sent: Part {
        Part(
            forwarded: forwarded &- received.forwarded,
            spoofed: spoofed &- received.spoofed,
            outside: outside &- received.outside,
            unsupported: unsupported &- received.unsupported
        )
    }

    /// Collects the counts.
    public init(
        forwarded: UInt64 = 0,
        spoofed: UInt64 = 0,
        outside: UInt64 = 0,
        unsupported: UInt64 = 0,
        fenced: UInt64 = 0
    ) {
        self.forwarded = forwarded
        self.spoofed = spoofed
        self.outside = outside
        self.unsupported = unsupported
        self.fenced = fenced
    }
}
