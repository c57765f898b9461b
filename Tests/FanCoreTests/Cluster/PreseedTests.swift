import FanCore
import Testing

@Suite struct PreseedTests {
    static let full: Document = [
        "name": "node1", "address": "172.31.16.5:9000", "underlay": "172.31.16.0/20", "overlay": "240.0.0.0/8",
        "network": "fan1", "vni": 77, "port": 8472, "mtu": 1450, "forwarder": "ebpf", "failure_domain": "rack1",
        "offline_after_s": 30, "voters": 5, "standbys": 1, "on_address_change": "renumber", "metrics": "127.0.0.1:9473",
        "metrics_file": "/run/a.prom",
    ]

    @Test func roundTrips() throws {
        let preseed = try Preseed(Self.full)
        #expect(preseed.document == Self.full)
        #expect(preseed.address?.port == 9000)
        #expect(preseed.overlay.underlay == .prefix(try IPv4Prefix(parsing: "172.31.16.0/20")))
        #expect(preseed.offlineAfter == .seconds(30))
        #expect(preseed.overlay.forwarder?.kind == .ebpf)
        #expect(try Preseed([:]) == Preseed())
        #expect(try Preseed(.null) == Preseed())
        #expect(Preseed().document == [:])
        #expect(Set(Self.full.fields.map(\.key)).union(["cluster_token"]) == Set(Preseed.keys))
    }

    /// Each key alone, absent and null.
    @Test(arguments: full.fields.map(\.key))
    func everyKeyIsOptional(key: String) throws {
        let alone = Self.full.fields.filter { $0.key == key }
        #expect(try Preseed(.object(alone)).document == .object(alone))
        let without = Self.full.replacing(key, with: nil)
        #expect(try Preseed(without).document == without)
        #expect(try Preseed(Self.full.replacing(key, with: .null)).document == without)
        #expect(throws: DocumentError.self) { try Preseed(Self.full.replacing(key, with: [1])) }
        #expect(throws: DocumentError.self) { try Preseed(Self.full.replacing(key, with: 0.5)) }
    }

    static let values: [(String, Document)] = [
        ("underlay", "auto"), ("underlay", "eth0"), ("underlay", "via 10.0.0.1"), ("address", "172.31.16.5:8473"),
        ("forwarder", "auto"), ("forwarder", "fdb"), ("standbys", 0), ("voters", 3), ("voters", 9),
        ("offline_after_s", 2), ("offline_after_s", 3600), ("mtu", 576), ("vni", 1), ("vni", 16_777_215), ("port", 1),
    ]

    @Test(arguments: values)
    func takes(key: String, value: Document) throws {
        let document: Document = .object([Document.Field(key: key, value: value)])
        #expect(try Preseed(document).document == document)
    }

    static let refused: [(Document, String)] = [
        (["nmae": "a"], "'nmae' is not a key of a preseed; did you mean 'name'?"),
        (["voter": 3], "'voter' is not a key of a preseed; did you mean 'voters'?"),
        (["offline_after": 3], "did you mean 'offline_after_s'?"), (["underly": "auto"], "did you mean 'underlay'?"),
        (["zzzzzz": 1], "'zzzzzz' is not a key of a preseed; use name, address, underlay,"),
        (.object([.init(key: "vni", value: 1), .init(key: "vni", value: 2)]), "'vni' is there twice"),
        ([], "is not a list of keys with values"), ("name", "is not a list of keys with values"),
        (["name": "Node 1"], "'name' is wrong: 'Node 1' is not a member's name"), (["name": 7], "'name' is not a text"),
        (["address": "here"], "'address' is wrong"), (["underlay": "172.31.16.1/20"], "write 172.31.16.0/20"),
        (["underlay": "172.31.16.1"], "'underlay' is wrong"), (["overlay": "240.0.0.0"], "'overlay' is wrong"),
        (["network": "a-very-long-name"], "'network' is wrong"), (["network": "a b"], "'network' is wrong"),
        (["vni": 0], "'vni' is 0; use 1 to 16777215"), (["vni": 16_777_216], "use 1 to 16777215"),
        (["port": 0], "'port' is 0; use 1 to 65535"), (["port": 65_536], "use 1 to 65535"),
        (["mtu": 575], "'mtu' is 575; use 576 to 65485"), (["mtu": 65_486], "use 576 to 65485"),
        (["forwarder": "magic"], "'forwarder' is 'magic', not one of auto, ebpf, fdb"),
        (["failure_domain": "a b"], "'failure_domain' is wrong"),
        (["offline_after_s": 1], "'offline_after_s' is 1; use 2 to 3600"), (["offline_after_s": 3601], "use 2 to 3600"),
        (["voters": 4], "'voters' is wrong: 4 voters cannot be asked for"),
        (["voters": 1], "'voters' is 1; use 3 to 9"),
        (["standbys": 6], "'standbys' is 6; use 0 to 5"), (["standbys": -1], "use 0 to 5"),
        (["vni": .integer(.max)], "use 1 to 16777215"), (["cluster_token": "x"], "'cluster_token' is wrong"),
    ]

