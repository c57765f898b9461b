import FanCore
import FanSystem
import Glibc
import Testing

@testable import FanLink

/// Attaching, replacing and detaching beside others' programs.
@Suite(.enabled(if: geteuid() == 0)) struct ClassifierLifecycleTests {
    /// A program that lets everything pass.
    private static func bystander(_ name: String) throws -> BPFProgram {
        var assembler = BPFAssembler()
        assembler.set(.r0, -1)
        assembler.exit()
        return try BPFProgram(assembler.assemble(), name: name, map: CounterMap())
    }

    @Test(arguments: ClassifierMechanism.allCases)
    func replacingKeepsCounters(mechanism: ClassifierMechanism) throws {
        let rig = try NamespaceRig()
        let specs = [rig.spec(0), rig.spec(1)]
        let (own, other) = try (rig.guest(0), rig.guest(1))
        let third = try rig.mapping.slice(of: IPv4Address(172, 31, 30, 7)).firstGuest
        #expect(try rig.counters(0) == nil)
        try rig.attach(0, specs[1], by: mechanism)
        let wrong = try rig.attached(0)
        #expect(wrong.carries(specs[1]) && !wrong.carries(specs[0]))
        try rig.expect(0, ForwardingCounters())
        try rig.inside(0) { try RawSocket("g1").send(Frames.arpRequest(other, third)) }
        try rig.expect(0, ForwardingCounters(forwarded: 1))

        try rig.attach(0, specs[0], by: mechanism)
        let right = try rig.attached(0)
        #expect(right.carries(specs[0]) && !right.carries(specs[1]))
        #expect(right.programs.count == 2)
        #expect(right.digest(.ingress) == specs[0].digest)
        try rig.inside(0) { try RawSocket("g1").send(Frames.arpRequest(own, third)) }
        try rig.expect(0, ForwardingCounters(forwarded: 2))

        try rig.onPort(0) { try ClassifierKernel.detach(from: $0) }
        try rig.onPort(0) { try ClassifierKernel.detach(from: $0) }
        #expect(try rig.attached(0) == AttachedClassifiers(programs: []))
        #expect(try rig.counters(0) == nil)
    }

    @Test(arguments: ClassifierMechanism.allCases)
    func theOtherMechanismIsReplacedToo(first: ClassifierMechanism) throws {
        let rig = try NamespaceRig()
        let second: ClassifierMechanism = first == .tcx ? .clsact : .tcx
        try rig.attach(0, rig.spec(0), by: first)
        try rig.attach(0, rig.spec(0), by: second)
        let found = try rig.attached(0)
        #expect(found.programs.map(\.mechanism) == [second, second])
        #expect(found.carries(rig.spec(0)))
        try rig.attach(0, rig.spec(1))
        let kept = try rig.attached(0)
        #expect(kept.programs.map(\.mechanism) == [second, second])
    }

    @Test func foreignProgramsAreLeftAlone() throws {
        let rig = try NamespaceRig()
        let spec = rig.spec(0)
        try rig.onPort(0) { port in
            let bystander = try Self.bystander("bystander")
            for direction in ClassifierDirection.allCases {
                try TCX.attach(bystander.descriptor.number, to: port, direction)
                let place = ClsactPlace(priority: 7, handle: 3)
                try Clsact.attach(bystander.descriptor.number, to: port, direction, at: place)
            }
        }
        for mechanism in ClassifierMechanism.allCases {
            try rig.attach(0, spec, by: mechanism)
            let found = try rig.attached(0)
            #expect(found.carries(spec))
            #expect(found.foreign == Array(repeating: "bystander", count: 4))
            // Ours runs first, so that nothing forged gets past it.
            let order = found.programs.filter { $0.mechanism == mechanism && $0.direction == .ingress }
            #expect(order.map(\.name) == ["fi_\(spec.digest)", "bystander"])
        }
        try rig.onPort(0) { try ClassifierKernel.detach(from: $0) }
        let left = try rig.attached(0)
        #expect(left.programs.map(\.name) == Array(repeating: "bystander", count: 4))
        #expect(!left.carries(spec))
    }

    @Test(arguments: ClassifierMechanism.allCases, [false, true])
    func aFailedSecondStepTakesBackTheFirst(mechanism: ClassifierMechanism, isReplacement: Bool) throws {
        let rig = try NamespaceRig()
        let specs = [rig.spec(0), rig.spec(1)]
        if isReplacement {
            try rig.attach(0, specs[1], by: mechanism)
            // Without its egress half, the new one must be added and finds no room.
            for program in try rig.attached(0).ours(.egress) {
                try rig.onPort(0) { try ClassifierKernel.detach(program, from: $0) }
            }
        }
        try rig.onPort(0) { try Self.leaveNoRoom(on: $0, .egress, mechanism) }
        let before = try rig.attached(0)
        let error = #expect(throws: BPFError.self) { try rig.attach(0, specs[0], by: mechanism) }
        #expect(error?.code == (mechanism == .tcx ? ERANGE : EEXIST))
        #expect(error?.object.hasPrefix("egress classifier to link ") == true)
        let after = try rig.attached(0)
        #expect(after == before)
        #expect(after.digest(.ingress) == (isReplacement ? specs[1].digest : nil))
    }

    /// Fills all places of the hook, or takes the filter's one.
    private static func leaveNoRoom(
        on ifindex: Int,
        _ direction: ClassifierDirection,
        _ mechanism: ClassifierMechanism
    ) throws {
        switch mechanism {
        case .tcx:
            for number in 0..<63 {
                let program = try bystander("squatter\(number)")
                try TCX.attach(program.descriptor.number, to: ifindex, direction)
                extendLifetime(program)
            }
        case .clsact:
            let program = try bystander("squatter")
            try Clsact.attach(program.descriptor.number, to: ifindex, direction)
            extendLifetime(program)
        }
    }

    @Test func aMissingLinkIsNamed() throws {
        let rig = try NamespaceRig()
        let spec = rig.spec(0)
        let error = #expect(throws: BPFError.self) {
            try rig.inside(0) { try ClassifierKernel.attach(LoadedClassifiers(spec), to: 4711) }
        }
        #expect(error?.description == "query classifiers of link 4711: no such device (ENODEV)")
    }

    @Test func probingLeavesNothingBehind() throws {
        let spec = try ClassifierCase.known[12].spec()
        _ = try LoadedClassifiers(spec)
    }
}

@Suite struct PrivilegeTests {
    @Test func refusalsAreExplained() {
        let ordinary = "         0          0 4294967295\n"
        let all = UInt64.max
        func explain(_ held: UInt64, _ userMap: String, _ lockdown: String?) -> String {
            Privilege.explanation(held, userMap: userMap, lockdown: lockdown)
        }
        #expect(
            explain(0, ordinary, nil)
                == "this process lacks CAP_NET_ADMIN and CAP_BPF; run it as root or grant these"
        )
        #expect(explain(1 << 12, ordinary, nil).contains("lacks CAP_BPF;"))
        #expect(explain(1 << 39, ordinary, nil).contains("lacks CAP_NET_ADMIN;"))
        #expect(explain(1 << 12 | 1 << 39, ordinary, nil).contains("needs CAP_SYS_ADMIN"))
        #expect(explain(all, "0 1000 1\n", nil).contains("user namespace"))
        #expect(explain(all, ordinary, "none [integrity] confidentiality\n").contains("locked down"))
        #expect(explain(all, ordinary, "[none] integrity confidentiality\n").contains("security module"))
    }
}
