import FanCore
import OpenAPIValidator
import Testing

@Suite struct ClusterDocumentTests {
    /// Everything that is written as JSON and read back, with the schema that it has to fit.
    enum Kind: String, CaseIterable, Sendable {
        case config = "Config"
        case member = "Member"
        case status = "MemberAnswer"
        case row = "MemberRow"
        case list = "Members"
        case report = "Report"
        case snapshot = "Snapshot"
        case check = "Check"
        case warning = "Warning"

        /// A full one and a bare one.
        func samples() throws -> [Document] {
            var config = try ClusterFixture.config()
            config.mtuBytes = 1400
            config.forwarder = .fdb
            config.offlineAfter = .seconds(2)
            var member = ClusterFixture.member(2)
            member.pinnedRole = .standby
            member.failureDomain = "rack1"
            let report = try ClusterFixture.report(of: member)
            let full = MemberStatus(
                member: member,
                role: .voter,
                isLeader: true,
                state: .online,
                message: "fully operational",
                lastSeen: .milliseconds(1234),
                clockOffset: .milliseconds(-56),
                report: report
            )
            let bare = MemberStatus(member: member, role: .spare, state: .unknown, message: "")
            let rows = [
                MemberRow(full, mapping: config.mapping, members: 2), MemberRow(bare, mapping: nil, members: 2),
            ]
            switch self {
            case .config: return [config.document, try ClusterFixture.config().document]
            case .member: return [member.document, ClusterFixture.member(1).document]
            case .status:
                return [full.document(config.mapping), bare.document(nil)]
            case .row: return rows.map(\.document)
            case .list:
                let warning = Finding(code: "a-b", severity: .error, message: "m", remedy: "r")
                return [
                    MemberList(members: rows, leader: "node2", tolerance: "1 of 3 may fail", warnings: [warning])
                        .document,
                    MemberList(members: [], leader: nil, isStale: true, tolerance: "", warnings: []).document,
                ]
            case .report:
                return [report.document, NodeReport(nodeID: member.nodeID, version: "0", kernel: "6").document]
            case .snapshot: return [try ClusterFixture.snapshot().document, ClusterSnapshot().document]
            case .check:
                return [
                    HostCheck(check: "slice", result: .fail, detail: "taken", remedy: "choose").document,
                    HostCheck(check: "name", result: .ok, detail: "free").document,
                ]
            case .warning:
                return [Finding(code: "a-b", severity: .error, message: "m", remedy: "r").document]
            }
        }

        /// Reads one and writes it again.
        func rewritten(_ document: Document) throws(DocumentError) -> Document {
            switch self {
            case .config: try ClusterConfig(document).document
            case .member: try Member(document).document
            case .status: try MemberStatus(document).document(ClusterDocumentTests.mapping(in: document))
            case .row: try MemberRow(document).document
            case .list: try MemberList(document).document
            case .report: try NodeReport(document).document
            case .snapshot: try ClusterSnapshot(document).document
            case .check: try HostCheck(document).document
            case .warning: try Finding(document).document
            }
        }

        /// The keys without which there is a default.
        var optional: Set<String> {
            switch self {
            case .config:
                [
                    "network", "vni", "port", "mtu", "forwarder", "offline_after_s", "voters", "standbys",
                    "token_expiry_s", "administrators",
                ]
            case .member: ["failure_domain", "pinned_role"]
            case .status: Self.row.optional.union(["schema", "report"])
            case .row:
                [
                    "node_id", "slice", "pinned_role", "leader", "overlay", "last_seen_ms", "clock_offset_ms",
                    "failure_domain", "peers", "warnings",
                ]
            case .list: ["schema", "members", "leader", "stale", "tolerance", "warnings"]
            case .report:
                [
                    "schema", "network", "overlay", "underlay", "underlay_address", "slice", "forwarder", "mtu",
                    "underlay_mtu", "vni",
                    "port", "counters", "peers", "warnings", "generation",
                ]
            case .snapshot: ["schema", "name", "config", "members", "leader"]
            case .check: ["remedy"]
            case .warning: []
            }
        }

        /// The keys that are written but not read.
        var unread: Set<String> {
            switch self {
            case .status, .list, .report, .snapshot: ["schema"]
            default: []
            }
        }
    }

    /// The mapping that a status was written with: that of its slice.
    private static func mapping(in document: Document) -> FanMapping? {
        document["slice"] == .null ? nil : try? ClusterFixture.config().mapping
    }

    @Test(arguments: Kind.allCases)
    func fitsItsSchema(kind: Kind) throws {
        for sample in try kind.samples() {
            #expect(OpenAPIValidator().problems(sample, schema: kind.rawValue) == [])
        }
    }

