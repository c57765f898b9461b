import FanLab
import Foundation
import TestSupport
import Testing

/// What is broken on purpose is found, and mended again; all of it is tried by `.ci/soak`.
@Suite(.serialized, .enabled(if: isRoot)) struct LabFaultTests {
    private struct Outcome: Decodable {
        struct Fault: Decodable {
            var fault: String
            var found: String
            var result: String
        }

        var verdict: String
        var false_alarms: [String]
        var faults: [Fault]
    }

    private func fanmesh(_ arguments: String...) throws -> ProcessResult {
        try RunningProcess(ProcessRequest([Programs.fanmesh] + arguments, timeout: .seconds(120))).wait()
    }

    @Test(.timeLimit(.minutes(3))) func whatIsBrokenIsFound() throws {
        let faults = [("icmp", "ping-filtered"), ("api", "reachable"), ("stale-neighbour", "stale-neighbour")]
        let words = ["lab", "selftest", "--healthy", "3", "--format", "json"] + faults.map(\.0)
        let result = try RunningProcess(ProcessRequest([Programs.fanmesh] + words, timeout: .seconds(150))).wait()
        let outcome = try JSONDecoder().decode(Outcome.self, from: Data(result.output.utf8))
        #expect(result.isSuccess && outcome.verdict == "healthy" && outcome.false_alarms == [], "\(result)")
        #expect(outcome.faults.map(\.fault) == faults.map(\.0) && outcome.faults.map(\.found) == faults.map(\.1))
        #expect(outcome.faults.allSatisfy { $0.result == "ok" }, "\(outcome)")
    }

    @Test func everyFaultHasANameAndACode() {
        let names = LabFault.all.map(\.name)
        #expect(Set(names).count == names.count && names.count >= 16)
        for fault in LabFault.all { #expect(!fault.codes.isEmpty && !fault.summary.isEmpty, "\(fault.name)") }
    }

    @Test func whatCannotBeBrokenIsSaid() throws {
        let unknown = try fanmesh("lab", "fault", "udp-tu")
        #expect(unknown.ending == .exited(2) && unknown.errorOutput.contains("did you mean 'udp-to'?"), "\(unknown)")
        let none = try fanmesh("lab", "fault")
        #expect(none.ending == .exited(2) && none.errorOutput.contains("fanmesh lab fault --list"), "\(none)")
        let noLab = try fanmesh("lab", "fault", "udp-to", "--name", "no-such-lab")
        #expect(!noLab.isSuccess && noLab.errorOutput.contains("no-such-lab"), "\(noLab)")
        let listed = try fanmesh("lab", "fault", "--list")
        #expect(listed.isSuccess && LabFault.all.allSatisfy { listed.output.contains($0.name) }, "\(listed)")
    }
}
