import FanCore
import Foundation
import Testing

@testable import FanCommand

/// The file of a host's own answers, which the package installs.
@Suite struct HostAnswersTests {
    private let facts = Node.facts("172.31.17.6/20")

    private func file(_ text: String) throws -> String {
        let path = FileManager.default.temporaryDirectory.appending(path: "answers-\(UUID().uuidString)").path()
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private func joining() throws -> FakeServer {
        try FakeServer([
            "GET /1.0/local": [Cluster.unconfigured(), Cluster.local(2, of: 2)],
            "POST /1.0/rehearse": [Cluster.rehearsal()],
            "POST /1.0/join": [Cluster.local(2, of: 2, state: .joining)],
            "GET /1.0/members/node2": [Cluster.show(Cluster.status(2))],
        ])
    }

    /// What the package installs holds remarks alone, so that a host with it is like one without.
    @Test func theInstalledFileSaysNothing() throws {
        let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: package.appending(path: "systemd/fanmesh.yaml"), encoding: .utf8)
        let installed = try file(text)
        let outcome = try Node().run(["init", "--dump", "--config", installed])
        #expect(outcome == (try Node().run(["init", "--dump"])) && outcome.code == .success)
        // And what it suggests can be said.
        let suggested = text.split(separator: "\n").filter { $0.hasPrefix("#") && $0.contains(#/^\#[a-z_]+: /#) }
        #expect(suggested.count == 8)
        let uncommented = suggested.map { $0.dropFirst() + "\n" }.joined()
        let all = try file(uncommented.replacing("172.31.21.5", with: "172.31.16.5"))
        let said = try Node().run(["init", "--dump", "--config", all])
        #expect(said.code == .success && said.output.contains("failure_domain: rack1"), "\(said)")
    }

    @Test func answersAreTakenUnlessTheCommandLineSaysOtherwise() throws {
        let answers = try file("failure_domain: rack7\nname: first\n")
        let dumped = try Node().run(["init", "--dump", "--config", answers, "--name", "second"])
        #expect(dumped.output.contains("name: second\n") && dumped.output.contains("failure_domain: rack7\n"))
        let server = try joining()
        let token = try Cluster.token()
        let joined = try Node(server: server, facts: facts).run(["join", token, "--config", answers])
        #expect(joined.code == .success, "\(joined)")
        let body = server.requests.first { $0.target == "/1.0/join" }?.body
        #expect(body?["failure_domain"] == "rack7" && body?["name"] == "node2")
    }

    /// What the host keeps for itself neither makes a cluster nor is the server's.
    @Test func whatIsTheHostsOwnIsNotTheClusters() throws {
        let answers = try file("on_address_change: renumber\nmetrics: 127.0.0.1:9473\nmetrics_file: /run/x.prom\n")
        let asking = try Node(server: try joining()).run(["init", "--config", answers])
        #expect(asking.error.hasPrefix("Would you like to join an existing cluster?"), "\(asking)")
        let server = try FakeServer([
            "GET /1.0/local": [Cluster.unconfigured(), Cluster.local(1, of: 1)],
            "POST /1.0/init": [Cluster.local(1, of: 1)],
        ])
        _ = try Node(server: server).run(["init", "--yes", "--config", answers])
        let body = try #require(server.requests.first { $0.target == "/1.0/init" }?.body)
        #expect(Set(body.fields.map(\.key)).isDisjoint(with: ["on_address_change", "metrics", "metrics_file"]))
    }

    @Test(arguments: [
        ("nmae: node1\n", "nmae"), ("name: [\n", "the file"),
        ("cluster_token: %\n", "cluster_token does not belong there"),
    ])
    func whatCannotBeUsedIsRefused(_ text: String, _ what: String) throws {
        let path = try file(text.replacing("%", with: try Cluster.token()))
        let outcome = try Node().run(["init", "--yes", "--config", path])
        #expect(outcome.code == .usage && outcome.error.contains(what) && outcome.error.contains(path), "\(outcome)")
        #expect(!outcome.error.contains(try Cluster.token()))
    }

    @Test func aFileThatIsNamedMustBeThere() throws {
        let outcome = try Node().run(["init", "--yes", "--config", "/nonexistent/answers"])
        #expect(outcome.code == .usage && outcome.error.contains("/nonexistent/answers"), "\(outcome)")
    }
}
