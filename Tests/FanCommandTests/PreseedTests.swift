import FanCore
import Testing

@testable import FanCommand

@Suite struct PreseedTests {
    private func read(_ text: String) throws -> Preseed {
        try Preseed(try YAMLDocument(parsing: Array(text.utf8)).document)
    }

    @Test func readsEveryKeyAndWritesItBack() throws {
        let text = """
            name: node1
            address: "172.31.16.5:9000"
            underlay: 172.31.16.0/20
            overlay: 250.0.0.0/8
            network: fan1
            vni: 7
            port: 8500
            mtu: 1400
            forwarder: fdb
            failure_domain: rack1
            offline_after_s: 5
            voters: 5
            standbys: 1
            on_address_change: renumber
            metrics: "127.0.0.1:9473"
            metrics_file: /var/lib/fan.prom

            """
        let preseed = try read(text)
        #expect(preseed.document.yaml == text)
        #expect(preseed.address?.port == 9000)
        #expect(try read(preseed.document.yaml) == preseed)
        #expect(Set(Preseed.keys) == Set(preseed.document.fields.map(\.key) + ["cluster_token"]))
    }

    @Test func aMembersPreseedMakesTheSameClusterAgain() throws {
        var config = Cluster.config
        config.mtuBytes = 1300
        config.forwarder = .fdb
        config.voterTarget = 5
        let preseed = Preseed(config: config, member: Cluster.member(1))
        #expect(try read(preseed.document.yaml) == preseed)
        var body = preseed.document
        body.set("cluster_id", .string(config.clusterID))
        #expect(try ClusterConfig(body) == config)
    }

    @Test func aTokenMakesItAJoin() throws {
        let token = try Cluster.token()
        let preseed = try read("name: node2\ncluster_token: \(token)\naddress: 172.31.17.6\n")
        #expect(preseed.clusterToken == token)
    }

