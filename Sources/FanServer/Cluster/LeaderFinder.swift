/// What a member believes of who leads, and whom it asks next: a state machine without threads, sockets or clocks.
///
/// Somebody is believed to lead only when that server said so itself, with the term of its leadership; terms are
/// written to the database and only grow, so that the answer of an older leadership loses against a newer one.
/// Everything else - what the own database names, whom another member names, an announcement - is a hint: whom to ask
/// next, forgotten when it led nowhere. Nobody ever asks itself.
///
/// A search goes in rounds: hints first, then voters, standbys and some of the others, the next one whenever an answer
/// did not help or does not come within ``stagger``. So members that are dead cost that long each, not the time limit
/// of a connection. Rounds follow each other, ever slower, until somebody leads.
struct LeaderFinder<Address: Hashable & Sendable>: Sendable {
    /// The clock that the caller reads.
    typealias Instant = ContinuousClock.Instant

    /// Who leads, by its own word.
    struct Belief: Hashable, Sendable {
        var address: Address
        /// Which leadership of the cluster that is, from 1.
        var term: Int
    }

    /// What came of asking a server.
    enum Answer: Hashable, Sendable {
        /// It leads.
        case leads(term: Int)
        /// It does not lead, and thinks that another does.
        case names(Address)
        /// It does not lead, or cannot be asked.
        case nothing
    }

    /// What the caller does now.
    struct Step: Sendable {
        /// Whom to ask.
        var ask: [Address] = []
        /// When to look again, nil when only an event leads on.
        var next: Instant?
    }

    /// How long an answer is waited for before somebody else is asked too.
    static var stagger: Duration { .milliseconds(120) }
    /// After which time somebody who does not answer may be asked once more: it may be back.
    static var repetition: Duration { .milliseconds(500) }
    /// How many may be asked at the same time.
    static var breadth: Int { 16 }
    /// How many of the members without a role in elections are asked in one round.
    static var sample: Int { 8 }
    /// The pauses between rounds while nobody leads.
    static var shortestPause: Duration { .milliseconds(60) }
    static var longestPause: Duration { .milliseconds(480) }
    /// The longest pause between rounds that only verify.
    static var longestDoubt: Duration { .seconds(8) }

    private struct Round {
        var queue: [Address]
        var tried: Set<Address> = []
        var lastAsked: Instant?
        /// Whether the next one is asked without waiting for the last.
        var isUrgent = false
    }

    private let own: Address
    /// Who leads, nil while nobody is known to.
    private(set) var belief: Belief?
    /// The newest leadership that was heard of.
    private(set) var highestTerm = 0
    /// Those that vote or may soon, the likeliest first, and the others.
    private var likely: [Address] = []
    private var others: [Address] = []
    private var offset: Int
    /// Whom the own database names, and whether it ever named anybody.
    private var named: Address?
    private var round: Round?
    /// Who was asked and has not answered: how many times, and when last.
    private var asking: [Address: (count: Int, last: Instant)] = [:]
    private var believedSince: Instant?
    private var nextRound: Instant?
    private var lastBegan: Instant?
    private var pause = Self.shortestPause
    /// Whether something contradicts the belief.
    private var hasDoubt = false

    /// Begins without any belief.
    ///
    /// - Parameters:
    ///   - own: the member itself, which is never asked.
    ///   - offset: where in the list of the others the first round begins; random, so that members differ.
    init(own: Address, offset: Int = 0) {
        self.own = own
        self.offset = max(0, offset)
    }

    // MARK: what is heard

    /// Takes the members, by how likely they lead.
    mutating func learn(likely: [Address], others: [Address]) {
        self.likely = likely.filter { $0 != own }
        self.others = others.filter { $0 != own }
    }

    /// The own database names a leader, or does not.
    mutating func databaseNames(_ address: Address?, at now: Instant) {
        guard address != named else { return }
        named = address
        guard address != own, address != belief?.address else { return }
        doubt(at: now)
    }

    /// Somebody announces that it leads.
    mutating func announced(_ address: Address, term: Int, at now: Instant) {
        guard address != own, term > highestTerm || (belief == nil && term == highestTerm) else { return }
        doubt(at: now)
        // What it answered before counts no more.
        round?.tried.remove(address)
        prefer(address, at: now)
    }

    /// This server took the leadership, or has it no more.
    mutating func lead(term: Int?, at now: Instant) {
        if let term {
            guard term >= highestTerm else { return }
            believe(Belief(address: own, term: term), at: now)
        } else if belief?.address == own {
            drop(at: now)
        }
    }

