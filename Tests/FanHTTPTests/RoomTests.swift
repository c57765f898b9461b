import FanCore
import FanHTTP
import FanSystem
import Glibc
import Testing

@testable import FanTLS

/// Who is let in, and who has to go.
@Suite struct RoomTests {
    private let plan = RoomPlan(descriptors: 1024, limits: HTTPLimits(), hasMembers: true)

    private final class Door {
        var rooms = ConnectionRooms()
        var next: UInt64 = 0
        /// Who was ended, by number.
        var ended: [UInt64] = []

        /// Lets somebody in; nil when refused.
        func enter(_ owner: Admitted.Owner, _ plan: RoomPlan) -> Admitted? {
            next += 1
            let admitted = Admitted(address: 0, number: next)
            switch rooms.admit(admitted, as: owner, plan) {
            case .admitted: return admitted
            case .instead(let other, _):
                ended.append(other.number)
                return admitted
            case .refused: return nil
            }
        }
    }

    @Test func roomIsDerivedFromTheDescriptors() {
        #expect(plan.all == 256 && plan.strangers == 64 && plan.perAddress == 16 && plan.perMember == 32)
        // All descriptors of all rooms fit, and a quarter is left.
        #expect(plan.all * RoomPlan.descriptorsEach <= 1024 - 256)
        let large = RoomPlan(descriptors: 1 << 20, limits: HTTPLimits(), hasMembers: true)
        #expect(large.all == 4096 && large.strangers == 1024 && large.perAddress == 64)
        let tiny = RoomPlan(descriptors: 10, limits: HTTPLimits(), hasMembers: true)
        #expect(tiny.all == 1 && tiny.strangers == 1)
        #expect(HTTPLimits.descriptors > 100)
    }

    @Test func strangersNeverTakeTheMembersRoom() {
        let door = Door()
        for index in 0..<2000 { #expect(door.enter(.stranger(UInt32(index % 300)), plan) != nil) }
        #expect(door.rooms.count == plan.strangers)
        // Every member still gets in, and nobody is ended for it.
        let before = door.ended.count
        for member in 0..<Int(plan.all - plan.strangers) { #expect(door.enter(.member("\(member)"), plan) != nil) }
        #expect(door.ended.count == before && door.rooms.count == plan.all)
        // One more of them takes a stranger's, not a member's.
        #expect(door.enter(.member("more"), plan) != nil)
        #expect(door.rooms.count == plan.all && door.ended.count == before + 1)
    }

    @Test func whoHasTheMostLosesFirst() {
        let door = Door()
        let quiet = door.enter(.stranger(1), plan)
        for _ in 0..<100 { _ = door.enter(.stranger(2), plan) }
        #expect(door.rooms.count == 1 + plan.perAddress)
        for address in 3..<200 { _ = door.enter(.stranger(UInt32(address)), plan) }
        #expect(door.rooms.count == plan.strangers)
        // The flood from one address had to go before the single connections.
        #expect(door.ended.prefix(84 + 15).allSatisfy { (2...101).contains($0) })
        #expect(quiet.map { door.ended.contains($0.number) } == true)
    }

    @Test func aBusyConnectionStays() {
        let door = Door()
        let first = door.enter(.stranger(1), plan)
        first?.isBusy = true
        for _ in 0..<50 { _ = door.enter(.stranger(1), plan) }
        #expect(!door.ended.contains(1) && door.rooms.count == plan.perAddress)
        let full = Door()
        for _ in 0..<plan.perAddress { full.enter(.stranger(1), plan)?.isBusy = true }
        #expect(full.enter(.stranger(1), plan) == nil)
        // Another address does not suffer from it.
        #expect(full.enter(.stranger(2), plan) != nil)
    }

    @Test func oneMemberCannotTakeTheRoomOfTheOthers() {
        let door = Door()
        for _ in 0..<1000 { #expect(door.enter(.member("greedy"), plan) != nil) }
        #expect(door.rooms.count == plan.perMember)
        #expect(door.enter(.member("other"), plan) != nil)
        // Handshakes that do not go on at a member's address end each other.
        for _ in 0..<1000 { _ = door.enter(.expected(9), plan) }
        #expect(door.rooms.count == plan.perMember + 1 + plan.perAddress)
    }

    @Test func aHandshakeMovesToTheRoomOfWhoeverItWas() throws {
        let door = Door()
        let connection = try #require(door.enter(.stranger(1), plan))
        guard case .admitted = door.rooms.admit(connection, as: .member("a"), plan) else {
            Issue.record("not moved")
            return
        }
        #expect(door.rooms.count == 1)
        for _ in 0..<plan.strangers { _ = door.enter(.stranger(UInt32.random(in: 5...9999)), plan) }
        #expect(door.rooms.count == plan.strangers + 1)
        door.rooms.leave(connection)
        door.rooms.leave(connection)
        #expect(door.rooms.count == plan.strangers)
        #expect(door.rooms.shed() != nil && door.rooms.count == plan.strangers - 1)
    }
}