    /// Each names the line, and the key where there is one.
    @Test(arguments: [
        ("", "the document is empty"),
        ("[]", "the document is not a list of keys with values"),
        ("node1", "the document is not a list of keys with values"),
        ("- name: node1", "the document is not a list of keys with values"),
        ("7", "the document is not a list of keys with values"),
        ("nmae: node1", "line 1: 'nmae' is not a key of a preseed; did you mean 'name'?"),
        ("name: node1\ncluster: {}", "line 2: 'cluster' is not a key of a preseed; did you mean 'cluster_token'?"),
        ("name: node1\ncolour: red", "line 2: 'colour' is not a key of a preseed"),
        ("name: Node1", "line 1: 'name' is wrong: 'Node1' is not a member's name"),
        ("name: 7", "line 1: 'name' is not a text"),
        ("name: true", "line 1: 'name' is not a text"),
        ("name: [node1]", "line 1: 'name' is not a text"),
        ("name: {a: b}", "line 1: 'name' is not a text"),
        ("name: ''", "line 1: 'name' is wrong: '' is not a member's name"),
        ("name: -node", "line 1: 'name' is wrong: '-node' is not a member's name"),
        ("name: a.b", "line 1: 'name' is wrong: 'a.b' is not a member's name"),
        ("name: node1\nname: node2", "line 2: the key 'name' is there twice"),
        ("name: yes", "line 1: 'yes' is unclear"),
        ("name: &a node1", "line 1: anchors are not allowed here"),
        ("name: *a", "line 1: aliases are not allowed here"),
        ("name: !x node1", "line 1: tags are not allowed here"),
        ("name: node1\n---\nname: node2", "line 2: a second document begins here"),
        ("name: node1\n<<: {vni: 7}", "line 2: merge keys are not allowed here"),
        ("name: 'node1", "line 1: "),
        ("name: [node1", "line 2: "),
        ("\tname: node1", "line 1: "),
        ("name: a: b", "line 1: "),
        ("address: node1", "line 1: 'address' is wrong: 'node1' is not an address"),
        ("address: 172.31.16.5:0", "line 1: 'address' is wrong: '172.31.16.5:0' is not an address"),
        ("address: 172.31.16.5:99999", "line 1: 'address' is wrong: '172.31.16.5:99999' is not an address"),
        ("address: 172.31.16", "line 1: 'address' is wrong: '172.31.16' is not an address"),
        ("address: 8473", "line 1: 'address' is not a text"),
        ("underlay: 172.31.16.5", "line 1: 'underlay' is wrong: "),
        ("underlay: 172.31.16.1/20", "line 1: 'underlay' is wrong: prefix 172.31.16.1/20 has host bits set"),
        ("underlay: 172.31.16.0/33", "line 1: 'underlay' is wrong: "),
        ("underlay: via nowhere", "line 1: 'underlay' is wrong: "),
        ("underlay_address: 172.31.16.5", "line 1: 'underlay_address' is not a key of a preseed"),
        ("overlay: 240", "line 1: 'overlay' is not a text"),
        ("overlay: 240.0.0.1/8", "line 1: 'overlay' is wrong: prefix 240.0.0.1/8 has host bits set"),
        ("overlay: auto", "line 1: 'overlay' is wrong: "),
        ("network: a-very-long-name", "line 1: 'network' is wrong: network name 'a-very-long-name' is too long"),
        ("network: FAN", "line 1: 'network' is wrong: "),
        ("vni: 0", "line 1: 'vni' is 0; use 1 to 16777215"),
        ("vni: 16777216", "line 1: 'vni' is 16777216; use 1 to 16777215"),
        ("vni: seven", "line 1: 'vni' is not a whole number"),
        ("vni: 7.5", "line 1: 'vni' is not a whole number"),
        ("port: 65536", "line 1: 'port' is 65536; use 1 to 65535"),
        ("port: '8472'", "line 1: 'port' is not a whole number"),
        ("port: 0x2118", "line 1: '0x2118' is unclear"),
        ("mtu: 60", "line 1: 'mtu' is 60; use 576 to 65485"),
        ("mtu: -1", "line 1: 'mtu' is -1; use 576 to 65485"),
        (
            "mtu: 99999999999999999999999999999999999999999999",
            "line 1: '99999999999999999999999999999999999999999999' is"
        ),
        ("forwarder: bpf", "line 1: 'forwarder' is 'bpf', not one of auto, ebpf, fdb"),
        ("offline_after_s: 1", "line 1: 'offline_after_s' is 1; use 2 to 3600"),
        ("voters: 1", "line 1: 'voters' is 1; use 3 to 9"),
        ("voters: 4", "line 1: 'voters' is wrong: "),
        ("standbys: 16", "line 1: 'standbys' is 16; use 0 to 5"),
        ("token: abc", "line 1: 'token' is not a key of a preseed"),
        ("failure_domain: 'rack 1'", "line 1: 'failure_domain' is wrong: "),
        ("cluster_token: abc", "line 1: 'cluster_token' is wrong: the token is malformed"),
        ("name: node2\n\n# why\nvni: nine\n", "line 4: 'vni' is not a whole number"),
    ])
    func refusesABadOne(text: String, message: String) throws {
        let outcome = try Node(input: TextInput(text)).run("init --preseed")
        #expect(outcome.code == .usage)
        #expect(outcome.output == "")
        #expect(outcome.error.hasPrefix("Error: the preseed: \(message)"), "\(outcome.error)")
    }

    @Test func aJoinTakesTheOverlayFromTheCluster() throws {
        let text = "cluster_token: \(try Cluster.token())\noverlay: 240.0.0.0/8\n"
        let outcome = try Node(input: TextInput(text)).run("init --preseed -")
        #expect(outcome.code == .usage)
        #expect(
            outcome.error
                == "Error: the preseed: line 2: 'overlay' cannot be chosen by a joiner, since the cluster has it; leave "
                + "it out beside cluster_token\n"
        )
    }

    @Test func saysThatAFileIsMissing() throws {
        let outcome = try Node().run("init --preseed=/nonexistent/p.yaml")
        #expect(outcome.code == .usage)
        #expect(
            outcome.error
                == "Error: the preseed '/nonexistent/p.yaml': open '/nonexistent/p.yaml': "
                + "no such file or directory (ENOENT)\n"
        )
    }

    @Test func hasALimit() throws {
        let text = "name: node1 #" + String(repeating: "x", count: 1 << 20)
        let outcome = try Node(input: TextInput(text)).run("init --preseed")
        #expect(
            outcome == Outcome(code: .usage, output: "", error: "Error: the preseed is larger than 1048576 bytes\n")
        )
    }
}
