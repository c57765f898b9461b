/// How many frames of a two-ended proof passed each device of one host, in the order in which what leaves passes them.
public struct LegCounts: Hashable, Sendable {
    /// A device that the frames pass.
    public enum Device: String, CaseIterable, Sendable {
        /// The overlay's bridge.
        case bridge
        /// Its VXLAN port: what leaves is past the classifier there, what arrives is not.
        case vxlan
        /// The link with the host's underlay address: what leaves is past the host's packet filter, what arrives is not.
        case underlay
    }

    /// Whose frames they are, and which way they go.
    public enum Flow: Int, CaseIterable, Sendable {
        /// What the host asks.
        case requestOut
        /// What it is answered.
        case replyIn
        /// What the other host asks.
        case requestIn
        /// What it answers.
        case replyOut
    }

    /// How many frames the host sent into its bridge.
    public var sent = 0
    private var counts = Array(repeating: 0, count: Device.allCases.count * Flow.allCases.count)

    /// Counts nothing.
    public init() {}

    /// How many frames passed a device.
    public subscript(device: Device, flow: Flow) -> Int {
        get { counts[Self.place(device, flow)] }
        set { counts[Self.place(device, flow)] = newValue }
    }

    private static func place(_ device: Device, _ flow: Flow) -> Int {
        let first: Int =
            switch device {
            case .bridge: 0
            case .vxlan: 1
            case .underlay: 2
            }
        return first * Flow.allCases.count + flow.rawValue
    }

    /// More frames than any proof has.
    private static let most = 1000

    /// As it is sent: the frames sent, and below each device's name those of the four flows.
    public var document: Document {
        var document: Document = ["sent": .number(sent)]
        for device in Device.allCases {
            document.set(device.rawValue, .array(Flow.allCases.map { .number(self[device, $0]) }))
        }
        return document
    }

    /// Reads what another host counted.
    ///
    /// - Throws: ``DocumentError`` for what is no count.
    public init(_ document: Document) throws(DocumentError) {
        func count(_ value: Document, _ key: String) throws(DocumentError) -> Int {
            guard case .integer(let number) = value, let count = Int(exactly: number), (0...Self.most).contains(count)
            else { throw DocumentError(path: key, problem: "is no number from 0 to \(Self.most)") }
            return count
        }
        sent = try count(document["sent"], "sent")
        for device in Device.allCases {
            let list = try document.list(device.rawValue)
            guard list.count == Flow.allCases.count else {
                throw DocumentError(path: device.rawValue, problem: "has not \(Flow.allCases.count) counts")
            }
            for flow in Flow.allCases { self[device, flow] = try count(list[flow.rawValue], device.rawValue) }
        }
    }
}

/// What one end of a proof counted of small packets, and of those of the overlay's whole MTU.
public struct ProofCounts: Hashable, Sendable {
    /// Of small packets.
    public var small: LegCounts
    /// Of packets of the overlay's whole MTU.
    public var full: LegCounts

    /// Collects both; nothing is counted yet without them.
    public init(small: LegCounts = LegCounts(), full: LegCounts = LegCounts()) {
        (self.small, self.full) = (small, full)
    }
}
