/// A request, a connection or a listening socket that failed.
public struct HTTPError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What went wrong.
    public enum Reason: Equatable, Sendable {
        /// Nobody was reached: the system's text.
        case connect(String)
        /// No TLS connection came about, or it broke: the library's text.
        case tls(String)
        /// The server is not the one it should be: SHA-256 fingerprints of certificates.
        case pinMismatch(expected: [String], found: String)
        /// The time was over before this was done.
        case timeout(String)
        /// The other side closed the connection, or it broke, before the answer was complete.
        case closed(String)
        /// The answer breaks the rules of HTTP.
        case malformed(String)
        /// The answer is larger than allowed.
        case tooLarge(String)
        /// The server answered with another status than the expected one.
        case status(HTTPResponse)
        /// A socket could not be made to listen.
        case listen(String)
    }

    /// What went wrong.
    public var reason: Reason
    /// The other side, or the address to listen on: an address with a port, or the path of a socket.
    public var peer: String

    /// Describes one failure.
    public init(_ reason: Reason, peer: String) {
        self.reason = reason
        self.peer = peer
    }

    /// What was tried, what happened and what to do about it where that is not plain.
    public var description: String {
        switch reason {
        case .connect(let cause): "connect to '\(peer)': \(cause)"
        case .tls(let cause): "tls with '\(peer)': \(cause)"
        case .pinMismatch(let expected, let found):
            "tls with '\(peer)': its certificate has the fingerprint \(found), not "
                + "\(expected.joined(separator: " or ")); nothing was sent: check the address, or whether the "
                + "cluster's certificate was rotated"
        case .timeout(let what): "\(what) '\(peer)': timed out"
        case .closed(let when): "connection to '\(peer)' was closed \(when)"
        case .malformed(let what): "answer of '\(peer)' is malformed: \(what)"
        case .tooLarge(let what): "answer of '\(peer)' is too large: \(what)"
        case .status(let response): "'\(peer)' answered with status \(response.status)"
        case .listen(let cause): "listen on '\(peer)': \(cause)"
        }
    }
}
