import FanCore
import Glibc
import TestSupport
import Testing

@testable import FanLink

/// The classifiers of the rig's VXLAN ports.
extension NamespaceRig {
    private static var ifindex: Int { unsafe Int(if_nametoindex("vx")) }

    func onPort<Result: Sendable>(
        _ side: Int,
        _ body: @escaping @Sendable (Int) throws -> Result
    ) throws -> Result {
        try inside(side) { try body(Self.ifindex) }
    }

    /// Attaches, going on with the counters of what is there.
    func attach(_ side: Int, _ spec: ClassifierSpec, by mechanism: ClassifierMechanism? = nil) throws {
        try onPort(side) { port in
            let classifiers = try LoadedClassifiers(spec, replacing: ClassifierKernel.attached(on: port))
            try ClassifierKernel.attach(classifiers, to: port, by: mechanism)
        }
    }

    /// Attaches on both sides.
    func attach(by mechanism: ClassifierMechanism? = nil) throws {
        for side in 0...1 { try attach(side, spec(side), by: mechanism) }
    }

    func attached(_ side: Int) throws -> AttachedClassifiers {
        try onPort(side) { try ClassifierKernel.attached(on: $0) }
    }

    func counters(_ side: Int) throws -> ForwardingCounters? {
        try onPort(side) { try ClassifierKernel.counters(on: $0) }
    }

    /// Expects counters, allowing for frames that are still on their way.
    func expect(_ side: Int, _ expected: ForwardingCounters, _ location: SourceLocation = #_sourceLocation) throws {
        _ = try eventually { try counters(side) == expected }
        let settled = try counters(side)
        #expect(settled == expected, sourceLocation: location)
    }
}

extension AttachedClassifiers {
    /// Whether each side carries exactly one classifier of ours, made from this spec.
    func carries(_ spec: ClassifierSpec) -> Bool {
        ClassifierDirection.allCases.allSatisfy { ours($0).map(\.ours?.digest) == [spec.digest] }
    }
}
