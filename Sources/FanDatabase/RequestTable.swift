/// What became of a request that may come more than once.
public struct StoredRequest: Hashable, Sendable {
    /// What was asked for, in a form that can be compared.
    public var request: String
    /// The status of the answer.
    public var status: Int
    /// The answer as JSON.
    public var answer: String

    /// Describes what became of a request.
    public init(request: String, status: Int, answer: String) {
        self.request = request
        self.status = status
        self.answer = answer
    }
}

extension Transaction {
    /// How many requests are remembered at least: those of the last seconds at any rate of changes.
    public static let requestMemory: Int64 = 4096
    /// The oldest are forgotten so many at a time, since that reads the whole table.
    private static let purgeStep: Int64 = 256

    /// What became of a request, nil when it was not made, or so long ago that it is forgotten.
    ///
    /// - Parameter key: the request's own key.
    /// - Returns: what became of it.
    /// - Throws: ``DatabaseError``.
    public mutating func request(_ key: String) throws(DatabaseError) -> StoredRequest? {
        guard let row = try query(.request, .text(key)).first else { return nil }
        var reader = RowReader(row, "requests")
        return StoredRequest(
            request: try reader.text(),
            status: Int(clamping: try reader.integer()),
            answer: try reader.text()
        )
    }

    /// Remembers what became of a request, in the transaction in which it happened.
    ///
    /// They are counted and not dated: clocks of different leaders differ, and what was answered a moment ago must not
    /// be taken for old.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func save(_ request: StoredRequest, key: String) throws(DatabaseError) {
        let number = try counter("requests") + 1
        try execute(.saveCounter, .text("requests"), .integer(number))
        try execute(
            .saveRequest,
            .text(key),
            .integer(number),
            .text(request.request),
            .integer(Int64(request.status)),
            .text(request.answer)
        )
        guard number % Self.purgeStep == 0, number > Self.requestMemory else { return }
        try execute(.purgeRequests, .integer(number - Self.requestMemory))
    }
}
