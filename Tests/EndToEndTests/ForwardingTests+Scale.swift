import FanCore
import FanLab
import FanSystem
import TestSupport
import Testing

extension ForwardingTests {
    /// How many hosts there are changes nothing in the kernel, and nothing that `up` does.
    @Suite struct Scale {}
}

extension ForwardingTests.Scale {
    @Test func thousandsOfHostsAreReachedWithoutStateForAnyOfThem() throws {
        let lab = try Lab.hosts("e1scale", nodes: 2, guests: 0)
        let (node, far) = (lab.nodes[0], lab.nodes[1])
        try node.up("--forwarder", "ebpf")
        let hosts = try FarHosts(on: far, except: [node.address, far.address, lab.plan.gateway.address])
        #expect(hosts.hosts.count == 4091)
        let before = try KernelState(of: node)
        let dropsBefore = try node.counters()

        var random = SeededGenerator(seed: 20)
        let sample = Array(hosts.hosts.shuffled(using: &random).prefix(300))
        // The kernel has room for 1,024 neighbours in all namespaces together, two for each host here.
        for start in stride(from: 0, to: sample.count, by: 50) {
            let addresses = sample[start...].prefix(50).map { "\(FarHosts.bridge(of: $0))" }
            let fping = ["fping", "-q", "-r", "3", "-t", "1000", "-i", "1"] + addresses
            let process = try RunningProcess(ProcessRequest(fping), in: node.namespace)
            try hosts.answer(while: process)
            let result = try process.wait()
            #expect(result.isSuccess, "\(result.explanation)")
            for device in ["fan0", "eth0"] { try node.namespace.succeed("ip neighbour flush dev \(device)") }
        }

        #expect(hosts.answered == Set(sample))
        #expect(try KernelState(of: node) == before)
        #expect(before.tunnelEntries.count == 0)
        #expect(try node.drops(since: dropsBefore, expecting: FrameDrops()) == FrameDrops())
        let counted = try node.counters()
        #expect(counted.sent.forwarded >= dropsBefore.sent.forwarded + 2 * 300)
        #expect(counted.received.forwarded >= dropsBefore.received.forwarded + 2 * 300)
    }

    @Test func upDoesTheSameHoweverManyPeersThereAre() throws {
        let lab = try Lab.hosts("e1count", nodes: 1, guests: 0)
        let node = lab.nodes[0]
        // Once before, so that the node's id is there in both runs.
        try node.up("--forwarder", "ebpf")
        try node.namespace.succeed(node.fanmesh(Programs.fanmesh, ["down"]))

        let alone = try Self.kernelRequests(ofUpOn: node, peers: [])
        try node.namespace.succeed(node.fanmesh(Programs.fanmesh, ["down"]))
        let network = IPv4Address(172, 31, 16, 0)
        let peers = (100..<1100).map { network.advanced(by: $0) }.filter { $0 != node.address }
        let crowded = try Self.kernelRequests(ofUpOn: node, peers: peers)

        #expect(peers.count >= 999)
        #expect(crowded == alone)
        // What both consist of: changes by netlink, a map of eight counts, one of bounded size, and the programs.
        #expect(alone.contains("RTM_NEWLINK"))
        let maps = alone.filter { $0.hasPrefix("BPF_MAP_CREATE") }
        #expect(
            maps == [
                "BPF_MAP_CREATE BPF_MAP_TYPE_PERCPU_ARRAY of 8", "BPF_MAP_CREATE BPF_MAP_TYPE_LRU_HASH of 16384",
            ]
        )
        #expect(alone.contains("BPF_PROG_LOAD"))
    }

    /// The netlink messages and bpf calls of `fanmesh up`, in their order, as strace sees them.
    static func kernelRequests(ofUpOn node: LabNode, peers: [IPv4Address]) throws -> [String] {
        let trace = "\(node.directory)/trace"
        let arguments = ["up", "--underlay", "172.31.16.0/20", "--forwarder", "ebpf"]
        let up = node.fanmesh(Programs.fanmesh, arguments + peers.flatMap { ["--peer", "\($0)"] })
        try node.namespace.succeed(["strace", "-f", "-o", trace, "-e", "trace=sendmsg,sendto,bpf"] + up)
        let text = try #require(try File.read(trace))
        return text.split(separator: "\n").flatMap(Self.requests)
    }

    private static func requests(in line: Substring) -> [String] {
        if line.contains(" bpf(") {
            let command = Self.words(after: "bpf(", in: line).first ?? "?"
            guard command == "BPF_MAP_CREATE" else { return [command] }
            let type = Self.words(after: "map_type=", in: line).first ?? "?"
            let entries = Self.words(after: "max_entries=", in: line).first ?? "?"
            return ["\(command) \(type) of \(entries)"]
        }
        return Self.words(after: "nlmsg_type=", in: line)
    }

    /// The word behind each occurrence of a text.
    private static func words(after marker: String, in line: Substring) -> [String] {
        line.split(separator: marker, omittingEmptySubsequences: false).dropFirst().map { rest in
            String(rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" })
        }
    }
}

/// What the kernel of a node would have to hold for its peers, if it held anything.
private struct KernelState: Equatable {
    /// The VXLAN device's own entries: which host an Ethernet address is behind.
    var tunnelEntries: [String]
    var routes: [String]
    var rules: [String]
    var links: [String]
    var addresses: [String]

    init(of node: LabNode) throws {
        func lines(_ command: String) throws -> [String] {
            try node.namespace.succeed(command).split(separator: "\n").map(String.init).sorted()
        }
        // What the bridge learned, as any switch does, is not the VXLAN device's.
        tunnelEntries = try lines("bridge fdb show dev fan0-vx").filter { $0.contains("self") }
        routes = try lines("ip route show table all")
        rules = try lines("ip rule show")
        links = try lines("ip -brief link show")
        addresses = try lines("ip -brief address show")
    }
}
