import FanCore
import FanLab
import FanSystem
import FoundationEssentials
import TestSupport
import Testing

/// The round trips that `check` tells are those of the path, as `ping` measures them, however many peers are asked at
/// once.
@Suite(.serialized, .enabled(if: isRoot))
struct RoundTripTests {
    private struct Report: Decodable {
        struct Peer: Decodable {
            var overlay_address: String
            var rtt_ms: Double?
        }
        var peers: [Peer]
    }

    /// Ten pings' times in milliseconds.
    private static func ping(_ address: String, from node: LabNode) throws -> [Double] {
        let text = try node.namespace.succeed(["ping", "-n", "-c", "10", "-i", "0.002", address])
        return text.split(separator: "\n").compactMap { line in
            line.components(separatedBy: "time=").dropFirst().first.flatMap { Double($0.prefix { $0 != " " }) }
        }
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

    @Test func checkTellsWhatPingTells() throws {
        let lab = try Lab.hosts("rtt", nodes: 12, guests: 0)
        defer { try? lab.tearDown() }
        try lab.startAll()
        let node = lab.nodes[0]
        let addresses = lab.nodes.dropFirst().map { "\($0.slice.bridgeAddress.address)" }
        var told: [String: [Double]] = [:]
        var pinged: [String: [Double]] = [:]
        // By turns, so that what else this machine does meets both.
        for _ in 1...11 {
            let arguments = ["check", "--format", "json"] + addresses
            let text = try node.namespace.succeed(node.fanmesh(Programs.fanmesh, arguments))
            let report = try JSONDecoder().decode(Report.self, from: Data(text.utf8))
            #expect(Set(report.peers.map(\.overlay_address)) == Set(addresses))
            for peer in report.peers { told[peer.overlay_address, default: []].append(try #require(peer.rtt_ms)) }
            for address in addresses { pinged[address, default: []] += try Self.ping(address, from: node) }
        }
        for address in addresses {
            let own = Self.median(try #require(told[address]))
            let reference = Self.median(try #require(pinged[address]))
            print("round trip to \(address): \(own) ms, ping \(reference) ms")
            #expect(abs(own - reference) <= max(reference * 0.2, 0.020), "\(address): \(own) ms, ping \(reference) ms")
        }
        // One figure for all of them would be the loop's.
        #expect(Set(told.values.flatMap(\.self)).count > addresses.count)
    }
}
