/// What lets one new member into a cluster: where to go, whom to trust, and the secret that is good for one join.
///
/// Shape: Base64 of `{server_name, fingerprint, addresses, secret, expires_at}`, as LXD's.
public struct JoinToken: Hashable, Sendable {
    /// The longest token, in bytes of Base64.
    public static let maximumBytes = 8 << 10
    /// The most addresses that are written into a token, so that it stays far below ``maximumBytes``.
    public static let maximumAddresses = 64

    /// The name of the member that may join.
    public var serverName: String
    /// SHA-256 of the cluster certificate's DER, 64 lower-case hexadecimal digits.
    public var fingerprint: String
    /// Where members listen, at most ``maximumAddresses``.
    public var addresses: [SocketAddress]
    /// 64 hexadecimal digits.
    public var secret: String
    /// When it stops being valid.
    public var expiresAt: Timestamp

    /// Makes a token; addresses past ``maximumAddresses`` are left out.
    public init(
        serverName: String,
        fingerprint: String,
        addresses: [SocketAddress],
        secret: String,
        expiresAt: Timestamp
    ) {
        self.serverName = serverName
        self.fingerprint = fingerprint
        self.addresses = Array(addresses.prefix(Self.maximumAddresses))
        self.secret = secret
        self.expiresAt = expiresAt
    }

    /// Reads a token of a fanmesh cluster.
    ///
    /// - Parameter text: what `cluster add` printed.
    /// - Throws: ``TokenError``.
    public init(parsing text: some StringProtocol) throws(TokenError) {
        let contents = try TokenContents(parsing: text)
        guard contents.kind == .fanmeshJoin else { throw .otherKind(contents.kind, name: contents.name) }
        do throws(ClusterInputError) { try DNSLabel.check(contents.name) } catch {
            throw .badField(DocumentError(path: "server_name", problem: "is wrong: \(error)"))
        }
        var addresses: [SocketAddress] = []
        for address in contents.addresses {
            do throws(ClusterInputError) { addresses.append(try SocketAddress(parsing: address)) } catch {
                throw .badField(DocumentError(path: "addresses", problem: "is wrong: \(error)"))
            }
        }
        guard let expiresAt = contents.expiresAt else {
            throw .badField(DocumentError(path: "expires_at", problem: "is missing"))
        }
        self.init(
            serverName: contents.name,
            fingerprint: contents.fingerprint,
            addresses: addresses,
            secret: contents.secret,
            expiresAt: expiresAt
        )
    }

    /// The token as one line to hand over.
    public var encoded: String {
        let document: Document = [
            "server_name": .string(serverName),
            "fingerprint": .string(fingerprint),
            "addresses": .array(addresses.map { .text($0) }),
            "secret": .string(secret),
            "expires_at": .text(expiresAt),
        ]
        return Base64.encode(document.compactJSON)
    }
}

/// Whose a token is, and what it is good for.
public enum TokenKind: String, CaseIterable, Sendable {
    /// Joins a fanmesh cluster.
    case fanmeshJoin = "fanmesh-join"
    /// Joins an LXD or Incus cluster.
    case join = "lxd-join"
    /// Makes a client trusted by LXD or Incus.
    case trust = "lxd-trust"
}

/// What a token of fanmesh, LXD or Incus says.
public struct TokenContents: Hashable, Sendable {
    /// Whose it is.
    public var kind: TokenKind
    /// By what the kind was told, in words.
    public var reason: String
    /// The name that the token is for.
    public var name: String
    /// SHA-256 of the server certificate's DER, 64 lower-case hexadecimal digits.
    public var fingerprint: String
    /// Where the servers listen, as written.
    public var addresses: [String]
    /// The secret: never show it unasked.
    public var secret: String
    /// When the token stops being valid, nil for never.
    public var expiresAt: Timestamp?

    /// LXD's and Incus's port.
    private static let lxdPort = ":8443"

    /// Reads a token of fanmesh, LXD or Incus.
    ///
    /// - Parameter text: the token, which may have white space around it.
    /// - Throws: ``TokenError``.
    public init(parsing text: some StringProtocol) throws(TokenError) {
        guard text.utf8.count <= JoinToken.maximumBytes else { throw .tooLong(bytes: text.utf8.count) }
        let bytes: [UInt8]
        do throws(Base64Error) { bytes = try Base64.decode(text) } catch { throw .malformed("\(error)") }
        guard !bytes.isEmpty else { throw .malformed("it is empty") }
        do throws(DocumentError) {
            let document = try Document(json: bytes)
            guard case .object = document else { throw DocumentError(path: "", problem: "is not a JSON object") }
            let isTrust = try document.optionalText("client_name") != nil
            name = try document.text(isTrust ? "client_name" : "server_name")
            fingerprint = try document.text("fingerprint")
            addresses = []
            for address in try document.list("addresses") {
                guard case .string(let text) = address else {
                    throw DocumentError(path: "addresses", problem: "is not a list of texts")
                }
                addresses.append(text)
            }
            secret = try document.text("secret")
            let moment = try document.parsed("expires_at") { try Timestamp(parsing: $0) }
            expiresAt = moment == .never ? nil : moment
            let hasFraction = try document.text("expires_at").contains(".")
            (kind, reason) = Self.kind(isTrust: isTrust, addresses: addresses, hasFraction: hasFraction)
        } catch {
            throw .badField(error)
        }
        guard !addresses.isEmpty else { throw .noAddresses }
        fingerprint = fingerprint.lowercased()
        guard fingerprint.isHexDigest else { throw .badFingerprint(fingerprint) }
        guard secret.isHexDigest else { throw .badSecret }
    }

    /// Tells join tokens of the same shape apart.
    ///
    /// An address with a usual port decides. Where both use unusual ones the time does: LXD and Incus write its
    /// fraction, fanmesh whole seconds.
    private static func kind(
        isTrust: Bool,
        addresses: [String],
        hasFraction: Bool
    ) -> (kind: TokenKind, reason: String) {
        if isTrust { return (.trust, "it has a client_name, as trust tokens of LXD and Incus do") }
        let port = ":\(SocketAddress.defaultPort)"
        if addresses.contains(where: { $0.hasSuffix(port) }) {
            return (.fanmeshJoin, "its addresses have fanmesh's port, \(SocketAddress.defaultPort)")
        }
        if addresses.contains(where: { $0.hasSuffix(lxdPort) }) {
            return (.join, "its addresses have the port of LXD and Incus, 8443")
        }
        return hasFraction
            ? (.join, "its expiry has fractions of a second, as LXD and Incus write it")
            : (.fanmeshJoin, "its expiry is in whole seconds, as fanmesh writes it")
    }
}

extension String {
    /// Whether the text is a SHA-256 or a secret of that length: 64 lower-case hexadecimal digits.
    public var isHexDigest: Bool {
        utf8.count == 64
            && utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }
}
