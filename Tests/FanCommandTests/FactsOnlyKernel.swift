import FanCore

/// A kernel that can only be asked for its facts and, where it is given what was observed, for a plan.
final class FactsOnlyKernel: OverlayKernel {
    private let facts: HostFacts
    private let observed: ObservedState?

    init(facts: HostFacts, observed: ObservedState? = nil) {
        self.facts = facts
        self.observed = observed
    }

    func hostFacts() -> HostFacts { facts }
    func observe(network: String, facts: HostFacts) throws -> ObservedState {
        guard let observed else { throw Unexpected(call: "observe") }
        return observed
    }
    func apply(_ change: Change) throws { throw Unexpected(call: "apply") }
    func prepare(_ classifiers: ClassifierSpec) throws {
        guard observed != nil else { throw Unexpected(call: "prepare") }
    }
    func counters(network: String) throws -> ForwardingCounters? { throw Unexpected(call: "counters") }
    func sysctl(_ name: String) throws -> String? { throw Unexpected(call: "sysctl") }

    struct Unexpected: Error {
        var call: String
    }
}
