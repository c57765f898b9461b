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

    private static func check(_ addresses: [String], from node: LabNode) throws -> [String: Double] {
        let arguments = ["check", "--format", "json"] + addresses
        let text = try node.namespace.succeed(node.fanmesh(Programs.fanmesh, arguments))
        let peers = try JSONDecoder().decode(Report.self, from: Data(text.utf8)).peers
        #expect(peers.map(\.overlay_address) == addresses)
        return try Dictionary(uniqueKeysWithValues: peers.map { ($0.overlay_address, try #require($0.rtt_ms)) })
    }

    @Test func checkTellsWhatPingTells() throws {
        let lab = try Lab.hosts("rtt", nodes: 12, guests: 0)
        defer { try? lab.tearDown() }
        try lab.startAll()
        // What else the machine does may spoil a round of measurements, and not three; what is wrong spoils all.
        var complaints: [String] = []
        for _ in 1...3 {
            complaints = try Self.disagreements(lab)
            if complaints.isEmpty { break }
        }
        #expect(complaints.isEmpty)
    }

    private static func disagreements(_ lab: borrowing Lab) throws -> [String] {
        let node = lab.nodes[0]
        let addresses = lab.nodes.dropFirst().map { "\($0.slice.bridgeAddress.address)" }
        let alone = addresses[0]
        var single: [Double] = []
        var among: [String: [Double]] = [:]
        var pinged: [String: [Double]] = [:]
        // By turns, so that what else this machine does meets all.
        for _ in 1...11 {
            for _ in 1...3 { single.append(try #require(try check([alone], from: node)[alone])) }
            for (address, time) in try check(addresses, from: node) { among[address, default: []].append(time) }
            for address in addresses { pinged[address, default: []] += try ping(address, from: node) }
        }
        var complaints: [String] = []
        let reference = median(try #require(pinged[alone]))
        let told = median(single)
        print("round trip to one peer: \(told) ms, ping \(reference) ms")
        if abs(told - reference) > max(reference * 0.2, 0.020) {
            complaints.append("one peer: \(told) ms, ping \(reference) ms")
        }
        // Of many peers at once each has its own; those that are asked behind another find a warm path.
        for address in addresses {
            let reference = median(try #require(pinged[address]))
            let told = median(try #require(among[address]))
            print("round trip to \(address) among \(addresses.count): \(told) ms, ping \(reference) ms")
            if told > reference + max(reference * 0.2, 0.020) {
                complaints.append("\(address): \(told) ms, ping \(reference) ms")
            }
        }
        #expect(Set(among.values.flatMap(\.self)).count > addresses.count)
        return complaints
    }
}