    /// A server answered, or could not be asked.
    ///
    /// - Parameters:
    ///   - address: the server.
    ///   - answer: what it said.
    ///   - asked: when the search asked it; nil for what else it was asked.
    ///   - now: the time.
    mutating func answered(_ address: Address, _ answer: Answer, asked: Instant? = nil, at now: Instant) {
        if asked != nil, let entry = asking[address] {
            asking[address] = entry.count > 1 ? (entry.count - 1, entry.last) : nil
        }
        guard address != own else { return }
        // What was asked before it was known to lead says nothing against that.
        let isOld = asked.map { asked in believedSince.map { asked < $0 } ?? false } ?? false
        switch answer {
        case .leads(let term) where term > highestTerm || (term == highestTerm && belief?.address != own):
            believe(Belief(address: address, term: term), at: now)
        case .leads, .nothing:
            if belief?.address == address, !isOld { drop(at: now) }
        case .names(let other):
            if belief?.address == address, !isOld { drop(at: now) }
            guard other != own, other != address, other != belief?.address else { return }
            prefer(other, at: now)
        }
    }

    /// Something about the leader is odd, so that others are asked too; who leads is still believed.
    mutating func suspect(at now: Instant) {
        guard belief?.address != own, !hasDoubt else { return }
        doubt(at: now)
    }

    // MARK: what to do

    /// Chooses whom to ask now.
    mutating func step(at now: Instant) -> Step {
        if belief?.address == own { return Step() }
        if round == nil {
            guard belief == nil || hasDoubt else { return Step() }
            if let nextRound, nextRound > now { return Step(next: nextRound) }
            begin(at: now)
        }
        guard var current = round else { return Step() }
        var step = Step()
        while let address = next(&current, at: now) {
            current.tried.insert(address)
            current.lastAsked = now
            asking[address] = ((asking[address]?.count ?? 0) + 1, now)
            step.ask.append(address)
        }
        round = current
        let isDone = current.queue.isEmpty
        let answersAt = (current.lastAsked ?? now) + Self.stagger
        // Who has not answered by now is not waited for: the next round asks the others again.
        if isDone, !isWaiting(for: current) || now >= answersAt {
            round = nil
            nextRound = now + pause
            pause = min(pause * 2, belief == nil ? Self.longestPause : Self.longestDoubt)
            if belief != nil, pause == Self.longestDoubt { hasDoubt = false }
            step.next = belief == nil || hasDoubt ? nextRound : nil
        } else {
            step.next = answersAt > now ? answersAt : now + Self.stagger
        }
        return step
    }

    /// The next one of a round, when its turn has come.
    private func next(_ round: inout Round, at now: Instant) -> Address? {
        round.queue.removeAll { address in
            round.tried.contains(address) || asking[address].map { now < $0.last + Self.repetition } ?? false
        }
        let count = asking.values.reduce(0) { $0 + $1.count }
        guard count < Self.breadth, let first = round.queue.first else { return nil }
        if !round.isUrgent, isWaiting(for: round), let last = round.lastAsked, now < last + Self.stagger { return nil }
        round.queue.removeFirst()
        round.isUrgent = false
        return first
    }

    private func isWaiting(for round: Round) -> Bool { round.tried.contains { asking[$0] != nil } }

    private mutating func begin(at now: Instant) {
        lastBegan = now
        var queue: [Address] = []
        if let named, named != own { queue.append(named) }
        // The leader itself is asked too: it may have frozen.
        if let belief { queue.append(belief.address) }
        queue += likely
        let count = min(Self.sample, others.count)
        for index in 0..<count { queue.append(others[(offset % others.count + index) % others.count]) }
        offset = others.isEmpty ? 0 : (offset % others.count + count) % others.count
        var seen: Set<Address> = []
        round = Round(queue: queue.filter { $0 != own && seen.insert($0).inserted })
    }

    /// Puts somebody first, unless this round found already that it does not lead.
    private mutating func prefer(_ address: Address, at now: Instant) {
        guard round?.tried.contains(address) != true else { return }
        if round == nil {
            guard belief == nil || hasDoubt else { return }
            begin(at: now)
        }
        round?.queue.insert(address, at: 0)
        // A hint is worth asking at once.
        round?.isUrgent = true
    }

    private mutating func believe(_ belief: Belief, at now: Instant) {
        let isNew = self.belief != belief
        if isNew { believedSince = now }
        self.belief = belief
        highestTerm = belief.term
        guard isNew || named == belief.address || named == nil else { return }
        hasDoubt = false
        round = nil
        nextRound = nil
        pause = Self.shortestPause
    }

    private mutating func drop(at now: Instant) {
        belief = nil
        hurry(at: now)
    }

    private mutating func doubt(at now: Instant) {
        hasDoubt = true
        hurry(at: now)
    }

    /// Begins a search now, unless one is under way.
    private mutating func hurry(at now: Instant) {
        pause = Self.shortestPause
        guard round == nil else { return }
        // However often something is odd, the others are not asked without a pause.
        nextRound = max(now, lastBegan.map { $0 + Self.shortestPause } ?? now)
    }
}
