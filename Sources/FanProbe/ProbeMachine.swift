/// A kind of probe: a pure state machine that the loop feeds with events and whose actions the loop carries out.
///
/// Times are durations since the loop began. A machine is told `start` first, and nothing after it said `finish`.
protocol ProbeMachine {
    mutating func handle(_ event: ProbeEvent, at now: Duration, into actions: inout [ProbeAction])

    /// What is known when the run is called off.
    var interrupted: ProbeOutcome { get }
    /// The largest IP packet it may send or be answered with, in bytes; 0 when it uses TCP.
    var largestPacketBytes: Int { get }
}

/// Something that happened to a probe.
enum ProbeEvent: Hashable {
    /// The probe's turn has come.
    case start
    /// The deadline armed last has passed.
    case timer
    /// The first answer to one of its packets, counted from 1 in the order sent, and how long it took.
    case reply(bytes: Int, attempt: Int, roundTrip: Duration)
    /// An ICMP error about a packet of this size.
    case rejected(ICMPRejection, bytes: Int)
    /// This host could not send a packet of this size.
    case sendFailed(SystemError, bytes: Int)
    /// The stream may be used in the given directions.
    case ready(read: Bool, write: Bool)
    /// The connection is established.
    case connected
    /// The connection failed.
    case streamFailed(SystemError)
    /// So many bytes of the pattern left.
    case wrote(Int)
    /// So many bytes came, and whether they continued the pattern.
    case read(Int, isIntact: Bool)
    /// The peer closed the stream.
    case closed
}

/// Something that a probe wants done.
enum ProbeAction: Hashable {
    /// Send a don't-fragment echo request; the size is that of the IP packet.
    case sendEcho(bytes: Int)
    /// Wake the probe at this time, instead of any earlier request.
    case wake(at: Duration)
    /// Open a stream to the probe's destination.
    case connect(port: UInt16)
    /// Watch the stream.
    case watch(write: Bool)
    /// Write the pattern from this position on.
    case write(from: Int, count: Int)
    /// Read, and compare with the pattern from this position on.
    case read(from: Int)
    /// The probe is over.
    case finish(ProbeOutcome)
}
