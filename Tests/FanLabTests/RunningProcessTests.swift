import Glibc
import TestSupport
import Testing

@testable import FanLab

struct RunningProcessTests {
    @Test func outputsInputEnvironmentAndCodeComeThrough() throws {
        let script = "cat; echo $COLOUR; echo oops >&2; exit 7"
        let request = ProcessRequest(
            ["sh", "-c", script],
            environment: ["COLOUR": "blue"],
            input: Array("hello\n".utf8)
        )
        let result = try RunningProcess(request).wait()
        #expect(result.output == "hello\nblue\n")
        #expect(result.errorOutput == "oops\n")
        #expect(result.ending == .exited(7))
        #expect(result.explanation == "exited with 7: oops")
        #expect(!result.isTruncated)
    }

    @Test func outputPastTheLimitIsDropped() throws {
        let request = ProcessRequest(["head", "-c", "1000000", "/dev/zero"], outputLimit: 1000)
        let result = try RunningProcess(request).wait()
        #expect(result.isSuccess)
        #expect(result.isTruncated)
        #expect(result.output.utf8.count == 1000)
    }

    @Test func aTimeoutKillsTheProcessAndItsChildrenOnly() throws {
        let bystander = try RunningProcess(ProcessRequest(["sleep", "60"]))
        let request = ProcessRequest(
            ["sh", "-c", "sleep 60 & echo $!; wait"],
            timeout: .milliseconds(300)
        )
        let result = try RunningProcess(request).wait()
        #expect(result.ending == .timedOut)
        #expect(result.elapsed < .seconds(5))
        let child = try #require(Int32(result.output.split(separator: "\n").first ?? ""))
        // It is reaped by init or a reaper of this container, which may take a moment.
        let state = try? run(
            "sh",
            "-c",
            "for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 \(child) 2>/dev/null || exit 0; "
                + "grep -q 'State:.Z' /proc/\(child)/status && exit 0; sleep 0.05; done; exit 1"
        )
        #expect(state?.isSuccess == true)
        #expect(kill(bystander.id, 0) == 0)
        bystander.signal(SIGTERM)
        #expect(try bystander.wait().ending == .signaled(SIGTERM))
    }

    @Test func aProcessThatIsLetGoIsKilled() throws {
        var process: RunningProcess? = try RunningProcess(ProcessRequest(["sleep", "60"]))
        let id = try #require(process?.id)
        #expect(kill(id, 0) == 0)
        process = nil
        #expect(kill(id, 0) == -1)
    }

    @Test func signalsThatThisProcessIgnoresAreNotInherited() throws {
        // fanmesh ignores SIGPIPE; a child that did so too would never notice that its reader has gone.
        let earlier = signal(SIGPIPE, SIG_IGN)
        defer { _ = signal(SIGPIPE, earlier) }
        let status = try run("grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status")
        let masks = status.output.split(separator: "\n").compactMap { line in
            line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) }
        }
        #expect(masks.count == 2)
        // Signals 32 and 33 are the C library's own.
        #expect(masks.allSatisfy { $0 & 0x7fff_ffff == 0 })
    }

    @Test func aMissingProgramIsNamed() {
        #expect(throws: LabError.executable("/nowhere/program", code: ENOENT)) {
            try RunningProcess(ProcessRequest(["/nowhere/program"]))
        }
        #expect(throws: LabError.executable("/etc/passwd", code: EACCES)) {
            try RunningProcess(ProcessRequest(["/etc/passwd"]))
        }
    }

    @Test func tooMuchInputIsRefused() {
        #expect(throws: LabError.self) {
            try RunningProcess(ProcessRequest(["cat"], input: [UInt8](repeating: 65, count: 1 << 20)))
        }
    }

    @Test func aBatchKeepsItsOrderAndItsWidth() throws {
        let jobs = (0..<12).map { number in
            ProcessBatch.Job(ProcessRequest(["sh", "-c", "sleep 0.\(12 - number); echo \(number)"]), in: nil)
        }
        let results = try ProcessBatch.run(jobs, width: 12)
        #expect(results.map(\.output) == (0..<12).map { "\($0)\n" })

        let clock = ContinuousClock()
        let elapsed = try clock.measure {
            _ = try ProcessBatch.run(
                (0..<4).map { _ in ProcessBatch.Job(ProcessRequest(["sleep", "0.1"]), in: nil) },
                width: 1
            )
        }
        #expect(elapsed >= .milliseconds(400))
    }

    @Test func outputIsSeenWhileTheProcessRuns() throws {
        let process = try RunningProcess(ProcessRequest(["sh", "-c", "echo ready; sleep 60"]))
        #expect(try process.wait(atMost: .seconds(10)) { output, _ in output == "ready\n" })
        #expect(process.isRunning)
        #expect(try !process.wait(atMost: .milliseconds(50)) { output, _ in output.contains("never") })
    }

    @Test(.enabled(if: isRoot)) func aProcessRunsInsideANamespace() throws {
        let namespace = NetworkNamespace("fanlabtest-process")
        try NetworkNamespace.create([namespace])
        defer { try? namespace.delete() }
        let inside = try namespace.run { currentNamespace() }
        #expect(try namespace.run("readlink", "/proc/self/ns/net").output == inside + "\n")
        #expect(try run("readlink", "/proc/self/ns/net").output == currentNamespace() + "\n")
    }
}
