internal import FanCore
internal import FanLab
internal import FanLink
internal import Glibc

/// Bringing an overlay up, from nothing and when it is there.
enum BringUp: Measurement {
    static let name = "up"
    static let summary = "fanmesh up from start to verified, against a script of ip, tc and bridge"

    static func run(_ context: BenchContext) throws -> [Row] {
        let lab = try context.makeHosts("benchup", nodes: 1)
        let host = BringUpHost(lab.nodes[0], context)
        let pins = try ProgramPins(of: host)
        // The state of a real host is on a disk.
        let state = "/var/tmp/fanmesh-bench-\(getpid())"
        defer { _ = try? ProgramRun.seconds(["rm", "-rf", state], context) }

        let count = context.pick(31, smoke: 5)
        let runs = try context.pairs(count, against: "script of ip, tc and bridge") {
            let cold = try host.up(state)
            let again = try host.up(state)
            try host.down(state)
            return (cold: cold, again: again)
        } peer: {
            let script = try host.runScript(pins.directory)
            try host.removeScripted()
            return (cold: script, again: script)
        }
        let repeats = runs.map(against: "up, cold") { ours, _ in (ours: ours.again, peer: ours.cold) }
        let peers = try host.peers(4000)
        let large = try context.pairs(count, against: "up, cold, no peer") {
            let cold = try host.up(state, peers)
            try host.down(state)
            return cold
        } peer: {
            let cold = try host.up(state)
            try host.down(state)
            return cold
        }
        return [
            runs.row("up, cold", in: .milliseconds, .atMost(1)) { $0.cold },
            repeats.row("up, already right", in: .milliseconds, .atMost(0.5)),
            large.row("up, cold, 4,000 peers", in: .milliseconds, nil),
        ]
    }
}

/// The host that the overlay is brought up on, in both ways.
private struct BringUpHost {
    let node: LabNode
    private let context: BenchContext

    init(_ node: LabNode, _ context: BenchContext) {
        (self.node, self.context) = (node, context)
    }

    private func run(_ command: [String]) throws -> Double {
        try ProgramRun.seconds(command, in: node.namespace, context)
    }

    private func fanmesh(_ verb: [String], _ state: String) -> [String] {
        [context.fanmesh, "--state-dir", state, "--runtime-dir", node.runtimeDirectory] + verb
    }

    /// Options that name as many hosts of the underlay as peers.
    func peers(_ count: Int) throws -> [String] {
        let first = node.plan.mapping.underlay.network
        let hosts = (1...UInt32(count + 1)).map { first.advanced(by: $0) }.filter { $0 != node.address }
        return hosts.prefix(count).flatMap { ["--peer", "\($0)"] }
    }

    func up(_ state: String, _ options: [String] = []) throws -> Double {
        let mapping = node.plan.mapping
        let verb = ["up", "--underlay", "\(mapping.underlay)", "--overlay", "\(mapping.overlay)"] + options
        return try run(fanmesh(verb, state))
    }

    /// Removes the overlay and what is remembered of it, so that the next `up` begins with nothing.
    func down(_ state: String) throws {
        _ = try run(fanmesh(["down"], state))
        _ = try run(["rm", "-rf", state])
    }

    /// What `up` makes, made by the usual tools: the same devices, settings and programs, and a look at the result.
    func runScript(_ pins: String) throws -> Double {
        let mtu = node.plan.overlayMTUBytes
        let script = """
            set -e
            ip link add fan0 address 0e:00:00:00:00:01 mtu \(mtu) type bridge
            echo 1 >/proc/sys/net/ipv6/conf/fan0/disable_ipv6
            ip link add fan0-vx address 0e:00:00:00:00:02 mtu \(mtu) master fan0 \
            type vxlan external dstport 8472 nolearning
            echo 1 >/proc/sys/net/ipv6/conf/fan0-vx/disable_ipv6
            ip address add \(node.slice.bridgeAddress) dev fan0
            tc qdisc add dev fan0-vx clsact
            tc filter add dev fan0-vx ingress bpf da object-pinned \(pins)/ingress
            tc filter add dev fan0-vx egress bpf da object-pinned \(pins)/egress
            ip link set fan0-vx up
            ip link set fan0 up
            ip -d link show fan0
            ip -d link show fan0-vx
            ip address show dev fan0
            bridge fdb show dev fan0-vx
            tc filter show dev fan0-vx ingress
            tc filter show dev fan0-vx egress
            """
        return try run(["sh", "-c", script])
    }

    func removeScripted() throws {
        _ = try run(["sh", "-c", "ip link delete fan0-vx && ip link delete fan0"])
    }

    /// Gives the programs of an overlay that is up names in a directory.
    func pin(to directory: String) throws {
        try node.namespace.run {
            let index = unsafe Int(if_nametoindex("fan0-vx"))
            try ClassifierKernel.pin(.ingress, of: index, to: "\(directory)/ingress")
            try ClassifierKernel.pin(.egress, of: index, to: "\(directory)/egress")
        }
    }
}

/// The very programs that fanmesh attaches, where `tc` finds them; gone with this value.
private struct ProgramPins: ~Copyable {
    let directory: String

    init(of host: BringUpHost) throws {
        let directory = "/run/fanmesh-bench"
        Self.remove(directory)
        guard unsafe mkdir(directory, 0o700) == 0, unsafe mount("bpf", directory, "bpf", 0, nil) == 0 else {
            Self.remove(directory)
            throw BenchError("cannot mount a BPF file system on \(directory)")
        }
        let state = "\(host.node.directory)/pins"
        do {
            _ = try host.up(state)
            try host.pin(to: directory)
            try host.down(state)
        } catch {
            Self.remove(directory)
            throw error
        }
        self.directory = directory
    }

    deinit { Self.remove(directory) }

    /// Also what a run that was killed left.
    private static func remove(_ directory: String) {
        unsafe _ = umount2(directory, Int32(MNT_DETACH))
        unsafe _ = rmdir(directory)
    }
}
