internal import FanCore
internal import FanDatabase

/// What a request to change something says about itself, beside what it wants changed.
struct ChangeRequest: Sendable {
    /// The tag of the document that the caller saw, as `If-Match` has it; nil when any will do.
    var condition: String?

    /// A change that depends on nothing.
    static let unconditional = ChangeRequest()

    /// Refuses when a document is another one than the caller saw.
    ///
    /// To be called in the change's transaction, on what was read there.
    func requireUnchanged(_ tag: EntityTag, of what: String) throws(APIError) {
        guard let condition, let changed = tag.changes(since: condition) else { return }
        let fields = changed.isEmpty ? what : "\(changed.joined(separator: ", ")) of \(what)"
        throw APIError(
            .preconditionFailed,
            "\(fields) changed since it was read; nothing was changed now",
            remedy: "read it again, and repeat the change if it is still wanted"
        )
    }
}
