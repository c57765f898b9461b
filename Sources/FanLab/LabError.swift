public import FanCore
public import FanLink
public import FanProbe
internal import FanSystem

/// Why a lab, a namespace or a process in one failed.
public enum LabError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The process is not root.
    case notRoot
    /// The lab's name is not a DNS label.
    case invalidName(String)
    /// The number of nodes is out of range.
    case nodeCount(Int)
    /// The underlay has too few addresses for the nodes and the gateway.
    case underlayTooSmall(IPv4Prefix, nodes: Int, capacity: UInt64)
    /// The number of guests is out of range.
    case guestCount(Int)
    /// A node's slice has too few addresses for its guests.
    case sliceTooSmall(IPv4Prefix, guests: Int, capacity: UInt64)
    /// The underlay's MTU is out of range.
    case mtu(Int)
    /// Overlay and underlay do not go together.
    case mapping(FanMappingError)
    /// The kernel refused a change to links, addresses or routes.
    case kernel(NetlinkError, namespace: String)
    /// A system call failed.
    case system(operation: String, object: String, code: Int32)
    /// A lab of this name is in use by a live process.
    case running(name: String, owner: Int32?)
    /// A lab of this name was made to stay.
    case kept(name: String)
    /// There is no lab of this name.
    case noLab(name: String)
    /// The lab has no such node or guest.
    case noNode(String, lab: String, known: [String])
    /// The namespace exists and belongs to something else.
    case namespaceExists(String)
    /// There is no namespace of this name.
    case noNamespace(String)
    /// The program to run is not there or not executable.
    case executable(String, code: Int32)
    /// A fanmesh command on a node failed.
    case command(node: String, command: String, result: ProcessResult)
    /// A daemon ended, or did not get ready in time; the last lines of its log.
    case daemon(node: String, name: String, problem: String, log: String)
    /// A daemon goes on after a signal that should end it.
    case daemonStays(node: String, name: String, signal: Int32)
    /// What was waited for did not happen in time.
    case waited(Duration, for: String, last: String)
    /// The overlay's bridge is missing on a node, so guests have nothing to attach to.
    case noBridge(node: String, bridge: String)
    /// The sockets of a check could not be used.
    case probe(ProbeError, endpoint: String)
    /// The kernel's neighbour table, one for all namespaces of the machine, is too small for every pair.
    case neighbourTable(needed: Int, limit: Int)
    /// A signal asked to stop.
    case interrupted(signal: Int32)

    /// What was tried, what happened and what to do, in one line.
    public var description: String {
        switch self {
        case .notRoot: "a lab makes network namespaces, which needs root; run it with sudo"
        case .invalidName(let name): "lab name '\(name)' is not 1 to 63 of a-z, 0-9 and -, with no - at either end"
        case .nodeCount(let count):
            "a lab has 1 to \(LabPlan.nodeLimit) nodes (a kernel bridge has 1023 ports), not \(count)"
        case .underlayTooSmall(let underlay, let nodes, let capacity):
            "underlay \(underlay) has \(capacity) host addresses, and \(nodes) nodes with a gateway need \(nodes + 1); "
                + "use fewer nodes or a shorter prefix"
        case .guestCount(let count): "a node has 0 to \(LabPlan.guestLimit) guests, not \(count)"
        case .sliceTooSmall(let slice, let guests, let capacity):
            "slice \(slice) of a node holds \(capacity) guests, not \(guests); "
                + "use fewer guests, a larger overlay or a smaller underlay"
        case .mtu(let mtu):
            "mtu \(mtu) is outside \(LabPlan.mtuRange.lowerBound) to \(LabPlan.mtuRange.upperBound)"
        case .mapping(let error): error.description
        case .kernel(let error, let namespace): "in namespace \(namespace): \(error)"
        case .system(let operation, let object, let code): "\(operation) '\(object)': \(errnoText(code))"
        case .running(let name, let owner):
            "lab '\(name)' is in use by process \(owner.map(String.init) ?? "unknown"); "
                + "wait for it or interrupt it, or choose another --name"
        case .kept(let name):
            "lab '\(name)' is already up; end it with 'fanmesh lab down --name \(name)', or choose another --name"
        case .noLab(let name): "there is no lab '\(name)'; make one with 'fanmesh lab up --name \(name)'"
        case .noNode(let node, let lab, let known):
            "lab '\(lab)' has no '\(node)'; it has \(Self.abbreviated(known))"
        case .namespaceExists(let name): "network namespace '\(name)' exists and is not this lab's"
        case .noNamespace(let name): "there is no network namespace '\(name)'"
        case .executable(let path, let code): "cannot run '\(path)': \(errnoText(code))"
        case .command(let node, let command, let result):
            "\(node): '\(command)' \(result.explanation)"
        case .daemon(let node, let name, let problem, let log):
            "\(node): the \(name) \(problem)" + (log.isEmpty ? "; its log is empty" : "; the end of its log:\n\(log)")
        case .daemonStays(let node, let name, let signal): "\(node): the \(name) goes on after signal \(signal)"
        case .waited(let time, let what, let last): "waited \(time) for \(what) in vain; last seen: \(last)"
        case .noBridge(let node, let bridge): "\(node) has no bridge '\(bridge)'; bring the overlay up first"
        case .probe(let error, let endpoint): "\(endpoint): \(error)"
        case .neighbourTable(let needed, let limit):
            "checking every pair takes \(needed) neighbour entries and this machine's kernel holds \(limit); "
                + "use fewer nodes or guests, or run: sysctl -w net.ipv4.neigh.default.gc_thresh3=\(2 * needed)"
        case .interrupted(let signal): "interrupted by signal \(signal)"
        }
    }

    private static func abbreviated(_ names: [String]) -> String {
        guard names.count > 8 else { return names.joined(separator: ", ") }
        return names.prefix(3).joined(separator: ", ") + " … " + names.suffix(1).joined()
    }
}
