/// A number that comes from outside: its key, and the range outside of which it is refused.
///
/// Every number of a request, an answer, a query or a stored document has one. The description of the API takes its
/// `minimum` and `maximum` from it, and reading a document by it is the only way to get a number out of one, so that
/// nobody calculates with a number that was not looked at. The ranges leave room: a difference of two clocks or one
/// more beat overflows nothing.
public struct NumericField: Hashable, Sendable {
    /// The key of the number in objects and queries.
    public let key: String
    /// What is taken.
    public let range: ClosedRange<Int64>

    private init(_ key: String, _ range: ClosedRange<Int64>) {
        self.key = key
        self.range = range
    }

    private init(_ key: String, _ range: ClosedRange<Int>) {
        self.init(key, Int64(range.lowerBound)...Int64(range.upperBound))
    }

    private init(seconds key: String, _ range: ClosedRange<Duration>) {
        self.init(key, range.lowerBound.wholeSeconds...range.upperBound.wholeSeconds)
    }

    /// The nearest number that is in the range.
    ///
    /// - Parameter number: any number.
    /// - Returns: itself, or the nearer end of the range.
    public func clamp(_ number: Int64) -> Int64 { min(max(number, range.lowerBound), range.upperBound) }

    /// Takes a number in the range.
    ///
    /// - Parameters:
    ///   - number: any number.
    ///   - type: what it is stored as; it must have room for the whole range.
    /// - Returns: the number.
    /// - Throws: ``DocumentError`` naming the key and the range.
    public func take<Value: FixedWidthInteger>(
        _ number: Int128,
        as type: Value.Type = Value.self
    ) throws(DocumentError) -> Value {
        precondition(
            Value(exactly: range.lowerBound) != nil && Value(exactly: range.upperBound) != nil,
            "\(type) has no room for '\(key)'"
        )
        guard number >= range.lowerBound, number <= range.upperBound else {
            throw DocumentError(path: key, problem: "is \(number); use \(text)")
        }
        return Value(number)
    }

    /// Takes a number in the range that is written out, as in a query.
    ///
    /// - Parameters:
    ///   - text: what was written.
    ///   - type: what it is stored as.
    /// - Returns: the number.
    /// - Throws: ``DocumentError`` naming the key and the range.
    public func take<Value: FixedWidthInteger>(
        parsing text: some StringProtocol,
        as type: Value.Type = Value.self
    ) throws(DocumentError) -> Value {
        guard let number = Int128(text) else { throw isNoWholeNumber }
        return try take(number)
    }

    var isNoWholeNumber: DocumentError {
        DocumentError(path: key, problem: "is not a whole number from \(text)")
    }

    var isNoNumber: DocumentError { DocumentError(path: key, problem: "is not a number from \(text)") }

    private var text: String { "\(range.lowerBound) to \(range.upperBound)" }
}

extension NumericField {
    /// The greatest whole number that every reader of JSON holds exactly.
    private static let exact: Int64 = (1 << 53) - 1
    private static let counts: ClosedRange<Int64> = 0...exact
    /// The seconds from 1970 to the end of the year 9999.
    private static let moments: ClosedRange<Int64> = 0...Timestamp.range.upperBound
    private static let millisecondMoments: ClosedRange<Int64> = 0...Timestamp.range.upperBound * 1000
    private static let versions: ClosedRange<Int64> = 0...Int64(Int32.max)

    // MARK: The overlay and the cluster

    /// The VXLAN network identifier.
    public static let vni = NumericField("vni", 1...0xff_ffff)
    /// The UDP port of the overlay.
    public static let port = NumericField("port", 1...Int64(UInt16.max))
    /// The overlay's MTU in bytes, as it may be asked for.
    public static let mtu = NumericField("mtu", ClusterConfig.mtuRange)
    /// After how many seconds of silence a member is OFFLINE.
    public static let offlineAfter = NumericField(seconds: "offline_after_s", ClusterConfig.offlineRange)
    /// How many voters are wanted.
    public static let voters = NumericField("voters", ClusterConfig.voterRange)
    /// How many standbys are wanted.
    public static let standbys = NumericField("standbys", ClusterConfig.standbyRange)
    /// For how many seconds tokens are valid.
    public static let tokenExpiry = NumericField(seconds: "token_expiry_s", ClusterConfig.tokenExpiryRange)
    /// For how many seconds one token is valid.
    public static let expiry = NumericField(seconds: "expiry_s", ClusterConfig.tokenExpiryRange)

    // MARK: Members

