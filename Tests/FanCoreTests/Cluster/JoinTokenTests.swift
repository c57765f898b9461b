import FanCore
import TestSupport
import Testing

@Suite struct JoinTokenTests {
    static let fingerprint = String(repeating: "0123456789abcdef", count: 4)
    static let secret = String(repeating: "fedcba9876543210", count: 4)

    static func token(addresses: [String] = ["172.31.16.5:8473"]) throws -> JoinToken {
        JoinToken(
            serverName: "node2",
            fingerprint: fingerprint,
            addresses: try addresses.map { try SocketAddress(parsing: $0) },
            secret: secret,
            expiresAt: try Timestamp(parsing: "2026-11-21T06:03:47Z")
        )
    }

    /// A token of any shape; fields can be replaced or, with nil, left out.
    static func encoded(_ changes: [(String, Document?)] = [], trust: Bool = false) -> String {
        var fields: [(String, Document)] = [
            (trust ? "client_name" : "server_name", "node2"), ("fingerprint", .string(fingerprint)),
            ("addresses", ["172.31.16.5:8473"]), ("secret", .string(secret)), ("expires_at", "2026-11-21T06:03:47Z"),
        ]
        for (key, value) in changes {
            fields.removeAll { $0.0 == key }
            if let value { fields.append((key, value)) }
        }
        return Base64.encode(Document.object(fields.map { Document.Field(key: $0.0, value: $0.1) }).compactJSON)
    }

    @Test func roundTrips() throws {
        let token = try Self.token(addresses: ["172.31.16.5:8473", "172.31.17.6:9000"])
        #expect(try JoinToken(parsing: token.encoded) == token)
        #expect(try JoinToken(parsing: "\n  \(token.encoded)\n") == token)
        #expect(try JoinToken(parsing: token.encoded.replacing("=", with: "")) == token)
        let json = try Document(json: Base64.decode(token.encoded))
        #expect(json.fields.map(\.key) == ["server_name", "fingerprint", "addresses", "secret", "expires_at"])
        #expect(json["expires_at"] == "2026-11-21T06:03:47Z")
    }

    @Test func staysShort() throws {
        let all = (0..<2000).map { SocketAddress(IPv4Address(rawValue: 0xdede_de00 + UInt32($0)), port: 65_535) }
        let token = JoinToken(
            serverName: String(repeating: "n", count: 63),
            fingerprint: Self.fingerprint,
            addresses: all,
            secret: Self.secret,
            expiresAt: .never
        )
        #expect(token.encoded.utf8.count <= JoinToken.maximumBytes)
        #expect(token.addresses == Array(all.prefix(64)))
    }

    static let refused: [(String, String)] = [
        ("", "it is empty"), ("   ", "it is empty"), ("not a token", "not base64: character 4"),
        ("abcde", "its length is wrong"), (Base64.encode(Array("hello".utf8)), "is not JSON: 'h' instead of a value"),
        (Base64.encode(Array("[]".utf8)), "is not a JSON object"), (Base64.encode([0xff]), "not UTF-8"),
        (encoded([("server_name", nil)]), "'server_name' is missing"),
        (encoded([("server_name", 7)]), "'server_name' is not a text"),
        (encoded([("server_name", "Node 2")]), "'server_name' is wrong: 'Node 2' is not a member's name"),
        (encoded([("fingerprint", nil)]), "'fingerprint' is missing"),
        (encoded([("fingerprint", "abc")]), "'fingerprint' is 'abc', not 64 hexadecimal digits"),
        (encoded([("fingerprint", .string(String(repeating: "g", count: 64)))]), "not 64 hexadecimal digits"),
        (encoded([("addresses", nil)]), "'addresses' is empty"), (encoded([("addresses", [])]), "'addresses' is empty"),
        (encoded([("addresses", "172.31.16.5:8473")]), "'addresses' is not a list"),
        (encoded([("addresses", [8473])]), "'addresses' is not a list of texts"),
        (encoded([("addresses", ["node1:8473"])]), "'addresses' is wrong: 'node1:8473' is not an address"),
        (encoded([("addresses", ["172.31.16.5:0"])]), "'addresses' is wrong"),
        (encoded([("secret", nil)]), "'secret' is missing"),
        (encoded([("secret", "s3cret")]), "'secret' is not 64 hexadecimal digits"),
        (encoded([("expires_at", nil)]), "'expires_at' is missing"),
        (encoded([("expires_at", "tomorrow")]), "'expires_at' is wrong: 'tomorrow' is not a time"),
        (encoded([("expires_at", 1_795_230_227)]), "'expires_at' is not a text"),
        (encoded([("expires_at", "0001-01-01T00:00:00Z")]), "'expires_at' is missing"),
        (String(repeating: "A", count: 8193), "has 8193 bytes, at most 8192"),
        (encoded(trust: true), "an LXD or Incus trust token for client 'node2'"),
        (encoded([("addresses", ["172.31.16.5:8443"])]), "an LXD or Incus join token for member 'node2'"),
    ]

