import TestSupport
import Testing

@testable import FanServer

/// The search for the leader in virtual time: every schedule can be run again by its seed.
@Suite struct LeaderFinderTests {
    typealias Finder = LeaderFinder<Int>

    private let start = ContinuousClock.now
    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }

    /// Servers that answer each other after some time, each with a finder of its own.
    private struct World {
        enum Health { case well, frozen, dead }

        struct Server {
            var finder: Finder
            var health = Health.well
            /// The term in which it leads.
            var term: Int?
            var nextStep = 0
        }

        struct Event {
            var time: Int
            var run: (inout World) -> Void
        }

        let start: ContinuousClock.Instant
        var random: SeededGenerator
        var servers: [Server]
        var voters: Set<Int>
        var now = 0
        var events: [Event] = []
        var asked = 0
        var problems: [String] = []

        init(_ count: Int, seed: UInt64, start: ContinuousClock.Instant) {
            self.start = start
            random = SeededGenerator(seed: seed)
            voters = Set((0..<count).shuffled(using: &random).prefix(3))
            servers = (0..<count).map { Server(finder: Finder(own: $0, offset: Int(seed % 64) + $0)) }
        }

        var instant: ContinuousClock.Instant { start + .milliseconds(now) }
        var leader: Int? { servers.indices.first { servers[$0].term != nil && servers[$0].health == .well } }

        mutating func after(_ milliseconds: Int, _ run: @escaping (inout World) -> Void) {
            events.append(Event(time: now + milliseconds, run: run))
        }

        /// One server asks another; nothing comes back from one that is dead or frozen, until the time limit.
        mutating func ask(_ source: Int, _ target: Int) {
            asked += 1
            if source == target { problems.append("\(source) asks itself") }
            let latency = Int.random(in: 1...20, using: &random)
            let time = instant
            after(latency) { world in
                guard world.servers[target].health == .well else {
                    world.after(2000) { $0.reply(target, to: source, .nothing, asked: time) }
                    return
                }
                let answer: Finder.Answer
                if let term = world.servers[target].term {
                    answer = .leads(term: term)
                } else if let belief = world.servers[target].finder.belief, belief.address != target {
                    answer = .names(belief.address)
                } else {
                    answer = .nothing
                }
                let back = Int.random(in: 1...20, using: &world.random)
                world.after(back) { $0.reply(target, to: source, answer, asked: time) }
            }
        }

        mutating func reply(_ source: Int, to target: Int, _ answer: Finder.Answer, asked: ContinuousClock.Instant) {
            note(target) { $0.answered(source, answer, asked: asked, at: $1) }
        }

        mutating func note(_ number: Int, _ event: (inout Finder, ContinuousClock.Instant) -> Void) {
            event(&servers[number].finder, instant)
            servers[number].nextStep = now
        }

        /// Lets time pass.
        ///
        /// A believed leader that does not lead any more says so, as its held heartbeat does.
        mutating func run(for milliseconds: Int, until isDone: (World) -> Bool = { _ in false }) {
            let end = now + milliseconds
            while now < end, !isDone(self) {
                for number in servers.indices where servers[number].health == .well && servers[number].nextStep <= now {
                    let step = servers[number].finder.step(at: instant)
                    servers[number].nextStep =
                        step.next.map { now + max(1, Int(instant.duration(to: $0) / .milliseconds(1))) } ?? .max
                    for address in step.ask { ask(number, address) }
                }
                for number in servers.indices where servers[number].health == .well {
                    guard let belief = servers[number].finder.belief, belief.address != number else { continue }
                    let other = servers[belief.address]
                    guard other.health != .frozen, other.health == .dead || other.term != belief.term else { continue }
                    let answer = other.term.map { Finder.Answer.leads(term: $0) } ?? .nothing
                    note(number) { $0.answered(belief.address, answer, at: $1) }
                }
                let next = (events.map(\.time) + servers.filter { $0.health == .well }.map(\.nextStep)).min() ?? end
                now = min(end, max(now + 1, next))
                let due = events.filter { $0.time <= now }
                events.removeAll { $0.time <= now }
                for event in due { event.run(&self) }
            }
        }

        /// Somebody takes the leadership: the voters' databases hear of it, and all are told once.
        mutating func elect(_ number: Int, term: Int) {
            for other in servers.indices where servers[other].term != nil && servers[other].health == .well {
                servers[other].term = nil
                note(other) { $0.lead(term: nil, at: $1) }
            }
            servers[number].term = term
            note(number) { $0.lead(term: term, at: $1) }
            for other in servers.indices where other != number && servers[other].health == .well {
                let latency = Int.random(in: 1...200, using: &random)
                if voters.contains(other) {
                    after(latency) { $0.note(other) { $0.databaseNames(number, at: $1) } }
                }
                after(latency) { $0.note(other) { $0.announced(number, term: term, at: $1) } }
            }
        }

        /// Whether all that are well believe in the leader.
        var agrees: Bool {
            guard let leader else { return false }
            return servers.indices.allSatisfy {
                servers[$0].health != .well || servers[$0].finder.belief?.address == leader
            }
        }

        mutating func learn() {
            let likely = voters.sorted()
            let others = servers.indices.filter { !voters.contains($0) }
            for number in servers.indices {
                // Who is no voter may know old roles, or none.
                let stale = !voters.contains(number) && Bool.random(using: &random)
                servers[number].finder.learn(
                    likely: stale ? Array(others.prefix(2)) : likely,
                    others: stale ? Array(servers.indices) : others
                )
            }
        }
    }

    /// From any belief, hint and term that the past may have left, everybody finds the leader within 2 s, though two
    /// members are dead or frozen and nobody is told.
    @Test(arguments: 0..<200) func findsTheLeaderFromEveryState(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let count = Int.random(in: 3...9, using: &random)
        var world = World(count, seed: seed, start: start)
        world.learn()
        let term = 20
        let leader = world.voters.sorted().randomElement(using: &random) ?? 0
        for number in 0..<count
        where number != leader && world.servers.count(where: { $0.health != .well }) < min(2, count - 2) {
            if Int.random(in: 0..<3, using: &random) == 0 {
                world.servers[number].health = Bool.random(using: &random) ? .dead : .frozen
            }
        }
        for number in 0..<count where number != leader {
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                let other = Int.random(in: 0..<count, using: &random)
                let old = Int.random(in: 1..<term, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0: world.note(number) { $0.answered(other, .leads(term: old), at: $1) }
                case 1: world.note(number) { $0.answered(other, .names(Int(old) % count), at: $1) }
                case 2: world.note(number) { $0.databaseNames(other, at: $1) }
                case 3: world.note(number) { $0.announced(other, term: old, at: $1) }
                default: world.note(number) { $0.lead(term: old, at: $1) }
                }
            }
            // What it believed to lead itself was given up.
            world.note(number) { $0.lead(term: nil, at: $1) }
        }
        // Of a frozen leader of the past only the database tells, which all voters have heard by now.
        world.servers[leader].term = term
        world.note(leader) { $0.lead(term: term, at: $1) }
        let believers = world.servers.indices.filter { number in
            world.servers[number].finder.belief.map { world.servers[$0.address].health == .frozen } ?? false
        }
        for number in believers { world.note(number) { $0.announced(leader, term: term, at: $1) } }
        world.run(for: 2000) { $0.agrees }
        let isFound = world.agrees
        #expect(isFound, "seed \(seed): \(world.servers.map(\.finder.belief)) instead of \(leader)")
        let problems = world.problems
        #expect(problems.isEmpty)
    }

    /// Leaders come, go, die and freeze; after each change everybody who is well agrees within 2 s.
    @Test(arguments: 0..<60) func followsEveryChange(seed: UInt64) {
        var random = SeededGenerator(seed: seed &+ 7_000)
        let count = Int.random(in: 3...9, using: &random)
        var world = World(count, seed: seed, start: start)
        world.learn()
        var worst = 0
        var isFound = false
        for term in 1...12 {
            let healthy = world.servers.indices.filter { world.servers[$0].health == .well }
            if let former = world.leader, Bool.random(using: &random), healthy.count > count / 2 + 1 {
                world.servers[former].health = Bool.random(using: &random) ? .dead : .frozen
                if world.servers[former].health == .dead { world.servers[former].term = nil }
            }
            let voters = world.voters.filter { world.servers[$0].health == .well }
            guard let next = voters.sorted().randomElement(using: &random) else { break }
            world.elect(next, term: term)
            let begun = world.now
            world.run(for: 2000) { $0.agrees }
            isFound = world.agrees
            #expect(isFound, "seed \(seed), term \(term): \(world.servers.map(\.finder.belief)) instead of \(next)")
            worst = max(worst, world.now - begun)
            world.run(for: Int.random(in: 0...400, using: &random))
            isFound = world.agrees
            #expect(isFound, "seed \(seed), term \(term): lost again")
            // Who was frozen wakes with what it believed, and who was dead starts anew.
            for number in world.servers.indices
            where world.servers[number].health != .well && Bool.random(using: &random) {
                if world.servers[number].health == .dead {
                    world.servers[number].finder = Finder(own: number, offset: number)
                }
                world.servers[number].health = .well
                world.servers[number].term = nil
                world.note(number) { $0.lead(term: nil, at: $1) }
                world.learn()
            }
        }
        let problems = world.problems
        #expect(problems.isEmpty)
        #expect(worst <= 2000)
    }

    /// While nobody leads, nobody is asked without end.
    @Test func asksWithPauses() {
        var world = World(9, seed: 3, start: start)
        world.learn()
        world.run(for: 10_000)
        let perSecond = world.asked / 9 / 10
        #expect(perSecond <= 8 * 1000 / 480 + 8, "\(perSecond) questions a second from each")
        let before = world.asked
        world.elect(world.voters.sorted()[0], term: 1)
        world.run(for: 2000) { $0.agrees }
        world.run(for: 1000)
        let settled = world.asked
        world.run(for: 20_000)
        let after = world.asked
        #expect(after == settled, "who knows the leader asks nobody")
        #expect(settled > before)
    }

    @Test func anOlderLeadershipLoses() {
        var finder = Finder(own: 0)
        finder.learn(likely: [1, 2], others: [])
        finder.answered(1, .leads(term: 5), at: at(0))
        #expect(finder.belief == .init(address: 1, term: 5))
        finder.answered(2, .leads(term: 4), at: at(1))
        #expect(finder.belief?.address == 1)
        finder.answered(2, .leads(term: 6), at: at(2))
        #expect(finder.belief == .init(address: 2, term: 6))
        // Its own word of an earlier leadership counts no more, even when nobody leads.
        finder.answered(2, .nothing, at: at(3))
        #expect(finder.belief == nil)
        finder.answered(1, .leads(term: 5), at: at(4))
        #expect(finder.belief == nil)
    }

    @Test func namesAreOnlyHints() {
        var finder = Finder(own: 0)
        finder.learn(likely: [1, 2], others: [3])
        finder.databaseNames(2, at: at(0))
        #expect(finder.belief == nil)
        #expect(finder.step(at: at(0)).ask == [2])
        // Who names the one that asks, or one that was asked before, helps nobody.
        finder.answered(2, .names(0), asked: at(0), at: at(1))
        #expect(finder.step(at: at(1)).ask == [1])
        finder.answered(1, .names(2), asked: at(1), at: at(2))
        #expect(finder.step(at: at(2)).ask == [3])
        #expect(finder.belief == nil)
    }

    @Test func doesNotWaitForTheDead() {
        var finder = Finder(own: 0)
        finder.learn(likely: [1, 2, 3], others: [])
        #expect(finder.step(at: at(0)).ask == [1])
        #expect(finder.step(at: at(50)).ask == [])
        #expect(finder.step(at: at(120)).ask == [2])
        #expect(finder.step(at: at(240)).ask == [3])
        finder.answered(3, .leads(term: 1), at: at(241))
        #expect(finder.belief?.address == 3)
        #expect(finder.step(at: at(300)).ask == [])
    }
}
