import FanCore
import Testing

struct Row: Sendable, CustomTestStringConvertible {
    var underlay: String
    var overlay: String
    var host: String
    var slice: String
    var bridge: String
    var testDescription: String { "\(host) in \(underlay)" }
}

@Suite struct MappingTests {
    static let table: [Row] = [
        Row(underlay: "10.88.0.0/16", overlay: "99.0.0.0/8", host: "10.88.3.4", slice: "99.3.4.0/24", bridge: "99.3.4.1/8"),
    ]

    @Test(arguments: table) func knownMapping(row: Row) throws {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: row.overlay),
            underlay: IPv4Prefix(parsing: row.underlay)
        )
        let slice = try mapping.slice(of: IPv4Address(parsing: row.host))
        #expect(slice.prefix.description == row.slice)
        #expect(slice.bridgeAddress.description == row.bridge)
    }
}