    /// The number of a member's database node.
    public static let id = NumericField("id", 1...exact)
    /// A version of the database schema.
    public static let schemaVersion = NumericField("schema_version", versions)
    /// Which start of a member's server it is.
    public static let incarnation = NumericField("incarnation", counts)
    /// When a member joined, in seconds since 1970.
    public static let joinedAt = NumericField("joined_at", moments)
    /// How many milliseconds ago a member was heard.
    public static let lastSeen = NumericField("last_seen_ms", millisecondMoments)
    /// How many milliseconds a member's clock is ahead of the leader's.
    public static let clockOffset = NumericField(
        "clock_offset_ms",
        -millisecondMoments.upperBound...millisecondMoments.upperBound
    )
    /// How many there are.
    public static let total = NumericField("total", counts)
    /// How many of them can be reached.
    public static let reachable = NumericField("reachable", counts)

    // MARK: Reports

    /// The MTU in bytes that an overlay was found to have.
    public static let reportedMTU = NumericField("mtu", 0...Int64(Int32.max))
    /// The MTU in bytes that the underlay's interface was found to have.
    public static let reportedUnderlayMTU = NumericField("underlay_mtu", 0...Int64(Int32.max))
    /// The VXLAN network identifier that an overlay was found to have.
    public static let reportedVNI = NumericField("vni", 0...0xff_ffff)
    /// The UDP port that an overlay was found to have.
    public static let reportedPort = NumericField("port", 0...Int64(UInt16.max))
    /// Frames that were sent on.
    public static let forwarded = NumericField("forwarded", 0...Int64.max)
    /// Frames with a forged source.
    public static let spoofed = NumericField("spoofed", 0...Int64.max)
    /// Frames to what is outside the overlay.
    public static let outside = NumericField("outside", 0...Int64.max)
    /// Frames of other protocols.
    public static let unsupported = NumericField("unsupported", 0...Int64.max)
    /// A round trip in milliseconds, whole or not: at most a day.
    public static let roundTrip = NumericField("rtt_ms", 0...86_400_000)

    // MARK: Heartbeats and watches

    /// Which state of the cluster somebody has.
    public static let generation = NumericField("generation", counts)
    /// A wall clock in milliseconds since 1970.
    public static let clock = NumericField("clock_ms", millisecondMoments)
    /// For how many milliseconds a heartbeat's answer may be held back.
    public static let heartbeatWait = NumericField("wait_ms", 0...60_000)
    /// For how many seconds an answer may be held back.
    public static let wait = NumericField("wait", 0...60)
    /// How many heartbeats a member has sent.
    public static let beats = NumericField("beats", counts)
    /// How many heartbeats a member's disk knew of when it started.
    public static let formerBeats = NumericField("former_beats", counts)
    /// How many heartbeats the leader has sent.
    public static let leaderBeats = NumericField("leader_beats", counts)
    /// The term in which the one who answers leads.
    public static let leaderTerm = NumericField("leader_term", counts)
    /// The term in which the one who asks leads.
    public static let leadsTerm = NumericField("leads_term", counts)

    // MARK: Numbers of things

    /// How many members there are.
    public static let members = NumericField("members", counts)
    /// How many tokens were revoked.
    public static let revokedTokens = NumericField("revoked_tokens", counts)
    /// How many things are asked for.
    public static let limit = NumericField("limit", 1...1000)
    /// A length in bytes.
    public static let bytes = NumericField("bytes", counts)

    // MARK: Events

    /// Which event it is.
    public static let eventNumber = NumericField("number", counts)
    /// The event that is known already.
    public static let afterEvent = NumericField("after", counts)
    /// The last event that there is.
    public static let lastEvent = NumericField("last", counts)
    /// How many milliseconds something took.
    public static let eventDuration = NumericField("duration_ms", millisecondMoments)

    // MARK: The agent's own file

    /// A process.
    public static let processID = NumericField("pid", 0...Int64(Int32.max))
    /// When a process started, in seconds since 1970.
    public static let startedAt = NumericField("started_at", moments)
    /// The generation whose overlay was verified.
    public static let verifiedGeneration = NumericField("verified_generation", counts)
    /// How many peers are known.
    public static let knownPeers = NumericField("known", counts)
    /// How many peers were probed.
    public static let probedPeers = NumericField("probed", counts)
    /// How many peers answered.
    public static let reachablePeers = NumericField("reachable", counts)

    /// All of them.
    public static let all: [NumericField] = [
        vni, port, mtu, offlineAfter, voters, standbys, tokenExpiry, expiry, id, schemaVersion, incarnation, joinedAt,
        lastSeen, clockOffset, total, reachable, reportedMTU, reportedUnderlayMTU, reportedVNI, reportedPort, forwarded,
        spoofed,
        outside, unsupported, roundTrip,
        generation, clock, heartbeatWait, wait, beats, formerBeats, leaderBeats, leaderTerm,
        leadsTerm, members, limit, revokedTokens, bytes, eventNumber, afterEvent,
        lastEvent, eventDuration,
        processID, startedAt, verifiedGeneration, knownPeers, probedPeers, reachablePeers,
    ]
}
