/// Why a token cannot be used; each case says which part is wrong and what to do.
public enum TokenError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Longer than any token.
    case tooLong(bytes: Int)
    /// No Base64 of a JSON object; the text says why.
    case malformed(String)
    /// A key is missing or has the wrong kind of value.
    case badField(DocumentError)
    /// The token names no server.
    case noAddresses
    /// The fingerprint is not 64 hexadecimal digits.
    case badFingerprint(String)
    /// The secret is not 64 hexadecimal digits; its text is not repeated.
    case badSecret
    /// A token of another program or for another purpose.
    case otherKind(TokenKind, name: String)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        let again = "run 'fanmesh cluster add NAME' on a member and use the whole token it prints"
        return switch self {
        case .tooLong(let bytes):
            "the token has \(bytes) bytes, at most \(JoinToken.maximumBytes) are allowed; \(again)"
        case .malformed(let why):
            "the token is malformed: \(why); \(again)"
        case .badField(let error):
            "the token is malformed: \(error); \(again)"
        case .noAddresses:
            "the token is malformed: 'addresses' is empty, so there is no server to ask; \(again)"
        case .badFingerprint(let text):
            "the token is malformed: 'fingerprint' is '\(text.prefix(80))', not 64 hexadecimal digits; \(again)"
        case .badSecret:
            "the token is malformed: 'secret' is not 64 hexadecimal digits; \(again)"
        case .otherKind(.trust, let name):
            "the token is an LXD or Incus trust token for client '\(name.prefix(64))', which joins no fanmesh cluster; "
                + again
        case .otherKind(_, let name):
            "the token is an LXD or Incus join token for member '\(name.prefix(64))', which joins no fanmesh cluster; "
                + again
        }
    }
}
