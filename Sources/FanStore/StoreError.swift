/// Why the local server did not do what it was asked.
public enum StoreError: Error, Hashable, Sendable {
    /// Nothing listens on the server's socket.
    case notRunning(socket: String, cause: String)
    /// This user may not talk to the server.
    case permissionDenied(socket: String)
    /// The server answered with an error.
    case refused(Refusal)
    /// No answer in time; what was asked for may have been done all the same.
    case timeout(request: String, after: Duration)
    /// The connection broke before the answer; what was asked for may have been done all the same.
    case disconnected(request: String, cause: String)
    /// The answer cannot be understood.
    case malformed(request: String, problem: String)

    /// The server's own error.
    public struct Refusal: Error, Hashable, Sendable {
        /// The stable code, such as `no_quorum`.
        public var code: String
        /// What happened.
        public var message: String
        /// What to do next, nil when the message says it already.
        public var remedy: String?
        /// The HTTP status.
        public var status: Int

        /// Describes an error of the server.
        public init(code: String, message: String, remedy: String? = nil, status: Int) {
            self.code = code
            self.message = message
            self.remedy = remedy
            self.status = status
        }
    }

    /// The server's own error, nil when it did not answer with one.
    public var refusal: Refusal? {
        if case .refused(let refusal) = self { refusal } else { nil }
    }

    /// What to do next.
    public var remedy: String? {
        switch self {
        case .notRunning: "run: systemctl start fanmesh-server"
        case .permissionDenied: "run it as root, or as a member of the group fanmesh"
        case .refused(let refusal): refusal.remedy
        case .timeout: "see what became of it with: fanmesh cluster list; then run the command again"
        case .disconnected: "see why it stopped with: journalctl -u fanmesh-server; then run the command again"
        case .malformed: "make sure that fanmesh and fanmesh-server are of the same version"
        }
    }
}

extension StoreError: CustomStringConvertible {
    /// What was tried and what happened, in one line.
    public var description: String {
        switch self {
        case .notRunning(let socket, let cause):
            "the fanmesh server is not running: connect to '\(socket)': \(cause)"
        case .permissionDenied(let socket):
            "this user may not use the fanmesh server's socket '\(socket)'"
        case .refused(let refusal): refusal.message
        case .timeout(let request, let time):
            "\(request): the fanmesh server did not answer within \(time.components.seconds) s; "
                + "it may still do what was asked"
        case .disconnected(let request, let cause):
            "\(request): the fanmesh server went away before it answered: \(cause)"
        case .malformed(let request, let problem):
            "\(request): the fanmesh server's answer cannot be understood: \(problem)"
        }
    }
}
