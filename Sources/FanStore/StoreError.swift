public import FanCore

/// Why a store did not do what it was asked.
public struct StoreError: Error, Hashable, Sendable {
    /// What happened.
    public enum Reason: Hashable, Sendable {
        /// Nothing answers at the store's place, such as `connect to '/run/fanmesh/server.sock'`.
        case notRunning(attempt: String, cause: String)
        /// This user may not talk to the store.
        case permissionDenied(socket: String)
        /// The store answered with an error.
        case refused(APIError)
        /// No answer in time; what was asked for may have been done all the same.
        case timeout(request: String, after: Duration)
        /// The connection broke before the answer; what was asked for may have been done all the same.
        case disconnected(request: String, cause: String)
        /// The answer cannot be understood.
        case malformed(request: String, problem: String)
    }

    /// What happened.
    public var reason: Reason
    /// The store that was asked.
    public var store: StoreProfile

    /// Describes what happened.
    ///
    /// - Parameters:
    ///   - reason: what happened.
    ///   - store: the store that was asked.
    public init(_ reason: Reason, of store: StoreProfile) {
        self.reason = reason
        self.store = store
    }

    /// The store's own error, nil when it did not answer with one.
    public var refusal: APIError? {
        if case .refused(let refusal) = reason { refusal } else { nil }
    }

    /// What to do next.
    public var remedy: String? {
        switch reason {
        case .notRunning: store.starting
        case .permissionDenied: store.permission
        case .refused(let refusal): refusal.remedy.isEmpty ? nil : refusal.remedy
        case .timeout: "see what became of it with: fanmesh cluster list; then run the command again"
        case .disconnected: "see why it stopped with: \(store.log); then run the command again"
        case .malformed: store.version
        }
    }
}

extension StoreError: CustomStringConvertible {
    /// What was tried and what happened, in one line.
    public var description: String {
        switch reason {
        case .notRunning(let attempt, let cause): "\(store.name) is not running: \(attempt): \(cause)"
        case .permissionDenied(let socket): "this user may not use \(store.name)'s socket '\(socket)'"
        case .refused(let refusal): refusal.message
        case .timeout(let request, let time):
            "\(request): \(store.name) did not answer within \(time.components.seconds) s; "
                + "it may still do what was asked"
        case .disconnected(let request, let cause):
            "\(request): \(store.name) went away before it answered: \(cause)"
        case .malformed(let request, let problem):
            "\(request): \(store.name)'s answer cannot be understood: \(problem)"
        }
    }
}
