import FanCore
import FanLab
import FanStore
import FanSystem
import Glibc
import TestSupport
import Testing

/// The client on a real socket.
@Suite struct ServerClientTests {
    @Test func saysThatNobodyListens() throws {
        let runtime = try TestDirectory()
        let client = ServerClient(runtimeDirectory: runtime.path)
        #expect(
            throws: StoreError.server(
                .notRunning(
                    attempt: "connect to '\(runtime.file("server.sock"))'",
                    cause: "no such file or directory (ENOENT)"
                )
            )
        ) { try client.call(.watchLocal) }
        let server = try AgentServer(runtime.file("server.sock"))
        #expect(try client.call(.watchLocal)["state"] == "unconfigured")
        server.stop()
        let error = #expect(throws: StoreError.self) { try client.call(.watchLocal) }
        guard case .notRunning? = error?.reason else {
            Issue.record("not the expected error: \(String(describing: error))")
            return
        }
        #expect(error?.remedy == "run: systemctl start fanmesh-server")
    }

    /// The connection is kept from one request to the next, and made anew when the server was restarted.
    @Test func survivesARestart() throws {
        let runtime = try TestDirectory()
        let client = ServerClient(runtimeDirectory: runtime.path)
        for generation in 1...5 {
            let server = try AgentServer(runtime.file("server.sock"))
            var snapshot = ClusterSnapshot()
            snapshot.generation = generation
            server.tell(snapshot)
            for _ in 0..<3 {
                #expect(try client.call(.watchLocal)["generation"] == .number(generation))
            }
            #expect(server.accepted == 1)
            server.stop()
        }
    }

    @Test func errorsOfTheServerKeepTheConnection() throws {
        let runtime = try TestDirectory()
        let server = try AgentServer(runtime.file("server.sock"))
        let client = ServerClient(runtimeDirectory: runtime.path)
        for _ in 0..<3 {
            let error = #expect(throws: StoreError.self) { try client.call(.removeMember, of: "none") }
            #expect(error?.refusal?.code == "not_found" && error?.refusal?.status == 404)
        }
        #expect(server.accepted == 1)
    }

    @Test func givesUpInTime() throws {
        let runtime = try TestDirectory()
        let server = try AgentServer(runtime.file("server.sock"))
        let client = ServerClient(runtimeDirectory: runtime.path)
        let started = ContinuousClock.now
        #expect(throws: StoreError.server(.timeout(request: "GET /1.0/local", after: .milliseconds(200)))) {
            try client.call(.watchLocal, query: [(.generation, "0"), (.wait, "60")], timeout: .milliseconds(200))
        }
        #expect(ContinuousClock.now - started < .seconds(10))
        // The late answer to that must not be taken for the answer to this.
        server.tell(ClusterSnapshot(message: "later"))
        #expect(try client.call(.watchLocal)["message"] == "later")
    }

    @Test(.enabled(if: isRoot)) func saysThatItMayNot() throws {
        let runtime = try TestDirectory()
        // It is the socket that refuses, not the way to it.
        let isOpen = unsafe chmod(runtime.path, 0o755) == 0
        try #require(isOpen)
        let server = try AgentServer(runtime.file("server.sock"))
        defer { server.stop() }
        let result = try RunningProcess(
            ProcessRequest(
                [
                    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", Programs.fanmesh, "--runtime-dir",
                    runtime.path,
                    "cluster", "list",
                ]
            )
        ).wait()
        #expect(result.ending == .exited(1))
        #expect(
            result.errorOutput.contains(
                "this user may not use the fanmesh server's socket '\(runtime.file("server.sock"))'"
            )
        )
    }
}
