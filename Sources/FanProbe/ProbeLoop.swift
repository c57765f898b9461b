internal import CLinux
internal import FanSystem
internal import Glibc

/// Runs any number of probes at once, on the calling thread.
public enum ProbeEngine {
    /// Runs probes until each has an outcome, and answers on the listeners meanwhile.
    ///
    /// Blocks the calling thread: call it on a thread of your own, never on the cooperative pool. The sources may
    /// belong to different network namespaces.
    ///
    /// - Parameters:
    ///   - jobs: what to find out.
    ///   - listeners: the ports to answer on.
    ///   - isCancelled: asked at least ten times a second; true calls the run off.
    /// - Returns: one outcome per job, in the same order.
    /// - Throws: ``ProbeError`` when the loop itself cannot run. A probe that fails is an outcome.
    public static func run(
        _ jobs: [ProbeJob],
        listeners: [ProbeListener] = [],
        isCancelled: () -> Bool = { false }
    ) throws(ProbeError) -> [ProbeOutcome] {
        let epoll = Descriptor(adopting: try ProbeError.check(fan_epoll_create(), "create", "an epoll set"))
        var loop = ProbeLoop(jobs: jobs, listeners: listeners, epoll: epoll)
        return try loop.run(isCancelled: isCancelled)
    }
}

/// The one loop of sockets and timers: it does the I/O that the state machines ask for.
struct ProbeLoop: ~Copyable {
    /// How many probes are under way at once.
    static let window = 4096
    static let batch = Int(FAN_BATCH)

    let epoll: Descriptor
    let began: UInt64
    let identifier: UInt16
    let slotBytes: Int
    var jobs: [JobState] = []
    var sources: [SourceState] = []
    var server: EchoServer
    var timers: TimerQueue
    var pacer: SendPacer
    var nextJob = 0
    var active = 0
    var unfinished: Int
    var sendBuffer: [UInt8]
    var receiveBuffer: [UInt8]
    var actions: [ProbeAction] = []

    init(jobs list: [ProbeJob], listeners: [ProbeListener], epoll: consuming Descriptor) {
        self.epoll = epoll
        let now = fan_monotonic_nanoseconds()
        identifier = UInt16.random(in: .min ... .max)
        began = now
        timers = TimerQueue(keyCount: list.count)
        // 64 packets a millisecond: a round to 4,000 peers takes 63 ms, and no queue on the way fills. Twice as many
        // made a check of 250 peers no faster.
        pacer = SendPacer(burst: Self.batch, interval: 1_000_000, now: now)
        unfinished = list.count
        server = EchoServer(listeners: listeners)
        var known: [ObjectIdentifier: Int] = [:]
        var largest = 0
        jobs.reserveCapacity(list.count)
        for job in list {
            let id = ObjectIdentifier(job.source)
            let source: Int
            if let index = known[id] {
                source = index
            } else {
                source = sources.count
                known[id] = source
                sources.append(SourceState(job.source))
            }
            let machine = job.machine
            largest = max(largest, machine.largestPacketBytes)
            if !job.isStream { sources[source].jobs.append(jobs.count) }
            jobs.append(
                JobState(
                    machine: machine,
                    source: source,
                    destination: job.destination,
                    isStream: job.isStream,
                    ordinal: sources[source].jobs.count - 1
                )
            )
        }
        // Room for the largest answer, and for an error that quotes as much as routers do.
        slotBytes = max(1024, largest + 60)
        receiveBuffer = Array(repeating: 0, count: max(slotBytes * Self.batch / 2, StreamPattern.chunkBytes))
        sendBuffer = Array(repeating: 0, count: max(largest * Self.batch, StreamPattern.chunkBytes))
    }

