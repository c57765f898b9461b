public import FanProbe

/// What became of the traffic from one endpoint to another.
public struct LabPair: Hashable, Sendable {
    /// Who sent.
    public let from: LabEndpoint
    /// Who answered.
    public let to: LabEndpoint
    /// The full-size ICMP echo.
    public let echo: EchoOutcome
    /// The TCP exchange.
    public let stream: TCPOutcome

    /// Whether ICMP worked.
    public var echoWorks: Bool { echo.roundTrip != nil }
    /// Whether TCP worked, every byte unchanged.
    public var streamWorks: Bool {
        if case .verified = stream { true } else { false }
    }
    /// Whether both worked.
    public var isReachable: Bool { echoWorks && streamWorks }

    /// What failed, nil when nothing did.
    public var failure: String? {
        var parts: [String] = []
        if case .failed(let reason) = echo { parts.append("icmp: \(reason)") }
        if case .failed(let reason) = stream { parts.append("tcp: \(reason)") }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }

    /// The pair in one cell of the matrix: the round-trip time in milliseconds, or what failed.
    var cell: String {
        switch (echo.roundTrip, streamWorks) {
        case (let time?, true): time.millisecondsText
        case (.some, false): "no tcp"
        case (nil, true): "no icmp"
        case (nil, false): "none"
        }
    }
}

/// What became of the traffic between all endpoints of a lab.
public struct LabCheckResult: Hashable, Sendable {
    /// The endpoints.
    public let endpoints: [LabEndpoint]
    /// Every ordered pair of them, by sender and then by receiver.
    public let pairs: [LabPair]
    /// The size of the ICMP packets.
    public let echoBytes: Int
    /// How many bytes went to and fro over TCP.
    public let streamBytes: Int
    /// How long it took.
    public let elapsed: Duration

    /// The pairs between which something failed.
    public var failures: [LabPair] { pairs.filter { !$0.isReachable } }
    /// Whether everything worked.
    public var isSuccess: Bool { pairs.allSatisfy(\.isReachable) }
    /// The longest round trip of an answered echo.
    public var worstRoundTrip: Duration? { pairs.compactMap(\.echo.roundTrip).max() }

    /// The matrix as rows of cells, a row per sender; the first row and column are names.
    ///
    /// A cell holds the round-trip time in milliseconds, or `no tcp`, `no icmp` or `none`.
    public var matrix: [[String]] {
        let width = endpoints.count - 1
        var rows = [["from \\ to"] + endpoints.map(\.name)]
        for (sender, endpoint) in endpoints.enumerated() {
            var cells = pairs[(sender * width)..<((sender + 1) * width)].map(\.cell)
            cells.insert("-", at: sender)
            rows.append([endpoint.name] + cells)
        }
        return rows
    }
}

extension Duration {
    /// The duration in milliseconds with two decimals, cut.
    public var millisecondsText: String {
        let (seconds, attoseconds) = components
        let hundredths = seconds * 100_000 + attoseconds / 10_000_000_000_000
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }
}
