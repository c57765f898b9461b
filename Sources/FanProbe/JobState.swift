internal import CLinux
internal import FanCore

/// What the loop knows of one probe.
struct JobState {
    var machine: any ProbeMachine
    let source: Int
    let destination: IPv4Address
    let isStream: Bool
    /// The place among the echo probes of its source; its low bits are the ICMP sequence number.
    let ordinal: Int
    /// A secret that an answer must carry.
    let token = UInt64.random(in: .min ... .max)
    var isActive = false
    var sent: [SentEcho] = []
    var stream: Int?
    var isConnecting = false
    var outcome: ProbeOutcome?

    var sequence: UInt16 { UInt16(truncatingIfNeeded: ordinal) }
}

/// One packet on its way.
struct SentEcho {
    var bytes: Int
    /// When it was handed to the kernel, by the loop's clock, in nanoseconds.
    var time: UInt64
    /// When the kernel passed it to its device, in nanoseconds since 1970; 0 until it says so.
    var leftAt: UInt64 = 0
    var isAnswered = false

    /// How long the answer took.
    ///
    /// Taken from the kernel's own times, since the loop may get to a packet late; by the loop's clock where the kernel
    /// gave none, or where the machine's clock was set in between and says more than passed here.
    func roundTrip(answeredAt arrival: UInt64, readAt now: UInt64) -> Duration {
        let seen = now - time
        guard leftAt > 0, arrival >= leftAt, arrival - leftAt <= seen else { return .nanoseconds(Int64(seen)) }
        return .nanoseconds(Int64(arrival - leftAt))
    }
}

/// A packet that waits for its turn.
struct QueuedEcho {
    var job: Int
    var bytes: Int
}

/// What the loop knows of one source.
struct SourceState {
    let source: ProbeSource
    var jobs: [Int] = []
    var queue = Queue<QueuedEcho>()
    var waiting = Queue<Int>()
    var idleStreams: [Int]

    init(_ source: ProbeSource) {
        self.source = source
        idleStreams = Array(source.streams.indices)
    }
}

/// A first-in, first-out queue.
struct Queue<Element> {
    private var elements: [Element] = []
    private var head = 0

    var isEmpty: Bool { head == elements.count }
    var count: Int { elements.count - head }
    var first: Element? { isEmpty ? nil : elements[head] }

    /// The element at a distance from the front.
    subscript(offset: Int) -> Element { elements[head + offset] }

    mutating func append(_ element: Element) {
        elements.append(element)
    }

    mutating func removeFirst(_ count: Int = 1) {
        head += count
        if head == elements.count {
            elements.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 1024, head * 2 > elements.count {
            elements.removeFirst(head)
            head = 0
        }
    }
}

/// Which socket an epoll event is about.
enum LoopToken {
    case source(Int)
    case stream(job: Int)
    case listener(Int)
    case connection(Int)

    init(rawValue: UInt64) {
        let index = Int(rawValue >> 2)
        switch rawValue & 3 {
        case 0: self = .source(index)
        case 1: self = .stream(job: index)
        case 2: self = .listener(index)
        default: self = .connection(index)
        }
    }

    var rawValue: UInt64 {
        switch self {
        case .source(let index): UInt64(index) << 2
        case .stream(let job): UInt64(job) << 2 | 1
        case .listener(let index): UInt64(index) << 2 | 2
        case .connection(let index): UInt64(index) << 2 | 3
        }
    }

    func add(_ descriptor: Int32, to epoll: Int32, events: UInt32) throws(ProbeError) {
        let result = fan_epoll_control(epoll, EPOLL_CTL_ADD, descriptor, events, rawValue)
        try ProbeError.check(result, "watch", "a probe socket")
    }
}