    /// What is described is what is written, key by key in the same order.
    @Test(arguments: Kind.allCases)
    func writesWhatIsDescribed(kind: Kind) throws {
        let schema = OpenAPI.document["components.schemas.\(kind.rawValue)"]
        let keys = schema["properties"].fields.map(\.key)
        for sample in try kind.samples() {
            #expect(sample.fields.map(\.key) == keys)
        }
        #expect(schema["required"] == .array(keys.map { .string($0) }))
    }

    @Test(arguments: Kind.allCases)
    func roundTrips(kind: Kind) throws {
        for sample in try kind.samples() {
            let read = try Document(json: sample.compactJSON)
            #expect(read == sample)
            #expect(try kind.rewritten(read) == sample)
        }
    }

    @Test(arguments: Kind.allCases)
    func missesEachKey(kind: Kind) throws {
        let sample = try #require(try kind.samples().first)
        for key in sample.fields.map(\.key) {
            let bare = sample.replacing(key, with: nil)
            for document in [bare, sample.replacing(key, with: .null)] {
                if kind.optional.contains(key) {
                    #expect(throws: Never.self, "\(key)") { try kind.rewritten(document) }
                } else {
                    #expect(throws: DocumentError(path: key, problem: "is missing")) { try kind.rewritten(document) }
                }
            }
            #expect(!OpenAPIValidator().problems(bare, schema: kind.rawValue).isEmpty, "\(key)")
        }
        #expect(!OpenAPIValidator().problems(sample.adding("extra", 1), schema: kind.rawValue).isEmpty)
    }

    @Test(arguments: Kind.allCases)
    func refusesEachWrongKind(kind: Kind) throws {
        let sample = try #require(try kind.samples().first)
        for field in sample.fields {
            // No key takes both of these.
            for wrong: Document in [.real(0.5), ["x": [.real(0.5)]], [[1]], "\u{1b}?"] {
                let isText = if case .string = field.value { true } else { false }
                if wrong == "\u{1b}?" && isText { continue }
                let document = sample.replacing(field.key, with: wrong)
                #expect(!OpenAPIValidator().problems(document, schema: kind.rawValue).isEmpty, "\(field.key) \(wrong)")
                if kind.unread.contains(field.key) { continue }
                do throws(DocumentError) {
                    _ = try kind.rewritten(document)
                    Issue.record("\(kind) takes \(wrong) as \(field.key)")
                } catch {
                    #expect(!error.problem.isEmpty)
                }
            }
        }
    }

    /// Values of the right kind that make no sense, with the key that is named.
    static let senseless: [(Kind, String, Document, String)] = [
        (.config, "overlay", "240.0.0.1/8", "overlay"), (.config, "underlay", "172.31.16.0", "underlay"),
        (.config, "underlay", "240.0.0.0/20", "overlay"), (.config, "vni", -1, "vni"),
        (.config, "port", 65_536, "port"),
        (.config, "vni", .number(1 << 33), "vni"), (.config, "forwarder", "magic", "forwarder"),
        (.config, "offline_after_s", .number(Int128(Int64.max) + 1), "offline_after_s"),
        (.member, "id", -1, "id"), (.member, "address", "172.31.16.5:0", "address"),
        (.member, "address", "node1:8473", "address"), (.member, "address", "1.2.3.4:5:6", "address"),
        (.member, "underlay_address", "172.31.16.256", "underlay_address"),
        (.member, "pinned_role", "boss", "pinned_role"), (.member, "joined_at", .number(Int128.max), "joined_at"),
        (.status, "role", "boss", "role"), (.status, "state", "online", "state"),
        (.row, "role", "boss", "role"), (.row, "peers", ["total": 1], "reachable"),
        (.row, "warnings", ["total": 1, "codes": [1]], "codes"), (.list, "members", [[:]], "name"),
        (.report, "verdict", "HEALTHY", "verdict"), (.report, "slice", "240.1.0.1/12", "slice"),
        (.report, "underlay", "240.0.0.0/20", "overlay"), (.report, "forwarder", "auto", "forwarder"),
        (.report, "counters", ["forwarded": -1, "spoofed": 0, "outside": 0, "unsupported": 0], "forwarded"),
        (.report, "counters", [:], "forwarded"), (.report, "peers", [["name": "a"]], "reachable"),
        (.report, "peers", [7], "name"), (.report, "warnings", [["code": "a"]], "severity"),
        (.snapshot, "state", "gone", "state"), (.snapshot, "config", ["cluster_id": "c"], "overlay"),
        (.snapshot, "members", [[:]], "id"), (.check, "result", "good", "result"),
        (.warning, "severity", "bad", "severity"),
    ]

