internal import CLinux
internal import Glibc

/// Moves bytes between two streams, both ways, until both have ended or one is broken; then closes both.
///
/// One thread serves all pairs of the process. A side that does not read holds up the other one; an end is passed on
/// as an end of that direction only.
///
/// - Parameters:
///   - a: one stream, owned by the pump from now on.
///   - b: the other one, likewise.
///   - endsWhole: whether one direction is of no use without the other: both end as soon as one has, or has been held up
///     for two seconds.
///   - ended: called on the pump's thread once both are closed; it must not block.
public func pump(
    _ a: any PumpEnd,
    _ b: any PumpEnd,
    endsWhole: Bool = false,
    ended: @escaping @Sendable () -> Void = {}
) {
    guard let loop = PumpLoop.shared, loop.add(PumpPair(ends: [a, b], endsWhole: endsWhole, ended: ended)) else {
        a.close()
        b.close()
        ended()
        return
    }
}

/// The thread that serves all pumps, and how others hand it new ones.
private final class PumpLoop: Sendable {
    static let shared: PumpLoop? = PumpLoop()

    let orders = Lock<[PumpPair]>([])
    let epoll: Int32
    let wake: Int32

    private init?() {
        epoll = fan_epoll_create()
        wake = fan_event_create()
        guard epoll >= 0, wake >= 0,
            fan_epoll_control(epoll, EPOLL_CTL_ADD, wake, EPOLLIN.rawValue, 0) == 0
        else { return nil }
        let started = startThread("pump") { [self] in
            var worker = PumpWorker(loop: self)
            worker.run()
        }
        guard started else { return nil }
    }

    func add(_ pair: PumpPair) -> Bool {
        orders.withLock { $0.append(pair) }
        return fan_event_signal(wake) == 0
    }
}

/// One direction of a pair: what its source gave and its target has not taken.
private struct PumpFlow {
    var kept: [UInt8] = []
    var given = 0
    var sourceEnded = false
    var finished = false
    /// The target takes no more: what comes is thrown away.
    var discarding = false

    var holds: Bool { given < kept.count }
}

private struct PumpPair {
    let ends: [any PumpEnd]
    let endsWhole: Bool
    let ended: @Sendable () -> Void
    /// `flows[i]` leads from `ends[i]` to the other one.
    var flows = [PumpFlow(), PumpFlow()]
    var masks: [UInt32] = [0, 0]
    /// When the pair is given up: set once a direction has ended or is held up, moved on by every byte.
    var deadline: UInt64?
    var isQueued = false

    init(ends: [any PumpEnd], endsWhole: Bool, ended: @escaping @Sendable () -> Void) {
        self.ends = ends
        self.endsWhole = endsWhole
        self.ended = ended
    }

    /// Whether a target has not taken what there is for it.
    var isHeldUp: Bool { (0..<2).contains { flows[$0].holds || ends[1 - $0].hasUnsent } }

    var isBroken: Bool {
        if endsWhole, flows.contains(where: \.discarding) { return true }
        return flows.allSatisfy(\.discarding) || flows.contains { $0.given < 0 }
    }

    var isOver: Bool {
        if endsWhole { return (0..<2).contains { flows[$0].finished && !ends[1 - $0].hasUnsent } }
        return flows.allSatisfy(\.finished) && !ends.contains { $0.hasUnsent }
    }
}

/// The pump's own state, touched by its thread alone.
private struct PumpWorker {
    static let scratchBytes = 64 << 10
    /// Turns of one pair before the others have theirs.
    static let turns = 8
    /// How long a pair with one ended direction may be silent, and how long one whose target is gone may go on.
    static let linger: UInt64 = 60_000_000_000
    static let discardLinger: UInt64 = 2_000_000_000
    /// How long a pair that ends whole may be held up.
    static let stall: UInt64 = 2_000_000_000

    let loop: PumpLoop
    var pairs: [UInt64: PumpPair] = [:]
    var lingering: Set<UInt64> = []
    var queue: [UInt64] = []
    var next: UInt64 = 1
    var scratch = [UInt8](repeating: 0, count: scratchBytes)

    init(loop: PumpLoop) {
        self.loop = loop
    }

    mutating func run() {
        var ready = Array(repeating: fan_ready(), count: Int(FAN_BATCH))
        while true {
            let wait: Int32 = queue.isEmpty ? (lingering.isEmpty ? -1 : 500) : 0
            let count = unsafe ready.withUnsafeMutableBufferPointer { buffer in
                unsafe fan_epoll_wait(loop.epoll, buffer.baseAddress, UInt32(buffer.count), wait)
            }
            let turn = queue
            queue = []
            for key in turn {
                pairs[key]?.isQueued = false
                advance(key)
            }
            for event in ready.prefix(max(0, Int(count))) {
                if event.token == 0 {
                    adopt()
                } else {
                    advance(event.token >> 1)
                }
            }
            if !lingering.isEmpty { giveUp() }
        }
    }

    private mutating func adopt() {
        _ = fan_event_drain(loop.wake)
        let orders = loop.orders.withLock { orders in
            let taken = orders
            orders = []
            return taken
        }
        for order in orders {
            let key = next
            next += 1
            pairs[key] = order
            advance(key)
        }
    }