    @Test(arguments: refused)
    func refuses(text: String, part: String) {
        do throws(TokenError) {
            _ = try JoinToken(parsing: text)
            Issue.record("accepted")
        } catch {
            #expect(error.description.contains(part), "\(error)")
            #expect(
                error.description.hasSuffix(
                    "run 'fanmesh cluster add NAME' on a member and use the whole token it prints"
                )
            )
            #expect(!error.description.contains(Self.secret) && !error.description.contains("s3cret"))
        }
    }

    /// What LXD 5.0.2 and Incus write, and what tells the kinds apart.
    static let kinds: [([String], String, Bool, TokenKind, String)] = [
        (["172.31.16.5:8443"], "2026-11-21T03:03:47.906039099Z", false, .join, "port of LXD"),
        (["172.31.16.5:8443"], "0001-01-01T00:00:00Z", true, .trust, "client_name"),
        (["172.31.16.5:8473"], "2026-11-21T03:03:47Z", true, .trust, "client_name"),
        (["172.31.16.5:8473"], "2026-11-21T03:03:47Z", false, .fanmeshJoin, "fanmesh's port, 8473"),
        (["172.31.16.5:9000", "172.31.16.6:8473"], "2026-11-21T03:03:47.5Z", false, .fanmeshJoin, "fanmesh's port"),
        (["[fd42::1]:9000"], "2026-11-21T03:03:47.906039099Z", false, .join, "fractions of a second"),
        (["172.31.16.5:9000"], "2026-11-21T03:03:47Z", false, .fanmeshJoin, "whole seconds"),
    ]

    @Test(arguments: kinds)
    func tellsKindsApart(addresses: [String], time: String, trust: Bool, kind: TokenKind, reason: String) throws {
        let text = Self.encoded(
            [("addresses", .array(addresses.map { .string($0) })), ("expires_at", .string(time))],
            trust: trust
        )
        let contents = try TokenContents(parsing: text)
        #expect(contents.kind == kind)
        #expect(contents.reason.contains(reason))
        #expect(contents.name == "node2")
        #expect(contents.addresses == addresses)
        #expect((contents.expiresAt == nil) == time.hasPrefix("0001"))
        #expect(contents.secret == Self.secret)
    }

    @Test func fingerprintsAreLowerCase() throws {
        let text = Self.encoded([("fingerprint", .string(Self.fingerprint.uppercased()))])
        #expect(try JoinToken(parsing: text).fingerprint == Self.fingerprint)
    }

    @Test func manglingNeverCrashes() throws {
        var random = SeededGenerator(seed: 0x70)
        let good = Array(try Self.token().encoded.utf8)
        for _ in 0..<5000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0x2b...0x7a, using: &random)
            }
            if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random)) }
            do throws(TokenError) { _ = try JoinToken(parsing: String(decoding: bytes, as: UTF8.self)) } catch {
                #expect(!error.description.isEmpty)
            }
        }
    }
}
