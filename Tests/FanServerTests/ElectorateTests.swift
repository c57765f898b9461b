import Testing

@testable import FanServer

/// Who is listened to as a leader, in virtual time.
@Suite struct ElectorateTests {
    private let start = ContinuousClock.now

    private func electorate(told: Set<Int> = [], configured: [Int] = [1, 2, 3]) -> Electorate<Int> {
        var electorate = Electorate(own: 1, told: told, at: start)
        electorate.learn(configured: configured)
        electorate.note(hasLeader: true, at: start)
        return electorate
    }

    @Test func votersMayLead() {
        let electorate = electorate()
        for address in 1...3 { #expect(electorate.mayLead(address, at: start)) }
        #expect(!electorate.mayLead(4, at: start + .seconds(3600)))
    }

    @Test func whoHasJustJoinedListensToAll() {
        var electorate = Electorate(own: 9, told: [], at: start)
        #expect(electorate.mayLead(4, at: start))
        electorate.learn(told: [1])
        #expect(electorate.mayLead(1, at: start) && !electorate.mayLead(4, at: start))
    }

    /// A spare's copy of the configuration is as old as its last vote.
    @Test func aSpareGoesByTheLeadersWord() {
        var electorate = electorate()
        electorate.learn(told: [2, 5])
        #expect(electorate.mayLead(5, at: start))
        #expect(!electorate.mayLead(3, at: start))
        electorate.learn(configured: [1, 2, 3])
        #expect(!electorate.mayLead(3, at: start))
        // It votes again, which it learns from Raft first.
        electorate.learn(configured: [1, 2, 6])
        #expect(electorate.mayLead(6, at: start) && !electorate.mayLead(3, at: start))
        electorate.learn(told: [1, 2, 6])
        #expect(electorate.mayLead(6, at: start))
    }

    @Test func aVotersWordMakesALeader() {
        var electorate = electorate()
        electorate.names(6, by: 5, at: start)
        #expect(!electorate.mayLead(6, at: start))
        electorate.names(6, by: 6, at: start)
        #expect(!electorate.mayLead(6, at: start))
        electorate.names(6, by: 2, at: start)
        #expect(electorate.mayLead(6, at: start))
        electorate.learn(told: [1, 2])
        #expect(!electorate.mayLead(6, at: start))
    }

    /// Of three, the leader is dead, and one was promoted while this one was away: they need each other.
    @Test func withoutALeaderEverybodyIsListenedToAtLast() {
        var electorate = electorate()
        electorate.note(hasLeader: false, at: start + .seconds(100))
        electorate.note(hasLeader: false, at: start + .seconds(105))
        #expect(!electorate.mayLead(4, at: start + .milliseconds(109_999)))
        #expect(electorate.mayLead(4, at: start + .seconds(110)))
        electorate.note(hasLeader: true, at: start + .seconds(111))
        #expect(!electorate.mayLead(4, at: start + .seconds(1000)))
    }

    /// A member that does not vote and is ahead is caught up with, but cannot keep the others busy.
    @Test func electionsForOthersAreFew() {
        var electorate = electorate()
        let granted = (0..<6000).filter { electorate.mayUnseat(at: start + .milliseconds(100 * $0)) }
        #expect(granted.count <= 2 + 600 / 30)
        #expect(granted.prefix(3) == [0, 1, 600])
    }
}
