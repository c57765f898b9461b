import Testing

@testable import FanCore

@Suite struct FieldTableTests {
    /// A shape of every kind of field.
    struct Thing: DocumentShape, Equatable {
        var name = "a"
        var isRight = true
        var address: IPv4Address? = IPv4Address(10, 0, 0, 1)
        var role = DatabaseRole.voter
        var overlay: OverlaySettings
        var mtuBytes: Int? = 1400
        var voters = 3
        var length: Duration? = .milliseconds(15)
        var warning: Finding?
        var checks: [HostCheck] = []
        var words = ["x", "y"]

        init() throws(FanMappingError) {
            let mapping = try FanMapping(
                overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
                underlay: IPv4Prefix(parsing: "172.31.16.0/20")
            )
            overlay = OverlaySettings(mapping, network: "fan3", vni: 7, port: 9)
        }

        init(fields table: inout FieldTable<Self>) throws(DocumentError) {
            table.describes(schema: "thing")
            name = try table.value("name", \.name)
            isRight = try table.value("right", \.isRight, default: false)
            address = try table.optional("address", \.address) { if $0.rawValue == 0 { throw Refusal() } }
            role = try table.value("role", \.role)
            overlay = try table.part(\.overlay)
            mtuBytes = try table.optionalNumber(.mtu, \.mtuBytes)
            voters = try table.number(.voters, \.voters, default: 5)
            length = try table.optionalNumber(.lastSeen, \.length?.milliseconds).map { .milliseconds($0) }
            warning = try table.optional("warning", \.warning)
            checks = try table.list("checks", \.checks)
            words = try table.texts("words", \.words)
        }
    }

    struct Refusal: Error, CustomStringConvertible {
        let description = "no"
    }

    static let document: Document = [
        "schema": "fanmesh.thing/v1", "name": "a", "right": true, "address": "10.0.0.1", "role": "voter",
        "overlay": "240.0.0.0/8", "underlay": "172.31.16.0/20", "network": "fan3", "vni": 7, "port": 9, "mtu": 1400,
        "voters": 3, "last_seen_ms": 15, "warning": nil, "checks": [], "words": ["x", "y"],
    ]

    @Test func isWrittenAndRead() throws {
        let thing = try Thing()
        #expect(thing.document == Self.document)
        #expect(try Thing(Self.document) == thing)
        #expect(
            try Thing(
                complete: Self.document.replacing(
                    "warning",
                    with: [
                        "code": "c", "severity": "error",
                        "message": "m", "remedy": "r",
                    ]
                )
            ).warning?.code == "c"
        )
    }

    @Test func isDescribed() {
        let schema = Thing.component.schema
        let keys = Self.document.fields.map(\.key)
        #expect(schema["properties"].fields.map(\.key) == keys)
        #expect(schema["required"] == .array(keys.map { .string($0) }))
        #expect(schema["additionalProperties"] == false)
        #expect(schema["properties.schema"] == ["type": "string", "enum": ["fanmesh.thing/v1"]])
        #expect(schema["properties.address"] == ["type": "string", "nullable": true])
        #expect(schema["properties.role"] == ["type": "string", "enum": ["voter", "standby", "spare"]])
        #expect(schema["properties.voters"] == ["type": "integer", "minimum": 3, "maximum": 9])
        #expect(
            schema["properties.warning"] == ["allOf": [["$ref": "#/components/schemas/Warning"]], "nullable": true]
        )
        #expect(schema["properties.checks"] == ["type": "array", "items": ["$ref": "#/components/schemas/Check"]])
    }

    @Test func hasItsDefaults() throws {
        let mapping = try Thing().overlay.mapping
        let bare: Document = ["name": "b", "role": "spare", "overlay": "240.0.0.0/8", "underlay": "172.31.16.0/20"]
        let thing = try Thing(bare)
        #expect(thing.overlay == OverlaySettings(mapping))
        #expect(thing.voters == 5 && !thing.isRight && thing.mtuBytes == nil && thing.words.isEmpty)
        #expect(throws: DocumentError(path: "right", problem: "is missing")) { try Thing(complete: bare) }
    }

    static let wrong: [(String, Document, String)] = [
        ("name", nil, "'name' is missing"), ("name", 7, "'name' is not a text"),
        ("right", "yes", "'right' is not true or false"), ("address", "10.0.0", "'address' is wrong: "),
        ("address", "0.0.0.0", "'address' is wrong: no"),
        ("role", "boss", "'role' is 'boss', not one of voter, standby, spare"),
        ("underlay", "240.0.0.0/20", "'overlay' does not fit"), ("vni", 0, "'vni' is 0; use 1 to 16777215"),
        ("mtu", "1400", "'mtu' is not a whole number from 576 to 65485"), ("voters", 10, "'voters' is 10; use 3 to 9"),
        ("last_seen_ms", -1, "'last_seen_ms' is -1; use 0 to"), ("warning", [], "'warning' is not an object"),
        ("checks", [[:]], "'check' is missing"), ("words", [1], "'words' is not a list of texts"),
    ]

    @Test(arguments: wrong)
    func namesTheKey(key: String, value: Document, text: String) throws {
        do throws(DocumentError) {
            _ = try Thing(Self.document.replacing(key, with: value))
            Issue.record("taken")
        } catch {
            #expect(error.description.hasPrefix(text), "\(error)")
        }
    }

    @Test func choicesThatAreOpenAreLeftOut() throws {
        #expect(OverlayChoices().document == [:])
        #expect(OverlayChoices.component.schema["required"] == .null)
        let choices = try OverlayChoices(["network": "fan9", "forwarder": "auto", "vni": nil])
        #expect(choices.document == ["network": "fan9", "forwarder": "auto"])
        let settings = try choices.settings(underlay: IPv4Prefix(parsing: "172.31.16.0/20"))
        #expect(settings == OverlaySettings(try Thing().overlay.mapping, network: "fan9"))
    }
}
