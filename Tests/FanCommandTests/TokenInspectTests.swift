import FanCore
import Testing

@testable import FanCommand

@Suite struct TokenInspectTests {
    @Test func showsWhatATokenSaysWithoutItsSecret() throws {
        let outcome = try Node().run(["token", "inspect", try Cluster.token()])
        let expected = """
            kind:         fanmesh-join
            reason:       its addresses have fanmesh's port, 8473
            name:         node2
            fingerprint:  \(Cluster.fingerprint)
            addresses:    172.31.16.5:8473
            expires at:   2026-11-21T08:00:00Z
            valid:        for 3 h
            secret:       hidden

            """
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
    }

    @Test func showsJSONWithTheSecretWhenAsked() throws {
        let expected = """
            {
              "schema": "fanmesh.token-contents/v1",
              "kind": "fanmesh-join",
              "reason": "its addresses have fanmesh's port, 8473",
              "name": "node2",
              "fingerprint": "\(Cluster.fingerprint)",
              "addresses": [
                "172.31.16.5:8473",
                "172.31.17.6:8473"
              ],
              "expires_at": "2026-11-21T04:50:00Z",
              "expired": true,
              "secret": "\(Cluster.secret)"
            }

            """
        let token = try Cluster.token(
            addresses: ["172.31.16.5:8473", "172.31.17.6:8473"],
            expires: "2026-11-21T04:50:00Z"
        )
        let node = Node(input: TextInput(token + "\n"))
        let outcome = try node.run("token inspect - --show-secrets --format json")
        #expect(outcome == Outcome(code: .problem, output: expected, error: ""))
        #expect(try Node().run(["token", "inspect", token]).output.contains("\nvalid:        expired 10 min ago\n"))
    }

    @Test func knowsOtherTokens() throws {
        let json = """
            {"client_name":"agent1","fingerprint":"\(Cluster.fingerprint)","addresses":["172.31.16.5:8443"],\
            "secret":"\(Cluster.secret)","expires_at":"0001-01-01T00:00:00Z"}
            """
        let outcome = try Node().run(["token", "inspect", Base64.encode(json.utf8)])
        #expect(outcome.code == .success)
        #expect(outcome.output.contains("kind:         lxd-trust\n"))
        #expect(outcome.output.contains("expires at:   never\nvalid:        does not expire\n"))
    }

    @Test(arguments: ["", "x", "e30=", "!!!!"])
    func refusesWhatIsNoToken(token: String) throws {
        let outcome = try Node().run(["token", "inspect", token])
        #expect(outcome.code == .usage && outcome.error.hasPrefix("Error: the token is malformed: "))
    }
}
