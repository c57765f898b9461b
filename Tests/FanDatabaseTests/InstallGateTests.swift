import Testing

@testable import FanDatabase

/// When a leader may send its whole database, in virtual time.
@Suite struct InstallGateTests {
    private let start = ContinuousClock.now

    @Test func theFirstAttemptComesAgain() {
        let gate = InstallGate()
        #expect(!gate.mayInstall(at: start))
        #expect(!gate.mayInstall(at: start + .milliseconds(899)))
        #expect(gate.mayInstall(at: start + .milliseconds(1000)))
        // The next one begins anew.
        #expect(!gate.mayInstall(at: start + .milliseconds(1001)))
        #expect(gate.mayInstall(at: start + .milliseconds(2002)))
    }

    @Test func anAttemptOfLongAgoIsForgotten() {
        let gate = InstallGate()
        #expect(!gate.mayInstall(at: start))
        #expect(!gate.mayInstall(at: start + .seconds(31)))
        #expect(gate.mayInstall(at: start + .seconds(32)))
    }

    @Test func onlyTheWholeDatabaseWaits() throws {
        let gate = InstallGate()
        for kind in [RaftMessage.appendEntries, .requestVote, .timeoutNow, .appendEntriesResult] {
            try gate.admit(kind)
        }
        let refusal = #expect(throws: PeerStream.Refusal.self) { try gate.admit(.installSnapshot) }
        #expect(refusal?.isPassing == true)
    }
}
