import FanCore
import Glibc
import TestSupport
import Testing

@testable import FanLab

/// `fanmesh lab` as a process of its own.
@Suite(.enabled(if: isRoot))
struct LabCommandTests {
    private func fanmesh(_ arguments: String...) throws -> ProcessResult {
        try RunningProcess(ProcessRequest([Programs.fanmesh, "lab"] + arguments)).wait()
    }

    /// Starts `lab run` and waits until it says that it brings the overlay up.
    private func startLargeRun(_ name: String) throws -> RunningProcess {
        let command = [
            Programs.fanmesh, "lab", "run", "--no-cluster", "--name", name, "--nodes", "22", "--guests", "0",
        ]
        let process = try RunningProcess(ProcessRequest(command))
        let isUnderWay = try process.wait(atMost: .seconds(30)) { _, errors in errors.contains("bringing overlay") }
        try #require(isUnderWay)
        try #require(try !listedNamespaces(ofLab: name).isEmpty)
        return process
    }

    private func expectNothingLeft(_ name: String) throws {
        #expect(try listedNamespaces(ofLab: name) == [])
        #expect(!fileExists("\(LabPlan.directory)/\(name)"))
    }

    @Test func runShowsTheClusterTheMatrixAndAVerdict() throws {
        let result = try fanmesh("run", "--name", "c-run")
        #expect(result.isSuccess, "\(result.explanation)")
        #expect(result.output.hasPrefix("NAME "))
        #expect(result.output.contains("\nnode3 "))
        #expect(result.output.matches(of: /ONLINE/).count == 3)
        #expect(result.output.contains("\nfrom \\ to"))
        #expect(result.output.contains("healthy: all 72 pairs"))
        #expect(result.errorOutput.contains("making 3 hosts on underlay 172.31.16.0/20"))
        try expectNothingLeft("c-run")
    }

    @Test func runWithoutAClusterShowsTheMatrixAndAVerdict() throws {
        let result = try fanmesh("run", "--name", "c-plain", "--no-cluster")
        #expect(result.isSuccess, "\(result.explanation)")
        #expect(result.output.hasPrefix("from \\ to"))
        #expect(result.output.contains("healthy: all 72 pairs"))
        try expectNothingLeft("c-plain")
    }

