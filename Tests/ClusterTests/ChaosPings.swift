import CLinux
import FanCore
import FanLab
import FanSystem
import Foundation
import Testing

/// Pings of guests of each node to a guest of the next, while a cluster is tormented.
struct ChaosPings {
    /// When the underlay of some nodes was out of order, on the clock on the wall.
    struct Outage: Sendable {
        var began: Double
        var ended: Double?
        /// Pairs of nodes, the lower first; nil for all.
        var pairs: Set<[Int]>?

        /// What was on its way, or has to find its way again, is not blamed on the cluster.
        static let margin = 1.5

        func excuses(_ moment: Double, _ pair: [Int]) -> Bool {
            moment > began - 0.2 && moment < (ended ?? .infinity) + Self.margin && (pairs?.contains(pair) ?? true)
        }
    }

    /// What became of them.
    struct Figures: Sendable {
        var sent = 0
        var lost = 0
        /// Lost while the underlay was out of order.
        var excused = 0
        var details: [String] = []
    }

    private struct Ping {
        var pair: [Int]
        var daemon: LabDaemon
    }

    private let pings: [Ping]

    /// The time on the wall in seconds since 1970.
    static var now: Double { Date().timeIntervalSince1970 }

    init(_ lab: FailureLab) throws {
        let count = lab.numbers.count
        pings = try lab.numbers.map { number in
            let next = number % count + 1
            let source = lab.cluster.node(number).guests[0].namespace
            let target = "\(lab.cluster.node(next).guests[0].address.address)"
            try lab.wait(for: "\(source) to reach \(target)") {
                try source.run("ping", "-q", "-c", "1", "-W", "1", target).isSuccess
            }
            let command = ["ip", "netns", "exec", source.name, "ping", "-D", "-O", "-n", "-i", "0.02", target]
            let daemon = try LabDaemon("ping", on: lab.cluster.node(number), command)
            return Ping(pair: [number, next].sorted(), daemon: daemon)
        }
    }

    /// Ends them and counts.
    func finish(_ outages: [Outage]) throws -> Figures {
        var figures = Figures()
        for ping in pings {
            // The last ones are still on their way.
            ping.daemon.signal(SIGINT)
            try #require(ping.daemon.waitForEnd(atMost: .seconds(5)), "a ping does not end")
            try Self.count(ping, outages, &figures)
        }
        return figures
    }

    private static func count(_ ping: Ping, _ outages: [Outage], _ figures: inout Figures) throws {
        var answered: Set<Int> = []
        var missing: [Int: Double] = [:]
        var last = 0
        let text = try String(contentsOfFile: ping.daemon.logPath, encoding: .utf8)
        for line in text.split(separator: "\n") {
            guard line.utf8.first == UInt8(ascii: "["), let mark = line.range(of: "icmp_seq=") else { continue }
            guard let number = Int(line[mark.upperBound...].prefix { $0.isNumber }) else { continue }
            if line.contains("bytes from") {
                answered.insert(number)
            } else if let moment = Double(line.dropFirst().prefix { $0 != "]" }) {
                missing[number] = missing[number] ?? moment
            }
            last = max(last, number)
        }
        figures.sent += last
        // Less than the time that an answer may take, before the end, says nothing.
        for (number, moment) in missing.sorted(by: { $0.key < $1.key }) {
            guard !answered.contains(number), number < last - 25 else { continue }
            if outages.contains(where: { $0.excuses(moment, ping.pair) }) {
                figures.excused += 1
            } else {
                figures.lost += 1
                figures.details.append("node\(ping.pair[0])-node\(ping.pair[1]) seq \(number) at \(moment)")
            }
        }
    }
}
