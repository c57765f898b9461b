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
    /// How far back the journal has requests, in entries of any kind; a change has three at most.
    ///
    /// They have no index by their keys: reading so many takes less than the page of it that each change would write.
    public static let requestMemory: Int64 = 8192

    /// What became of a request, nil when it was not made, or so long ago that it is forgotten.
    ///
    /// - Parameter key: the request's own key.
    /// - Returns: what became of it.
    /// - Throws: ``DatabaseError``.
    public mutating func request(_ key: String) throws(DatabaseError) -> StoredRequest? {
        guard let row = try query(.request, .integer(Self.requestMemory), .text(key)).first else { return nil }
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
        try execute(
            .saveRequest,
            .text(key),
            .text(request.request),
            .integer(Int64(request.status)),
            .text(request.answer)
        )
        try purgeJournal()
    }

    /// Drops what is old, from time to time.
    mutating func purgeJournal() throws(DatabaseError) {
        try execute(.purgeJournal, .integer(Self.auditMemory), .integer(Self.requestMemory))
    }
}
