import FanCore
import Glibc
import Testing

@testable import FanLink

/// The generated programs against the pure mapping, through the kernel's own program test run.
@Suite(.enabled(if: geteuid() == 0)) struct ClassifierAgreementTests {
    static let passed: Int32 = -1
    static let dropped: Int32 = 2
    /// Frames for each mapping and direction: more than a million in all.
    static let frames = 1_050_000 / (2 * (ClassifierCase.known.count + ClassifierCase.odd.count))

    @Test(arguments: ClassifierCase.known + ClassifierCase.odd, ClassifierDirection.allCases)
    func randomFrames(example: ClassifierCase, direction: ClassifierDirection) throws {
        let spec = try example.spec()
        let model = FrameModel(spec: spec)
        let harness = try ClassifierHarness(direction == .egress ? spec.egressCode(.pinned) : spec.ingressCode())
        var maker = try FrameMaker(spec, direction, seed: UInt64(spec.host.rawValue))
        var seen: Set<FrameVerdict> = []
        for _ in 0..<Self.frames {
            let (frame, surroundings) = maker.next()
            let ends = model.ends(frame)
            let known = maker.random.oneIn(2) ? nil : MACAddress(rawValue: maker.random.next())
            if direction == .egress, let known, let ends { try harness.far.set(ends.destination, known) }
            let outcome = try harness.run(frame, surroundings)
            let expected = expectation(frame, surroundings, model, direction, &seen, known: known)
            if let ends {
                // Whom the classifier noted: the sender of an ARP message that it let in, and nobody else.
                let isNoted = direction == .ingress && expected.result == Self.passed && frame[13] == 0x06
                let noted = try harness.far[direction == .ingress ? ends.source : ends.destination]
                let expectedNote =
                    direction == .egress ? known : isNoted ? MACAddress(octets: frame[22..<28]) : nil
                #expect(noted == expectedNote)
                if noted != nil { try harness.far.remove(direction == .ingress ? ends.source : ends.destination) }
            }
            guard outcome == expected else {
                Issue.record("\(frame) \(surroundings): \(outcome), expected \(expected)")
                return
            }
        }
        #expect(seen == possible(spec, direction))
    }

    @Test func everyLength() throws {
        let spec = try ClassifierCase.known[12].spec()
        let model = FrameModel(spec: spec)
        let egress = try ClassifierHarness(spec.egressCode(.pinned))
        let ingress = try ClassifierHarness(spec.ingressCode())
        let leaving = try #require(spec.honestFrame())
        let arriving = leaving[..<26] + leaving[30...] + leaving[26..<30]
        let neighbour = (source: spec.host.advanced(by: 1), vni: spec.vni)
        for withAddresses in [Self.ipv4, Self.arp] {
            for length in 14...80 {
                let out = withAddresses(Array(leaving), length)
                let verdict: FrameVerdict = out.isWhole ? .forwarded : .unsupported
                var seen: Set<FrameVerdict> = []
                let expected = expectation(out.frame, .init(), model, .egress, &seen)
                #expect(try egress.run(out.frame) == expected)
                #expect(seen == [verdict])
                let back = withAddresses(Array(arriving), length).frame
                let outcome = try ingress.run(back, .init(key: neighbour))
                #expect(outcome.counts == ClassifierHarness.counts(verdict, .ingress))
                #expect(outcome.result == (out.isWhole ? Self.passed : Self.dropped))
            }
        }
    }

    /// An honest frame of a given length, padded or cut, and whether all headers are in it.
    private static func ipv4(_ honest: [UInt8], length: Int) -> (frame: [UInt8], isWhole: Bool) {
        (Array((honest + Array(repeating: 0, count: 80))[..<length]), length >= 34)
    }

    /// The same with an ARP request between the same addresses.
    private static func arp(_ honest: [UInt8], length: Int) -> (frame: [UInt8], isWhole: Bool) {
        let header: [UInt8] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]
        let sender = [2, 0, 0, 0, 0, 1] + honest[26..<30]
        let target = [0, 0, 0, 0, 0, 0] + honest[30..<34]
        let frame = honest[..<12] + header + sender + target + Array(repeating: 0, count: 80)
        return (Array(frame[..<length]), length >= 42)
    }

    /// The verdicts that enough random frames bring about; nobody but this host is in a /32.
    private func possible(_ spec: ClassifierSpec, _ direction: ClassifierDirection) -> Set<FrameVerdict> {
        guard spec.mapping.underlay.prefixBits == 32 else { return Set(FrameVerdict.allCases) }
        return direction == .egress ? [.outside, .unsupported] : [.spoofed, .unsupported]
    }

    private func expectation(
        _ frame: [UInt8],
        _ surroundings: ClassifierHarness.Surroundings,
        _ model: FrameModel,
        _ direction: ClassifierDirection,
        _ seen: inout Set<FrameVerdict>,
        known: MACAddress? = nil
    ) -> ClassifierHarness.Outcome {
        let zero = IPv4Address(rawValue: 0)
        let verdict: FrameVerdict
        var expected = ClassifierHarness.Outcome(result: 0, remote: zero, local: zero, vni: 0, counts: 0)
        switch direction {
        case .egress:
            let remote: IPv4Address?
            (verdict, remote) = model.egress(frame, isTagged: surroundings.isTagged)
            if let remote {
                (expected.remote, expected.local, expected.vni) = (remote, model.spec.host, model.spec.vni)
            }
        case .ingress:
            verdict = model.ingress(frame, isTagged: surroundings.isTagged, key: surroundings.key)
            if let key = surroundings.key { (expected.local, expected.vni) = (key.source, key.vni) }
        }
        seen.insert(verdict)
        expected.result = verdict == .forwarded ? Self.passed : Self.dropped
        expected.counts = ClassifierHarness.counts(verdict, direction)
        if verdict == .forwarded {
            let padded = frame + Array(repeating: 0, count: max(0, 42 - frame.count))
            let after = direction == .egress ? model.leaving(padded, known: known) : model.arriving(padded)
            // What was asked is longer than what was to be sent.
            let isQuestion = direction == .egress && frame[13] == 0 && after[13] == 6
            expected.frame = isQuestion ? after : Array(after.prefix(frame.count))
        }
        return expected
    }
}
