internal import FanAgent
internal import FanCore
internal import FanStore

/// The other members of this host's cluster, from what its agent last knew.
struct ClusterPeers {
    private let cluster: ClusterView?
    /// Why nothing is known, nil when this host is in no cluster.
    let problem: String?

    /// Reads what the agent keeps.
    init(_ invocation: Invocation) {
        do {
            cluster = try ClusterMemory(stateDirectory: invocation.stateDirectory).load()
            problem = nil
        } catch {
            cluster = nil
            problem = "\(error)"
        }
    }

    /// Whether this host's network comes from a cluster.
    func owns(_ spec: NetworkSpec) -> Bool {
        cluster?.settings?.network == spec.name && cluster?.settings?.mapping == spec.mapping
    }

    /// The member that has an underlay address.
    func name(of address: IPv4Address) -> String? {
        cluster?.members.first { $0.underlayAddress == address }?.name
    }

    /// The underlay address of the member with a name.
    func address(of name: String) -> IPv4Address? {
        cluster?.members.first { $0.name == name }?.underlayAddress
    }

    /// This node's name in the cluster.
    var ownName: String? { cluster?.name }

    /// The names of all members, shortened for a message.
    var names: String? { cluster?.members.map(\.name).listed(atMost: 10) }
}