    @Test func runGivesJSON() throws {
        let result = try fanmesh("run", "--name", "c-json", "--nodes", "2", "--guests", "1", "--format", "json")
        let document = try Document(json: Array(result.output.utf8))
        #expect(try document["cluster"].list("members").map { $0["state"] } == ["ONLINE", "ONLINE"])
        #expect(result.isSuccess, "\(result.explanation)")
        for part in [
            "\"schema\": \"fanmesh.lab/v1\"", "\"verdict\": \"healthy\"", "\"pairs\": 12", "\"failed\": 0",
            "\"from\": \"node1\"", "\"icmp\": \"ok\"",
        ] {
            #expect(result.output.contains(part), "\(part)")
        }
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP]) func aSignalTearsDownAndEndsTheProcess(signal: Int32) throws {
        let name = "c-signal\(signal)"
        let process = try startLargeRun(name)
        process.signal(signal)
        #expect(try process.wait().ending == .signaled(signal))
        try expectNothingLeft(name)
    }

    @Test func theNextRunRemovesWhatAKilledOneLeft() throws {
        let name = "c-killed"
        let process = try startLargeRun(name)
        let refused = try fanmesh("run", "--name", name)
        #expect(refused.ending == .exited(1))
        #expect(refused.errorOutput.contains("in use by process \(process.id)"))
        process.signal(SIGKILL)
        #expect(try process.wait().ending == .signaled(SIGKILL))
        #expect(try listedNamespaces(ofLab: name).count > 20)

        let next = try fanmesh("run", "--name", name, "--nodes", "1", "--guests", "1")
        #expect(next.isSuccess, "\(next.explanation)")
        try expectNothingLeft(name)
    }

    @Test func upExecDown() throws {
        let name = "c-up"
        defer { _ = try? Lab.down(name: name) }
        let up = try fanmesh("up", "--name", name, "--nodes", "2", "--guests", "1")
        #expect(up.isSuccess, "\(up.explanation)")
        #expect(up.errorOutput.contains("fanmesh lab down --name \(name)"))
        let spaces = try plan(name, nodes: 2, guests: 1).nodes().map(\.namespace)
        let daemons = LabDaemons.processes(lab: name, in: spaces)
        #expect(daemons.count == 4)
        let again = try fanmesh("run", "--name", name)
        #expect(again.ending == .exited(1))
        #expect(again.errorOutput.contains("fanmesh lab down --name \(name)"))

        let list = try fanmesh("exec", "--name", name, "node2", "--", "fanmesh", "cluster", "list", "-q")
        #expect(list.output == "node1\nnode2\n", "\(list.explanation)")
        let status = try fanmesh("exec", "--name", name, "node2", "--", "fanmesh", "status")
        #expect(status.isSuccess, "\(status.explanation)")
        #expect(status.output.contains("fan0"))
        let guest = try fanmesh("exec", "--name", name, "node1-guest1", "--", "ip", "-brief", "address")
        #expect(guest.output.contains("eth0"))
        #expect(!guest.output.contains("fan0"))
        #expect(try fanmesh("exec", "--name", name, "node1", "--", "sh", "-c", "exit 9").ending == .exited(9))
        #expect(try fanmesh("exec", "--name", name, "node3", "--", "true").ending == .exited(2))
        #expect(try fanmesh("exec", "--name", name, "node1", "--", "/nowhere").ending == .exited(1))

        #expect(LabDaemons.processes(lab: name, in: spaces) == daemons)
        #expect(try fanmesh("down", "--name", name).isSuccess)
        for daemon in daemons {
            // Dead, though PID 1 may not have taken note of it.
            let state = try run("ps", "-o", "stat=", "-p", "\(daemon)").output
            #expect(state.isEmpty || state.hasPrefix("Z"))
        }
        #expect(try fanmesh("down", "--name", name).isSuccess)
        try expectNothingLeft(name)
        #expect(try fanmesh("exec", "--name", name, "node1", "--", "true").ending == .exited(1))
    }

    @Test(arguments: [
        ["--nodes", "0"], ["--nodes", "1001"], ["--nodes", "300", "--underlay", "10.0.0.0/24"],
        ["--guests", "14", "--underlay", "10.96.0.0/12"], ["--mtu", "10"], ["--underlay", "10.0.0.1/8"],
        ["--underlay", "10.0.0.0/8", "--overlay", "240.0.0.0/16"], ["--name", "No"], ["--underlay", "10.0.0.0/31"],
    ])
    func whatDoesNotFitIsUsage(arguments: [String]) throws {
        let command = [Programs.fanmesh, "lab", "run", "--name", "c-usage"] + arguments
        let result = try RunningProcess(ProcessRequest(command)).wait()
        #expect(result.ending == .exited(2), "\(result.explanation)")
        try expectNothingLeft("c-usage")
    }

    @Test func aCheckThatTheKernelCannotHoldIsRefused() throws {
        let plan = try plan("c-large", nodes: 1000, guests: 2)
        #expect(plan.neighbourEntries == 3000 * 2999 + 1000 * 999)
        let result = try fanmesh("run", "--name", plan.name, "--nodes", "1000")
        #expect(result.ending == .exited(1))
        #expect(result.errorOutput.contains("sysctl -w net.ipv4.neigh.default.gc_thresh3="))
        try expectNothingLeft(plan.name)
    }

    @Test func withoutRootItSaysSo() throws {
        let command = ["setpriv", "--reuid", "65534", "--clear-groups", Programs.fanmesh, "lab", "run"]
        let result = try RunningProcess(ProcessRequest(command)).wait()
        #expect(result.ending == .exited(1))
        #expect(result.errorOutput.contains("needs root"))
    }
}
