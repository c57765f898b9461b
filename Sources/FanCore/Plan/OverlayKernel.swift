/// The seam between the reconciler and the machine: real netlink and eBPF, or a fake in tests.
///
/// All calls block; an instance belongs to one thread and to the network namespace of the thread that made it.
public protocol OverlayKernel: AnyObject {
    /// Reads the host's links, addresses and routes.
    func hostFacts() throws -> HostFacts
    /// Reads what exists under a network's names, from facts that were just read.
    func observe(network: String, facts: HostFacts) throws -> ObservedState
    /// Does one step.
    func apply(_ change: Change) throws
    /// Tries whether the eBPF forwarder works here by loading its programs, which a later
    /// ``Change/attachClassifiers(_:link:replacing:)`` of the same spec uses.
    ///
    /// Throws ``ForwarderUnavailable`` when this kernel or process cannot; anything else is a failure of the moment.
    func prepare(_ classifiers: ClassifierSpec) throws
    /// Reads the counters of a network's classifiers; nil where none are attached.
    func counters(network: String) throws -> ForwardingCounters?
    /// Reads a sysctl below `/proc/sys`, such as `net/ipv4/ip_forward`; nil where it does not exist.
    func sysctl(_ name: String) throws -> String?
}

/// Why a forwarder cannot be used here, now or later.
public struct ForwarderUnavailable: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried and what the kernel said.
    public let description: String

    /// Gives the reason.
    public init(_ description: String) {
        self.description = description
    }
}
