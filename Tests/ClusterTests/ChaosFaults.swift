import FanCore
import FanLab
import FanSystem
import Foundation
import TestSupport
import Testing

/// Does to a cluster what a schedule says, sees that it really happened, and mends it again.
final class ChaosFaults {
    private let lab: FailureLab
    private let history: ChaosHistory
    /// What was done, in order.
    private(set) var trace: [String] = []
    /// The faults that were seen to have happened.
    private(set) var count = 0
    private(set) var outages: [ChaosPings.Outage] = []
    private let connections: [Int: ChaosConnection]

    private struct Repair {
        var name: String
        var body: () throws -> Void
    }

    private var repairs: [Repair] = []
    /// Nodes that something is done to already: their daemons belong to that.
    private var busy: Set<Int> = []
    private var pinned: Set<String> = []

    init(_ lab: FailureLab, _ history: ChaosHistory) {
        self.lab = lab
        self.history = history
        connections = Dictionary(uniqueKeysWithValues: lab.numbers.map { ($0, ChaosConnection(lab, node: $0)) })
    }

    private func note(_ text: String) {
        trace.append("\(Double(history.now / 1_000_000) / 1000) s: \(text)")
    }

    /// Runs one step and mends what it did.
    func run(_ step: ChaosStep) throws {
        pause(step.rest)
        for fault in step.faults { try begin(fault) }
        pause(step.hold)
        try mend()
    }

    private func pause(_ time: Duration) { usleep(UInt32(time.milliseconds) * 1000) }

    /// Undoes everything that is still out of order.
    func mend() throws {
        var failure: (any Error)?
        for repair in repairs.reversed() {
            do {
                try repair.body()
                note("mended: \(repair.name)")
            } catch { failure = failure ?? error }
        }
        repairs = []
        busy = []
        unpin(atMost: .seconds(1))
        if let failure { throw failure }
    }

    /// Takes the pins away; those that cannot be now are left for the next time.
    func unpin(atMost limit: Duration) {
        let end = ContinuousClock.now + limit
        while let name = pinned.sorted().first, ContinuousClock.now < end {
            if pin(name, "auto", through: lab.numbers.randomElement() ?? 1) {
                pinned.remove(name)
            } else {
                usleep(100_000)
            }
        }
    }

    // MARK: who

    /// Who leads, as most servers say that answer at once.
    private func leader() -> Int {
        var votes: [String: Int] = [:]
        for number in lab.numbers where !busy.contains(number) {
            let probe = ChaosConnection(lab, node: number)
            guard case .done(let snapshot) = probe.ask("GET", "/1.0/local", timeout: .milliseconds(300)) else {
                continue
            }
            if let name = try? snapshot.optionalText("leader") { votes[name, default: 0] += 1 }
        }
        let name = votes.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
        return name.flatMap { Int($0.drop { !$0.isNumber }) } ?? lab.numbers[count % lab.numbers.count]
    }

    // MARK: faults

    private func begin(_ fault: ChaosFault) throws {
        let leader = leader()
        func node(_ target: ChaosTarget) -> Int { target.node(leader: leader, of: lab.numbers.count) }
        note("\(fault), node\(leader) leading")
        switch fault {
        case .kill(let daemons, let target):
            for daemon in daemons { try kill(daemon, node(target)) }
        case .halt(let daemons, let target):
            for daemon in daemons { try halt(daemon, node(target)) }
        case .restart(let target): try restart(node(target))
        case .blackout: for number in lab.numbers { try kill(.server, number) }
        case .split(let targets): try split(Set(targets.map(node)))
        case .cut(let one, let other):
            let (one, other) = (node(one), node(other))
            guard one != other else { return }
            try block([(one, other), (other, one)], port: nil)
        case .deafen(let target, let source): try deafen(node(target), source.map(node), port: nil)
        case .deafenServer(let target, let source): try deafen(node(target), source.map(node), port: 8473)
        case .pin(let target, let role):
            let name = lab.cluster.node(node(target)).name
            pinned.insert(name)
            let through = lab.numbers.first { !busy.contains($0) && $0 != leader } ?? 1
            if pin(name, role.rawValue, through: through) { count += 1 }
        }
    }

