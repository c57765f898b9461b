import FanCore
import FanHTTP
import FanSystem
import Glibc
import Testing

@testable import FanTLS

/// Who is let in, and who has to go.
@Suite struct ConnectionTableTests {
    private let quota = ConnectionQuota(descriptors: 1024, limits: HTTPLimits(), hasMembers: true)

    private final class Listener {
        var connections = ConnectionTable()
        var next: UInt64 = 0
        /// Who was ended, by number.
        var ended: [UInt64] = []

        /// Lets somebody in; nil when refused.
        func enter(_ owner: AdmittedConnection.Owner, _ quota: ConnectionQuota) -> AdmittedConnection? {
            next += 1
            let admitted = AdmittedConnection(address: 0, number: next)
            switch connections.admit(admitted, as: owner, quota) {
            case .admitted: return admitted
            case .instead(let other, _):
                ended.append(other.number)
                return admitted
            case .refused: return nil
            }
        }
    }

    @Test func theQuotaIsDerivedFromTheDescriptors() {
        #expect(quota.all == 256 && quota.unknownPeers == 64 && quota.perAddress == 16 && quota.perMember == 32)
        // All descriptors of all quotas fit, and a quarter is left.
        #expect(quota.all * ConnectionQuota.descriptorsEach <= 1024 - 256)
        let large = ConnectionQuota(descriptors: 1 << 20, limits: HTTPLimits(), hasMembers: true)
        #expect(large.all == 4096 && large.unknownPeers == 1024 && large.perAddress == 64)
        let tiny = ConnectionQuota(descriptors: 10, limits: HTTPLimits(), hasMembers: true)
        #expect(tiny.all == 1 && tiny.unknownPeers == 1)
        #expect(HTTPLimits.descriptors > 100)
    }

    @Test func unknownPeersNeverTakeTheMembersQuota() {
        let listener = Listener()
        for index in 0..<2000 { #expect(listener.enter(.unknownPeer(UInt32(index % 300)), quota) != nil) }
        #expect(listener.connections.count == quota.unknownPeers)
        // Every member still gets in, and nobody is ended for it.
        let before = listener.ended.count
        for member in 0..<Int(quota.all - quota.unknownPeers) {
            #expect(listener.enter(.member("\(member)"), quota) != nil)
        }
        #expect(listener.ended.count == before && listener.connections.count == quota.all)
        // One more of them takes an unknown peer's, not a member's.
        #expect(listener.enter(.member("more"), quota) != nil)
        #expect(listener.connections.count == quota.all && listener.ended.count == before + 1)
    }

    @Test func whoHasTheMostLosesFirst() {
        let listener = Listener()
        let quiet = listener.enter(.unknownPeer(1), quota)
        for _ in 0..<100 { _ = listener.enter(.unknownPeer(2), quota) }
        #expect(listener.connections.count == 1 + quota.perAddress)
        for address in 3..<200 { _ = listener.enter(.unknownPeer(UInt32(address)), quota) }
        #expect(listener.connections.count == quota.unknownPeers)
        // The flood from one address had to go before the single connections.
        #expect(listener.ended.prefix(84 + 15).allSatisfy { (2...101).contains($0) })
        #expect(quiet.map { listener.ended.contains($0.number) } == true)
    }

    @Test func aBusyConnectionStays() {
        let listener = Listener()
        let first = listener.enter(.unknownPeer(1), quota)
        first?.isBusy = true
        for _ in 0..<50 { _ = listener.enter(.unknownPeer(1), quota) }
        #expect(!listener.ended.contains(1) && listener.connections.count == quota.perAddress)
        let full = Listener()
        for _ in 0..<quota.perAddress { full.enter(.unknownPeer(1), quota)?.isBusy = true }
        #expect(full.enter(.unknownPeer(1), quota) == nil)
        // Another address does not suffer from it.
        #expect(full.enter(.unknownPeer(2), quota) != nil)
    }

    @Test func oneMemberCannotTakeTheRoomOfTheOthers() {
        let listener = Listener()
        for _ in 0..<1000 { #expect(listener.enter(.member("greedy"), quota) != nil) }
        #expect(listener.connections.count == quota.perMember)
        #expect(listener.enter(.member("other"), quota) != nil)
        // Handshakes that do not go on at a member's address end each other.
        for _ in 0..<1000 { _ = listener.enter(.expected(9), quota) }
        #expect(listener.connections.count == quota.perMember + 1 + quota.perAddress)
    }

    @Test func aHandshakeMovesToTheRoomOfWhoeverItWas() throws {
        let listener = Listener()
        let connection = try #require(listener.enter(.unknownPeer(1), quota))
        guard case .admitted = listener.connections.admit(connection, as: .member("a"), quota) else {
            Issue.record("not moved")
            return
        }
        #expect(listener.connections.count == 1)
        for _ in 0..<quota.unknownPeers { _ = listener.enter(.unknownPeer(UInt32.random(in: 5...9999)), quota) }
        #expect(listener.connections.count == quota.unknownPeers + 1)
        listener.connections.leave(connection)
        listener.connections.leave(connection)
        #expect(listener.connections.count == quota.unknownPeers)
        #expect(listener.connections.shed() != nil && listener.connections.count == quota.unknownPeers - 1)
    }
}
