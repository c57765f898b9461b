import FanCore
import Glibc
import Testing

@testable import FanProbe

/// Round trips are what `ping` shows on the same path, however late the loop gets to the answers.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct RoundTripTests {
    /// The shortest of many round trips, in microseconds, as the kernel's own tool measures them.
    private static func pinged(_ network: TestNetwork, from host: Int, to destination: IPv4Address) throws -> Double {
        let file = "/tmp/fanprobe-ping-\(getpid())"
        defer { unsafe unlink(file) }
        try shell("ip netns exec \(network.host(host)) ping -n -q -c 50 -i 0.005 \(destination) > \(file)")
        let text = try String(contentsOfFile: file)
        // rtt min/avg/max/mdev = 0.020/0.025/0.040/0.004 ms
        let least = text.split(separator: "=").last?.split(separator: "/").first.flatMap {
            Double($0.drop { $0 == " " })
        }
        return try #require(least) * 1000
    }

    private static func probed(_ network: TestNetwork, to destinations: [IPv4Address]) throws -> [[Double]] {
        try inNamespace(network.host(0)) {
            let source = try ProbeSource(address: NamespaceProbeTests.underlay(0))
            var times: [[Double]] = Array(repeating: [], count: destinations.count)
            for _ in 0..<50 {
                let outcomes = try ProbeEngine.run(destinations.map { .echo(from: source, to: $0) })
                for (index, outcome) in outcomes.enumerated() {
                    guard case .answered(let roundTrip, _)? = outcome.echoOutcome else { continue }
                    times[index].append(Double(Int(roundTrip / .nanoseconds(1))) / 1000)
                }
            }
            return times
        }
    }

    /// Another program on the same processors may lengthen either side's, so one quiet moment is enough.
    @Test func isWhatPingShows() throws {
        let network = try TestNetwork(hosts: 2)
        let peer = NamespaceProbeTests.underlay(1)
        var seen: [String] = []
        for _ in 0..<10 {
            let series = try #require(try Self.probed(network, to: [peer]).first)
            #expect(series.count == 50)
            let least = try #require(series.min())
            let expected = try Self.pinged(network, from: 0, to: peer)
            if abs(least - expected) <= max(20, expected * 0.2) { return }
            seen.append("\(least) us here, \(expected) us by ping")
        }
        Issue.record("\(seen)")
    }

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

extension String {
    fileprivate init(contentsOfFile path: String) throws {
        guard let file = unsafe fopen(path, "r") else { throw TestFailure(description: "cannot read \(path)") }
        defer { unsafe fclose(file) }
        var text = ""
        while let line = unsafe readLine(of: file) { text += line }
        self = text
    }
}

private func readLine(of file: UnsafeMutablePointer<FILE>) -> String? {
    var line: UnsafeMutablePointer<CChar>?
    var size = 0
    defer { unsafe free(line) }
    guard unsafe getline(&line, &size, file) > 0, let text = unsafe line else { return nil }
    return unsafe String(cString: text)
}