    private func process(_ daemon: ClusterDaemon, _ number: Int) throws -> LabDaemon? {
        guard let process = lab.cluster.process(daemon, on: number) else { return nil }
        try #require(
            process.isRunning,
            "the \(daemon.rawValue) of node\(number) \(process.explanation ?? "ended") by itself"
        )
        return process
    }

    private func kill(_ daemon: ClusterDaemon, _ number: Int) throws {
        guard busy.insert(daemon == .agent ? -number : number).inserted else { return }
        guard let process = try process(daemon, number) else { return }
        try process.kill()
        try #require(!process.isRunning)
        count += 1
        repairs.append(
            Repair(name: "\(daemon.rawValue) of node\(number) started") { [lab] in
                try lab.cluster.start(daemon, on: number)
            }
        )
    }

    private func halt(_ daemon: ClusterDaemon, _ number: Int) throws {
        guard busy.insert(daemon == .agent ? -number : number).inserted else { return }
        guard let process = try process(daemon, number) else { return }
        process.pause()
        repairs.append(Repair(name: "\(daemon.rawValue) of node\(number) goes on") { process.resume() })
        // Stopped by a signal: T.
        let isHalted = eventually(within: .seconds(1)) {
            let stat = (try? String(contentsOfFile: "/proc/\(process.id)/stat", encoding: .utf8)) ?? ""
            return stat.drop { $0 != ")" }.dropFirst(2).first == "T"
        }
        try #require(isHalted, "node\(number)'s \(daemon.rawValue) does not stand still")
        count += 1
    }

    private func restart(_ number: Int) throws {
        guard busy.insert(number).inserted, let process = try process(.server, number) else { return }
        process.signal(SIGTERM)
        count += 1
        repairs.append(
            Repair(name: "server of node\(number) started after its end") { [lab] in
                try #require(process.waitForEnd(atMost: .seconds(25)), "node\(number)'s server does not end")
                try lab.cluster.start(.server, on: number)
            }
        )
    }

    private func pin(_ name: String, _ role: String, through number: Int) -> Bool {
        let key = "member/\(name)/role"
        let place = history.call(key, role, client: "faults@node\(number)")
        switch connections[number]?.ask("PATCH", "/1.0/members/\(name)", ["role": .string(role)]) {
        case .done:
            history.finish(key, place, .done)
            return true
        case .refused(let reason): history.finish(key, place, .refused, reason: reason)
        case .unknown(let reason): history.finish(key, place, .unknown, reason: reason)
        case nil: break
        }
        return false
    }

    // MARK: the underlay

    private func deafen(_ target: Int, _ source: Int?, port: Int?) throws {
        let sources = source.map { [$0] } ?? lab.numbers
        try block(sources.filter { $0 != target }.map { ($0, target) }, port: port)
    }

    /// Plugs nodes into another switch.
    private func split(_ group: Set<Int>) throws {
        let rest = lab.numbers.filter { !group.contains($0) }
        guard !rest.isEmpty else { return }
        // Changing the plugs takes a moment, and disturbs all.
        let index = open(nil)
        try lab.cluster.lab.partition([rest, group.sorted()])
        repairs.append(
            Repair(name: "cables of \(group.sorted())") { [self] in
                try lab.cluster.lab.heal()
                outages[index].ended = ChaosPings.now
            }
        )
        try expectSilence(from: rest[0], to: group.min() ?? rest[0])
        count += 1
    }

    private func open(_ pairs: Set<[Int]>?) -> Int {
        outages.append(ChaosPings.Outage(began: ChaosPings.now, ended: nil, pairs: pairs))
        return outages.count - 1
    }

    private static let table = "chaos"

    /// Drops what comes from nodes at nodes, all of it or what is of the servers' port on either side.
    private func block(_ ways: [(from: Int, to: Int)], port: Int?) throws {
        guard !ways.isEmpty else { return }
        let index = port == nil ? open(Set(ways.map { [$0.from, $0.to].sorted() })) : nil
        for (target, ways) in Dictionary(grouping: ways, by: \.to) {
            var rules = "add table inet \(Self.table); "
            rules += "add chain inet \(Self.table) in { type filter hook input priority -300; }; "
            for way in ways {
                let source = "ip saddr \(lab.cluster.node(way.from).address)"
                let filters = port.map { ["tcp dport \($0)", "tcp sport \($0)"] } ?? [""]
                for filter in filters { rules += "add rule inet \(Self.table) in \(source) \(filter) counter drop; " }
            }
            let namespace = lab.cluster.node(target).namespace
            let result = try namespace.run("nft", rules)
            try #require(result.isSuccess, "\(result)")
            repairs.append(
                Repair(name: "ears of node\(target)") { [self] in
                    let isDeaf = try namespace.run("nft", "list table inet \(Self.table)").output
                    if isDeaf.contains("counter packets"),
                        isDeaf.split(separator: "\n").contains(where: {
                            $0.contains("counter packets") && !$0.contains("packets 0 ")
                        })
                    {
                        count += 1
                    }
                    let removed = try namespace.run("nft", "delete table inet \(Self.table)")
                    try #require(removed.isSuccess, "\(removed)")
                    if let index { outages[index].ended = ChaosPings.now }
                }
            )
        }
        if port == nil, let way = ways.first { try expectSilence(from: way.from, to: way.to) }
    }

    /// Sees that nothing comes through.
    private func expectSilence(from source: Int, to target: Int) throws {
        let address = "\(lab.cluster.node(target).address)"
        let result = try lab.cluster.node(source).namespace.run("ping", "-q", "-n", "-c", "1", "-W", "0.2", address)
        try #require(!result.isSuccess, "node\(source) still reaches node\(target)")
    }
}