    @Test(arguments: senseless)
    func namesTheKey(kind: Kind, key: String, value: Document, named: String) throws {
        let sample = try #require(try kind.samples().first)
        do throws(DocumentError) {
            _ = try kind.rewritten(sample.replacing(key, with: value))
            Issue.record("taken")
        } catch {
            #expect(error.path == named)
        }
    }

    /// Times far out of range are refused, never trapped on.
    @Test(arguments: [1e300, -1e300, -0.001, 0, 0.5, 86_400_000, 86_400_000.5])
    func refusesTimes(milliseconds: Double) throws {
        let report = try ClusterFixture.report(of: ClusterFixture.member(1))
        let document = report.document.replacing(
            "peers",
            with: [["name": "a", "reachable": true, "rtt_ms": .real(milliseconds), "diagnosis": ""]]
        )
        guard milliseconds >= 0, milliseconds <= 86_400_000 else {
            #expect(throws: DocumentError.self) { try NodeReport(document) }
            return
        }
        let time = try #require(try NodeReport(document).reachability.peers.first?.roundTrip)
        #expect(time == .nanoseconds(Int64(milliseconds * 1e6)))
    }

    /// What a member or a leader answers is looked at as closely as a request: each number, at the ends of its range
    /// and beyond.
    @Test(arguments: Kind.allCases)
    func takesEachNumberWithinItsRangeOnly(kind: Kind) throws {
        let sample = try #require(try kind.samples().first)
        for number in OpenAPI.describedNumbers(ofSchema: kind.rawValue) {
            let key = try #require(number.path.last)
            let range = try #require(number.range, "\(kind) \(number)")
            let whole: [Int128] = [
                range.lowerBound, range.upperBound, range.lowerBound - 1, range.upperBound + 1, 0, -1,
                Int128(Int64.min), Int128(Int64.max), 1 << 64, .min, .max,
            ]
            for value in whole.map({ Document.integer($0) }) + [.real(1.5), .real(1e308), .real(-1e308)] {
                let document = sample.replacing(number.path[...], with: value)
                if number.takes(value) {
                    #expect(throws: Never.self, "\(kind) \(number) \(value)") { try kind.rewritten(document) }
                } else {
                    do throws(DocumentError) {
                        _ = try kind.rewritten(document)
                        Issue.record("\(kind) takes \(number) = \(value)")
                    } catch { #expect(error.path == key, "\(kind) \(number) \(value)") }
                }
            }
        }
    }

    @Test func onlyLastingChangesCount() throws {
        let report = try ClusterFixture.report(of: ClusterFixture.member(1))
        var other = report
        other.counters = nil
        other.generation = 9
        other.reachability.peers[0].roundTrip = .seconds(1)
        #expect(report.lasting == other.lasting)
        other.reachability.peers[0].isReachable = false
        #expect(report.lasting != other.lasting)
    }

    static let addresses: [(String, String)] = [
        ("172.31.16.5", "172.31.16.5:8473"), ("172.31.16.5:1", "172.31.16.5:1"), ("0.0.0.0:65535", "0.0.0.0:65535"),
    ]

    @Test(arguments: addresses)
    func readsSocketAddresses(text: String, expected: String) throws {
        #expect(try SocketAddress(parsing: text).description == expected)
    }

    @Test(arguments: [
        "", ":", "1.2.3.4:", ":8473", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:+1", "1.2.3.4:1 ", "1.2.3:1", "[::1]:1",
        "1.2.3.4::1", "1.2.3.4:1:1", "localhost:1", "1.2.3.4:１",
    ])
    func refusesSocketAddresses(text: String) {
        #expect(throws: ClusterInputError.badAddress(text)) { try SocketAddress(parsing: text) }
    }
}

extension Document {
    /// The document with another value at a place; an item of a list counts as `0`.
    fileprivate func replacing(_ path: ArraySlice<String>, with value: Document) -> Document {
        guard let key = path.first else { return value }
        if case .array(let items) = self {
            return .array(items.prefix(1).map { $0.replacing(path.dropFirst(), with: value) } + items.dropFirst())
        }
        return .object(
            fields.map { field in
                guard field.key == key else { return field }
                return Field(key: key, value: field.value.replacing(path.dropFirst(), with: value))
            }
        )
    }

    fileprivate func adding(_ key: String, _ value: Document) -> Document {
        .object(fields + [Field(key: key, value: value)])
    }
}