    @Test(arguments: refused)
    func refuses(document: Document, part: String) {
        do throws(DocumentError) {
            _ = try Preseed(document)
            Issue.record("taken: \(document)")
        } catch {
            #expect(error.description.contains(part), "\(error)")
        }
    }

    @Test func joinersChooseOnlyWhatIsTheirs() throws {
        let token = Document.string(try JoinTokenTests.token().encoded)
        let joiner: Document = [
            "name": "node2", "address": "172.31.16.6:8473", "failure_domain": "rack2",
            "on_address_change": "renumber", "cluster_token": token,
        ]
        let preseed = try Preseed(joiner)
        #expect(preseed.document == joiner)
        #expect(preseed.withoutSecrets.document == joiner.replacing("cluster_token", with: nil))
        let own: Set = ["name", "address", "failure_domain", "on_address_change", "metrics", "metrics_file"]
        for field in Self.full.fields where !own.contains(field.key) {
            do throws(DocumentError) {
                _ = try Preseed(.object([Document.Field(key: "cluster_token", value: token), field]))
                Issue.record("taken: \(field.key)")
            } catch {
                #expect(error.path == field.key)
                #expect(error.problem.contains("cannot be chosen by a joiner"))
            }
        }
        #expect(throws: Never.self) { try Preseed(["cluster_token": token, "vni": nil]) }
    }

    @Test func dumpsACluster() throws {
        var config = try ClusterFixture.config()
        config.mtuBytes = 1400
        config.forwarder = .fdb
        let preseed = Preseed(config: config, member: ClusterFixture.member(1))
        #expect(try Preseed(preseed.document) == preseed)
        #expect(preseed.document["forwarder"] == "fdb")
        #expect(preseed.document["underlay"] == "172.31.16.0/20")
        #expect(preseed.document["cluster_token"] == .null)
        #expect(ForwarderChoice(nil) == .auto && ForwarderChoice.auto.kind == nil)
    }

    static let configs: [(@Sendable (inout ClusterConfig) -> Void, String?)] = [
        ({ _ in }, nil), ({ $0.network = "Fan" }, "network"), ({ $0.vni = 0 }, "vni"), ({ $0.vni = 1 << 24 }, "vni"),
        ({ $0.port = 0 }, "port"), ({ $0.mtuBytes = 100 }, "mtu"), ({ $0.mtuBytes = 1450 }, nil),
        ({ $0.offlineAfter = .seconds(1) }, "offline_after_s"),
        ({ $0.offlineAfter = .seconds(3601) }, "offline_after_s"),
        ({ $0.voterTarget = 4 }, "voters"), ({ $0.standbyTarget = 6 }, "standbys"),
        ({ $0.standbyTarget = -1 }, "standbys"),
        ({ $0.tokenExpiry = .zero }, "token_expiry_s"), ({ $0.tokenExpiry = .seconds(365 * 86_400) }, nil),
        ({ $0.tokenExpiry = .seconds(365 * 86_400 + 1) }, "token_expiry_s"),
    ]

    @Test(arguments: 0..<configs.count)
    func checksConfigurations(index: Int) throws {
        let (change, key) = Self.configs[index]
        var config = try ClusterFixture.config()
        change(&config)
        do throws(DocumentError) {
            try config.validate()
            #expect(key == nil)
        } catch {
            #expect(error.path == key)
            #expect(!error.problem.isEmpty)
        }
    }
}
