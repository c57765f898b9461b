import Testing

@testable import FanProbe

/// Round trips are taken from the kernel's times of departure and arrival, however late the loop gets to the answers.
struct RoundTripTests {
    /// The kernel stamps by the clock of the machine, which may be set at any time.
    @Test func aClockThatWasSetChangesNothing() {
        var sent = SentEcho(bytes: 84, time: 1_000)
        sent.leftAt = 5_000_000
        // The machine's clock went back, or far ahead, while the packet was on its way.
        #expect(sent.roundTrip(answeredAt: 4_000_000, readAt: 51_000) == .nanoseconds(50_000))
        #expect(sent.roundTrip(answeredAt: 9_000_000, readAt: 51_000) == .nanoseconds(50_000))
        #expect(sent.roundTrip(answeredAt: 5_020_000, readAt: 51_000) == .nanoseconds(20_000))
        sent.leftAt = 0
        #expect(sent.roundTrip(answeredAt: 5_020_000, readAt: 51_000) == .nanoseconds(50_000))
    }
}
