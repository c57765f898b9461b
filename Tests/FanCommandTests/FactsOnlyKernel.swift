import FanCore

/// A kernel that can only be asked for its facts.
final class FactsOnlyKernel: OverlayKernel {
    private let facts: HostFacts

    init(facts: HostFacts) { self.facts = facts }

    func hostFacts() -> HostFacts { facts }
    func observe(network: String, facts: HostFacts) throws -> ObservedState { throw Unexpected(call: "observe") }
    func apply(_ change: Change) throws { throw Unexpected(call: "apply") }
    func prepare(_ classifiers: ClassifierSpec) throws { throw Unexpected(call: "prepare") }
    func counters(network: String) throws -> ForwardingCounters? { throw Unexpected(call: "counters") }
    func sysctl(_ name: String) throws -> String? { throw Unexpected(call: "sysctl") }

    struct Unexpected: Error {
        var call: String
    }
}
