internal import FanCore
internal import FanLab

/// The options of the lab's commands.
enum LabOptions {
    static let name = CommandOption(
        long: "name",
        kind: .value("NAME"),
        help: "the lab's name, to have several",
        defaultValue: "lab"
    )
    static let nodes = CommandOption(long: "nodes", kind: .value("N"), help: "how many hosts", defaultValue: "3")
    static let guests = CommandOption(
        long: "guests",
        kind: .value("G"),
        help: "how many guests on each host",
        defaultValue: "2"
    )
    static let underlay = CommandOption(
        long: "underlay",
        short: "u",
        kind: .value("PREFIX"),
        help: "the prefix that the hosts' addresses are spread over",
        defaultValue: "172.31.16.0/20"
    )
    static let mtu = CommandOption(long: "mtu", kind: .value("BYTES"), help: "the underlay's MTU", defaultValue: "1500")
    static let cluster = CommandOption(
        long: "cluster",
        kind: .negatable,
        help: "daemons on every host, and a cluster that they join with tokens; without, 'fanmesh up' on each",
        defaultValue: "true"
    )
    static let place = CommandArgument(name: "NODE", help: "a host or guest: node1, node1-guest1")
    static let words = CommandArgument(name: "COMMAND", arity: .rest, help: "the program and its arguments")

    static let all = [name, nodes, guests, underlay, MapVerb.overlay, mtu, NetworkOptions.forwarder, cluster]

    /// What runs on the hosts.
    struct Start: Sendable {
        /// How daemons are started, and how hosts become members.
        var cluster: ClusterStart
        /// How each host gets its overlay where there is no cluster; nil where there is one.
        var overlay: OverlayStart?
    }

    /// The lab's name.
    static func labName(_ invocation: Invocation) -> String { invocation.value(name) ?? "lab" }

    /// Reads the options into a plan.
    static func plan(_ invocation: Invocation) throws -> (LabPlan, Start) {
        guard
            let underlay = try invocation.value(underlay, as: { try IPv4Prefix(parsing: $0) }),
            let overlay = try invocation.value(MapVerb.overlay, as: { try IPv4Prefix(parsing: $0) })
        else { throw CommandFailure.badInput("an overlay and an underlay are needed") }
        let nodes = try invocation.integer(nodes, in: 1...LabPlan.nodeLimit) ?? 3
        let guests = try invocation.integer(guests, in: 0...LabPlan.guestLimit) ?? 2
        let mtu = try invocation.integer(mtu, in: LabPlan.mtuRange) ?? 1500
        let forwarder = invocation.value(NetworkOptions.forwarder) ?? "auto"
        let plan = try LabPlan(
            name: labName(invocation),
            underlay: underlay,
            overlay: overlay,
            nodes: nodes,
            guests: guests,
            mtuBytes: mtu
        )
        var start = Start(cluster: ClusterStart(initArguments: ["--forwarder", forwarder]))
        if !invocation.flag(cluster) {
            // Only eBPF forwarding needs no list of peers, and auto may turn out to be fdb.
            start.overlay = OverlayStart(namesPeers: forwarder != "ebpf", arguments: ["--forwarder", forwarder])
        }
        return (plan, start)
    }
}
