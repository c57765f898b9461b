import FanCore
import FanLab
import FanStore
import FanSystem
import Foundation
import Testing

/// The client on a real socket.
@Suite struct ServerClientTests {
    /// A runtime directory that goes with this value.
    final class Runtime {
        let path = NSTemporaryDirectory() + "fan-client-\(UUID().uuidString.prefix(8))"
        var socket: String { "\(path)/server.sock" }

        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    @Test func saysThatNobodyListens() throws {
        let runtime = try Runtime()
        let client = ServerClient(runtimeDirectory: runtime.path)
        #expect(
            throws: StoreError.notRunning(socket: runtime.socket, cause: "no such file or directory (ENOENT)")
        ) { try client.call("GET", "/1.0/local") }
        let server = try AgentServer(runtime.socket)
        #expect(try client.call("GET", "/1.0/local")["state"] == "unconfigured")
        server.stop()
        let error = #expect(throws: StoreError.self) { try client.call("GET", "/1.0/local") }
        guard case .notRunning = error else {
            Issue.record("not the expected error: \(String(describing: error))")
            return
        }
        #expect(error?.remedy == "run: systemctl start fanmesh-server")
    }

    /// The connection is kept from one request to the next, and made anew when the server was restarted.
    @Test func survivesARestart() throws {
        let runtime = try Runtime()
        let client = ServerClient(runtimeDirectory: runtime.path)
        for generation in 1...5 {
            let server = try AgentServer(runtime.socket)
            var snapshot = ClusterSnapshot()
            snapshot.generation = generation
            server.tell(snapshot)
            for _ in 0..<3 {
                #expect(try client.call("GET", "/1.0/local")["generation"] == .number(generation))
            }
            #expect(server.accepted == 1)
            server.stop()
        }
    }

    @Test func errorsOfTheServerKeepTheConnection() throws {
        let runtime = try Runtime()
        let server = try AgentServer(runtime.socket)
        let client = ServerClient(runtimeDirectory: runtime.path)
        for _ in 0..<3 {
            let error = #expect(throws: StoreError.self) { try client.call("DELETE", "/1.0/members/none") }
            #expect(error?.refusal?.code == "not_found" && error?.refusal?.status == 404)
        }
        #expect(server.accepted == 1)
    }

    @Test func givesUpInTime() throws {
        let runtime = try Runtime()
        let server = try AgentServer(runtime.socket)
        let client = ServerClient(runtimeDirectory: runtime.path)
        let started = ContinuousClock.now
        #expect(throws: StoreError.timeout(request: "GET /1.0/local", after: .milliseconds(200))) {
            try client.call("GET", "/1.0/local?generation=0&wait=60", timeout: .milliseconds(200))
        }
        #expect(ContinuousClock.now - started < .seconds(10))
        // The late answer to that must not be taken for the answer to this.
        server.tell(ClusterSnapshot(message: "later"))
        #expect(try client.call("GET", "/1.0/local")["message"] == "later")
    }

    @Test(.enabled(if: geteuid() == 0)) func saysThatItMayNot() throws {
        let runtime = try Runtime()
        let server = try AgentServer(runtime.socket)
        defer { server.stop() }
        let tool =
            OverlayStart.thisExecutable.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" } + "/fanmesh"
        let result = try RunningProcess(
            ProcessRequest(
                [
                    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", tool, "--runtime-dir", runtime.path,
                    "cluster", "list",
                ]
            )
        ).wait()
        #expect(result.ending == .exited(1))
        #expect(result.errorOutput.contains("this user may not use the fanmesh server's socket '\(runtime.socket)'"))
    }
}