    mutating func run(isCancelled: () -> Bool) throws(ProbeError) -> [ProbeOutcome] {
        for (index, state) in sources.enumerated() {
            try LoopToken.source(index).add(state.source.icmp.number, to: epoll.number, events: EPOLLIN.rawValue)
        }
        try server.open(epoll: epoll.number)
        var ready = Array(repeating: fan_ready(), count: Self.batch)
        // A timer comes up only when the sockets were read after its deadline: a thread that was held up must not take
        // answers that wait to be read for lost ones.
        var read = began
        while unfinished > 0 {
            if isCancelled() { break }
            while let job = timers.popDue(now: read) { deliver(.timer, to: job) }
            admit()
            flush()
            guard unfinished > 0 else { break }
            let polled = fan_monotonic_nanoseconds()
            let wait = waitMilliseconds()
            let count = try ProbeError.check(
                unsafe fan_epoll_wait(epoll.number, &ready, UInt32(ready.count), wait),
                "wait for",
                "probe sockets"
            )
            for index in 0..<Int(count) {
                handle(LoopToken(rawValue: ready[index].token), events: ready[index].events)
            }
            // A full batch may have left sockets unread.
            if count < ready.count { read = polled }
        }
        for index in jobs.indices where jobs[index].isActive { release(index) }
        return jobs.map { $0.outcome ?? $0.machine.interrupted }
    }

    /// The time since the loop began.
    func now() -> Duration { .nanoseconds(Int64(fan_monotonic_nanoseconds() - began)) }

    private mutating func waitMilliseconds() -> Int32 {
        if sources.contains(where: { !$0.queue.isEmpty }) { return 1 }
        let now = fan_monotonic_nanoseconds()
        guard let deadline = timers.next() else { return 100 }
        if deadline <= now { return 0 }
        return Int32(min((deadline - now + 999_999) / 1_000_000, 100))
    }

    /// Starts probes, as long as what they send can leave soon.
    private mutating func admit() {
        var queued = sources.reduce(0) { $0 + $1.queue.count }
        for index in sources.indices {
            while let job = sources[index].waiting.first, let slot = sources[index].idleStreams.popLast() {
                sources[index].waiting.removeFirst()
                jobs[job].stream = slot
                start(job)
            }
        }
        while nextJob < jobs.count, active < Self.window, queued < 2 * Self.batch {
            let job = nextJob
            nextJob += 1
            if jobs[job].isStream {
                admitStream(job)
            } else {
                start(job)
                queued += 1
            }
        }
    }

    mutating func start(_ job: Int) {
        active += 1
        jobs[job].isActive = true
        deliver(.start, to: job)
    }

    private mutating func handle(_ token: LoopToken, events: UInt32) {
        switch token {
        case .source(let index): receive(source: index)
        case .stream(let job): streamReady(job, events: events)
        case .listener(let index): server.accept(listener: index, epoll: epoll.number)
        case .connection(let index): server.serve(connection: index, epoll: epoll.number)
        }
    }

    /// Feeds a probe, and does what it asks for until it asks no more.
    mutating func deliver(_ event: ProbeEvent, to job: Int) {
        guard jobs[job].isActive else { return }
        var events = [event]
        while let event = events.popLast() {
            actions.removeAll(keepingCapacity: true)
            jobs[job].machine.handle(event, at: now(), into: &actions)
            for action in actions {
                switch action {
                case .sendEcho(let bytes):
                    sources[jobs[job].source].queue.append(QueuedEcho(job: job, bytes: bytes))
                case .wake(let time):
                    timers.arm(job, at: began + time.wholeNanoseconds)
                case .connect(let port):
                    if let result = connect(job, port: port) { events.append(result) }
                case .watch(let write):
                    watch(job, write: write)
                case .write(let position, let count):
                    if let result = write(job, from: position, count: count) { events.append(result) }
                case .read(let position):
                    if let result = read(job, from: position) { events.append(result) }
                case .finish(let outcome):
                    jobs[job].outcome = outcome
                    unfinished -= 1
                    release(job)
                    return
                }
            }
        }
    }

    private mutating func release(_ job: Int) {
        active -= 1
        jobs[job].isActive = false
        jobs[job].sent = []
        timers.disarm(job)
        releaseStream(job)
    }
}

extension Duration {
    /// Whole nanoseconds; negative durations count as none.
    var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(max(0, seconds)) * 1_000_000_000 + UInt64(max(0, attoseconds)) / 1_000_000_000
    }
}