    /// Ends the pairs that waited too long.
    private mutating func giveUp() {
        let now = fan_monotonic_nanoseconds()
        for key in lingering {
            guard let deadline = pairs[key]?.deadline else {
                lingering.remove(key)
                continue
            }
            if deadline <= now { drop(key) }
        }
    }

    private mutating func drop(_ key: UInt64) {
        lingering.remove(key)
        guard let pair = pairs.removeValue(forKey: key) else { return }
        for (side, end) in pair.ends.enumerated() {
            if pair.masks[side] != 0 { _ = fan_epoll_control(loop.epoll, EPOLL_CTL_DEL, end.descriptor, 0, 0) }
            end.close()
        }
        pair.ended()
    }

    /// Moves what can be moved between the two ends of a pair.
    private mutating func advance(_ key: UInt64) {
        guard var pair = pairs.removeValue(forKey: key) else { return }
        var again = false
        for side in 0..<2 {
            for turn in 1...Self.turns {
                guard move(&pair, side) else { break }
                if turn == Self.turns { again = true }
            }
        }
        if pair.endsWhole {
            pair.deadline = pair.isHeldUp ? pair.deadline ?? fan_monotonic_nanoseconds() + Self.stall : nil
        }
        pairs[key] = pair
        if pair.isBroken || pair.isOver {
            drop(key)
            return
        }
        if again, !pair.isQueued {
            pairs[key]?.isQueued = true
            queue.append(key)
        }
        if pair.deadline != nil { lingering.insert(key) }
        watch(key, pair)
    }

    /// One step of one direction.
    ///
    /// - Returns: whether another step may move more.
    private mutating func move(_ pair: inout PumpPair, _ side: Int) -> Bool {
        let source = pair.ends[side]
        let target = pair.ends[1 - side]
        if target.hasUnsent, !pair.flows[side].discarding {
            switch target.flush() {
            case .moved: break
            case .blocked: return false
            case .ended, .failed: return lose(&pair, side)
            }
        }
        if pair.flows[side].holds {
            let flow = pair.flows[side]
            switch target.send(flow.kept, flow.given..<flow.kept.count) {
            case .moved(let count):
                pair.flows[side].given += count
                if !pair.flows[side].holds {
                    pair.flows[side].kept = []
                    pair.flows[side].given = 0
                }
                touch(&pair)
                return true
            case .blocked: return false
            case .ended, .failed: return lose(&pair, side)
            }
        }
        guard !pair.flows[side].sourceEnded else {
            if !pair.flows[side].finished {
                pair.flows[side].finished = true
                if !pair.flows[side].discarding { target.finish() }
                linger(&pair, Self.linger)
            }
            return false
        }
        switch source.receive(into: &scratch) {
        case .moved(let count):
            if pair.flows[side].discarding { return true }
            var given = 0
            switch target.send(scratch, 0..<count) {
            case .moved(let taken): given = taken
            case .blocked: break
            case .ended, .failed: return lose(&pair, side)
            }
            if given < count { pair.flows[side].kept = Array(scratch[given..<count]) }
            touch(&pair)
            return given == count
        case .blocked:
            return false
        case .ended:
            pair.flows[side].sourceEnded = true
            return true
        case .failed:
            // Nothing more comes from a broken source, and nothing reaches it.
            pair.flows[side].given = -1
            return false
        }
    }

    /// The target of a direction is gone: what is still under way to the source may arrive, within a short time.
    private func lose(_ pair: inout PumpPair, _ side: Int) -> Bool {
        pair.flows[side].kept = []
        pair.flows[side].given = 0
        pair.flows[side].discarding = true
        linger(&pair, Self.discardLinger)
        return true
    }

    private func linger(_ pair: inout PumpPair, _ time: UInt64) {
        let limit = fan_monotonic_nanoseconds() + time
        pair.deadline = min(pair.deadline ?? .max, limit)
    }

    private func touch(_ pair: inout PumpPair) {
        guard pair.deadline != nil, !pair.flows.contains(where: \.discarding) else { return }
        pair.deadline = fan_monotonic_nanoseconds() + (pair.endsWhole ? Self.stall : Self.linger)
    }

    /// Waits for what each end can do next; an end that can do nothing is not waited for, since its hang-up would not
    /// go away.
    private mutating func watch(_ key: UInt64, _ pair: PumpPair) {
        for side in 0..<2 {
            let end = pair.ends[side]
            let out = pair.flows[side]
            let into = pair.flows[1 - side]
            var mask: UInt32 = 0
            let targetFull = out.holds || pair.ends[1 - side].hasUnsent
            if !out.sourceEnded, !targetFull || out.discarding { mask |= EPOLLIN.rawValue }
            if end.hasUnsent || into.holds { mask |= EPOLLOUT.rawValue }
            let old = pair.masks[side]
            if mask != old {
                let operation = old == 0 ? EPOLL_CTL_ADD : mask == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD
                let token = key << 1 | UInt64(side)
                if fan_epoll_control(loop.epoll, operation, end.descriptor, mask, token) < 0 {
                    drop(key)
                    return
                }
                pairs[key]?.masks[side] = mask
            }
            // Bytes inside an end do not show at its descriptor.
            if mask & EPOLLIN.rawValue != 0, end.hasBuffered, pairs[key]?.isQueued == false {
                pairs[key]?.isQueued = true
                queue.append(key)
            }
        }
    }
}
