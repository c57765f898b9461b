internal import FanCore
internal import FanLab

/// The options of the lab's commands.
enum LabOptions {
    static let name = CommandOption.value(
        "name",
        name: "NAME",
        help: "the lab's name, to have several",
        default: "lab"
    )
    static let nodes = CommandOption.value("nodes", name: "N", help: "how many hosts", default: "3")
    static let guests = CommandOption.value("guests", name: "G", help: "how many guests on each host", default: "2")
    static let underlay = CommandOption.value(
        "underlay",
        short: "u",
        name: "PREFIX",
        help: "the prefix that the hosts' addresses are spread over",
        default: "172.31.16.0/20"
    )
    static let mtu = CommandOption.value("mtu", name: "BYTES", help: "the underlay's MTU", default: "1500")
    static let cluster = CommandOption.negatable(
        "cluster",
        default: true,
        help: "daemons on every host, and a cluster that they join with tokens; without, 'fanmesh up' on each"
    )
    static let place = CommandArgument("NODE", help: "a host or guest: node1, node1-guest1")
    static let words = CommandArgument("COMMAND", .rest, help: "the program and its arguments")

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
    static func plan(_ invocation: Invocation) throws(CommandFailure) -> (LabPlan, Start) {
        guard
            let underlay = try invocation.value(underlay, as: { try IPv4Prefix(parsing: $0) }),
            let overlay = try invocation.value(MapVerb.overlay, as: { try IPv4Prefix(parsing: $0) })
        else { throw .badInput("an overlay and an underlay are needed") }
        let nodes = try invocation.integer(nodes, in: 1...LabPlan.nodeLimit) ?? 3
        let guests = try invocation.integer(guests, in: 0...LabPlan.guestLimit) ?? 2
        let mtu = try invocation.integer(mtu, in: LabPlan.mtuRange) ?? 1500
        let forwarder = invocation.value(NetworkOptions.forwarder) ?? "auto"
        do throws(LabError) {
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
        } catch {
            throw CommandFailure(error)
        }
    }
}
