import FanHTTP
import Testing

@testable import FanServer

/// How many lines refused connections are worth.
@Suite struct EventTallyTests {
    private func event(_ source: Int, _ cause: String = "no TLS was spoken") -> HTTPServerEvent {
        HTTPServerEvent(kind: .handshakeFailed, source: "10.0.0.\(source)", cause: cause)
    }

    @Test func thousandsOfEventsAreTwoLinesWithTheirNumber() {
        var tally = EventTally()
        let start = ContinuousClock.now
        var lines = (0..<3000).compactMap { tally.add(event($0 % 6), at: start + .microseconds(100 * $0)) }
        #expect(lines == ["refused a connection from 10.0.0.0: no TLS was spoken"])
        #expect(tally.due(at: start + .seconds(4)) == [])
        lines = tally.due(at: start + EventTally.interval)
        #expect(
            lines == [
                "2999 more from 6 addresses in 5.0 seconds, the last: refused a connection from 10.0.0.5:"
                    + " no TLS was spoken"
            ]
        )
        // What went on is counted on; what ended is forgotten, and comes at once when it begins anew.
        #expect(tally.add(event(1), at: start + .seconds(6)) == nil)
        #expect(
            tally.due(at: start + .seconds(10)) == ["refused a connection from 10.0.0.1: no TLS was spoken"]
        )
        #expect(tally.due(at: start + .seconds(15)) == [])
        #expect(tally.add(event(2), at: start + .seconds(16)) != nil)
    }

    @Test func causesWithoutEndAreOneKind() {
        var tally = EventTally()
        let start = ContinuousClock.now
        let lines = (0..<1000).compactMap { tally.add(event(1, "cause \($0)"), at: start) }
        #expect(lines.count == EventTally.maximumKinds + 1)
        let later = tally.due(at: start + EventTally.interval)
        #expect(later.count == 1 && later[0].hasPrefix("975 more"), "\(later)")
    }
}
