internal import FanSystem

/// Whom to trust, shared with the threads of the database.
final class TrustBox: Sendable {
    private let value: Lock<Set<String>>

    init(_ fingerprints: Set<String>) {
        value = Lock(fingerprints)
    }

    /// The fingerprints that a server may have.
    var fingerprints: Set<String> {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}
