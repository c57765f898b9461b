import CLinux
import Glibc
import FanCore
import TestSupport
import Testing

@testable import FanProbe

/// Drives a machine without sockets: a network is a function from a packet's size to what happens to it.
struct Simulation<Machine: ProbeMachine> {
    enum Fate {
        case answered(after: Duration)
        case lost
        case hint(Int?)
        case local(Int32)
    }

    var machine: Machine
    var now: Duration = .zero
    var sent: [Int] = []
    var outcome: ProbeOutcome?

    init(_ machine: Machine) { self.machine = machine }

    mutating func run(_ network: (_ bytes: Int, _ number: Int) -> Fate) {
        var wake: Duration?
        var pending: [(Duration, ProbeEvent)] = []
        var next: ProbeEvent? = .start
        while let event = next {
            var actions: [ProbeAction] = []
            machine.handle(event, at: now, into: &actions)
            for action in actions {
                switch action {
                case .sendEcho(let bytes):
                    sent.append(bytes)
                    switch network(bytes, sent.count) {
                    case .answered(let delay):
                        pending.append((now + delay, .reply(bytes: bytes, attempt: sent.count, roundTrip: delay)))
                    case .lost: break
                    case .hint(let mtu):
                        let reason = ICMPRejection.Reason.fragmentationNeeded(mtuBytes: mtu)
                        let rejection = ICMPRejection(reason: reason, reporter: IPv4Address(10, 0, 0, 1))
                        pending.append((now + .milliseconds(1), .rejected(rejection, bytes: bytes)))
                    case .local(let errno):
                        pending.append((now, .sendFailed(SystemError(errno: errno), bytes: bytes)))
                    }
                case .wake(let time): wake = time
                case .finish(let result):
                    outcome = result
                    return
                default: Issue.record("unexpected \(action)")
                }
            }
            pending.sort { $0.0 < $1.0 }
            if let first = pending.first, first.0 <= wake ?? .seconds(1000) {
                now = max(now, first.0)
                next = first.1
                pending.removeFirst()
            } else if let time = wake {
                now = time
                wake = nil
                next = .timer
            } else {
                next = nil
            }
        }
    }
}

@Suite struct EchoMachineTests {
    @Test func firstAnswerEndsIt() {
        var run = Simulation(EchoProbe(settings: EchoSettings()))
        run.run { _, _ in .answered(after: .milliseconds(3)) }
        #expect(run.outcome == .echo(.answered(roundTrip: .milliseconds(3), attempt: 1)))
        #expect(run.sent == [84])
    }

    @Test func silenceIsRetriedWithGrowingPauses() {
        var run = Simulation(EchoProbe(settings: EchoSettings()))
        var times: [Duration] = []
        var probe = EchoProbe(settings: EchoSettings())
        var now: Duration = .zero
        var event = ProbeEvent.start
        while true {
            var actions: [ProbeAction] = []
            probe.handle(event, at: now, into: &actions)
            if actions.contains(.sendEcho(bytes: 84)) { times.append(now) }
            guard case .wake(let time)? = actions.last else { break }
            now = time
            event = .timer
        }
        #expect(times == [.zero, .milliseconds(250), .milliseconds(750)])
        run.run { _, _ in .lost }
        #expect(run.outcome == .echo(.failed(.noReply)))
        #expect(run.now == .seconds(2))
    }

    @Test func secondAttemptIsCounted() {
        var run = Simulation(EchoProbe(settings: EchoSettings()))
        run.run { _, number in number < 2 ? .lost : .answered(after: .milliseconds(1)) }
        #expect(run.outcome == .echo(.answered(roundTrip: .milliseconds(1), attempt: 2)))
    }

    @Test func errorsForEveryAttemptEndItEarly() {
        var run = Simulation(EchoProbe(settings: EchoSettings()))
        run.run { _, _ in .hint(1000) }
        let rejection = ICMPRejection(
            reason: .fragmentationNeeded(mtuBytes: 1000),
            reporter: IPv4Address(10, 0, 0, 1)
        )
        #expect(run.outcome == .echo(.failed(.rejected(rejection))))
        #expect(run.now == .milliseconds(751))
    }

    @Test func oneErrorIsReportedAtTheEnd() {
        var run = Simulation(EchoProbe(settings: EchoSettings()))
        run.run { _, number in number == 1 ? .hint(nil) : .lost }
        guard case .echo(.failed(.rejected))? = run.outcome else {
            Issue.record("\(String(describing: run.outcome))")
            return
        }
        #expect(run.now == .seconds(2))
    }

    @Test func localErrorEndsItAtOnce() {
        var run = Simulation(EchoProbe(settings: EchoSettings()))
        run.run { _, _ in .local(ENETUNREACH) }
        #expect(run.outcome == .echo(.failed(.local(SystemError(errno: ENETUNREACH)))))
        #expect(run.now == .zero)
    }

    @Test func interruptionIsNoAnswer() {
        #expect(EchoProbe(settings: EchoSettings()).interrupted == .echo(.failed(.cancelled)))
    }
}

@Suite struct PathMTUMachineTests {
    static func search(
        mtu: Int,
        _ network: (_ bytes: Int, _ number: Int) -> Simulation<PathMTUProbe>.Fate
    ) throws -> (PathMTUOutcome, Simulation<PathMTUProbe>) {
        var run = Simulation(PathMTUProbe(settings: PathMTUSettings(mtuBytes: mtu)))
        run.run(network)
        return (try #require(run.outcome?.pathMTUOutcome), run)
    }

    @Test func fullSizePassesWithTwoPackets() throws {
        let (outcome, run) = try Self.search(mtu: 1450) { _, _ in .answered(after: .milliseconds(1)) }
        #expect(outcome.pathMTUBytes == 1450)
        #expect(outcome.isExact)
        #expect(run.sent == [84, 1450])
    }

    @Test(arguments: [84, 85, 90, 576, 1000, 1279, 1280, 1399, 1400, 1404, 1448, 1449])
    func silentLimitIsFoundExactly(limit: Int) throws {
        let (outcome, run) = try Self.search(mtu: 1450) { bytes, _ in
            bytes <= limit ? .answered(after: .milliseconds(1)) : .lost
        }
        #expect(outcome.pathMTUBytes == limit)
        #expect(outcome.isExact)
        #expect(run.now < .milliseconds(1300))
        #expect(run.sent.count < 100)
    }

    @Test(arguments: [84, 1200, 4000, 8950]) func jumboLimitIsFoundExactly(limit: Int) throws {
        let (outcome, _) = try Self.search(mtu: 8951) { bytes, _ in
            bytes <= limit ? .answered(after: .milliseconds(1)) : .lost
        }
        #expect(outcome == PathMTUOutcome(echo: outcome.echo, pathMTUBytes: limit, isExact: true))
    }

    @Test func hintSavesTheSearch() throws {
        let (outcome, run) = try Self.search(mtu: 1450) { bytes, _ in
            bytes <= 1300 ? .answered(after: .milliseconds(1)) : .hint(1300)
        }
        #expect(outcome.pathMTUBytes == 1300)
        #expect(run.sent == [84, 1450, 1300])
        #expect(run.now < .milliseconds(10))
    }

    @Test func twoHintsInARow() throws {
        let (outcome, run) = try Self.search(mtu: 1450) { bytes, _ in
            bytes <= 1100 ? .answered(after: .milliseconds(1)) : .hint(bytes > 1300 ? 1300 : 1100)
        }
        #expect(outcome.pathMTUBytes == 1100)
        #expect(run.sent == [84, 1450, 1300, 1100])
    }

    @Test func hintThatPromisesTooMuchIsTried() throws {
        let (outcome, _) = try Self.search(mtu: 1450) { bytes, _ in
            bytes <= 1200 ? .answered(after: .milliseconds(1)) : bytes > 1300 ? .hint(1300) : .lost
        }
        #expect(outcome.pathMTUBytes == 1200)
        #expect(outcome.isExact)
    }

    @Test(arguments: [nil, 70, 1450, 9000]) func uselessHintsDoNotMislead(hint: Int?) throws {
        let (outcome, _) = try Self.search(mtu: 1450) { bytes, _ in
            bytes <= 1234 ? .answered(after: .milliseconds(1)) : .hint(hint)
        }
        #expect(outcome.pathMTUBytes == 1234)
        #expect(outcome.isExact)
    }

    @Test func ownLimitNeedsNoWaiting() throws {
        let (outcome, run) = try Self.search(mtu: 1450) { bytes, _ in
            bytes <= 1200 ? .answered(after: .milliseconds(1)) : .local(EMSGSIZE)
        }
        #expect(outcome.pathMTUBytes == 1200)
        #expect(outcome.isExact)
        #expect(run.now < .milliseconds(20))
    }

    @Test func otherLocalErrorEndsTheSearch() throws {
        let (outcome, _) = try Self.search(mtu: 1450) { bytes, _ in
            bytes <= 84 ? .answered(after: .milliseconds(1)) : .local(EPERM)
        }
        #expect(outcome == PathMTUOutcome(echo: outcome.echo, pathMTUBytes: 84, isExact: false))
    }

    @Test func silentHostEndsIt() throws {
        let (outcome, run) = try Self.search(mtu: 1450) { _, _ in .lost }
        #expect(outcome == PathMTUOutcome(echo: .failed(.noReply)))
        #expect(run.sent == [84, 84, 84])
    }

    @Test func lossOfTheFirstFullSizePacketsIsNoLimit() throws {
        let (outcome, _) = try Self.search(mtu: 1450) { _, number in
            (2...3).contains(number) ? .lost : .answered(after: .milliseconds(1))
        }
        #expect(outcome.pathMTUBytes == 1450)
        #expect(outcome.isExact)
    }

    /// A host that is held up for most of the search is not taken for a small path.
    @Test(arguments: 1...40) func stallDoesNotUnderstate(length: Int) throws {
        let (outcome, _) = try Self.search(mtu: 1450) { _, number in
            (2..<2 + length).contains(number) ? .lost : .answered(after: .milliseconds(1))
        }
        #expect(outcome.pathMTUBytes == 1450)
    }

    @Test func lateAnswerUndoesWhatItsAbsenceProved() throws {
        let (outcome, _) = try Self.search(mtu: 1450) { bytes, number in
            bytes < 1450 ? .answered(after: .milliseconds(number == 1 ? 1 : 40)) : .answered(after: .milliseconds(310))
        }
        #expect(outcome.pathMTUBytes == 1450)
        #expect(outcome.isExact)
    }

    @Test func timeRunsOutWithTheBestKnownSize() {
        var probe = PathMTUProbe(settings: PathMTUSettings(mtuBytes: 1450))
        var actions: [ProbeAction] = []
        probe.handle(.start, at: .zero, into: &actions)
        probe.handle(.reply(bytes: 84, attempt: 1, roundTrip: .milliseconds(1)), at: .milliseconds(1), into: &actions)
        // The thread was held up for longer than the search may take.
        probe.handle(.timer, at: .seconds(4), into: &actions)
        let echo = EchoOutcome.answered(roundTrip: .milliseconds(1), attempt: 1)
        let expected = PathMTUOutcome(echo: echo, pathMTUBytes: 84, isExact: false)
        #expect(actions.last == .finish(.pathMTU(expected)))
    }

    @Test func randomLossNeverOverstates() throws {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<300 {
            let limit = Int.random(in: 84...1450, using: &generator)
            let (outcome, _) = try Self.search(mtu: 1450) { bytes, number in
                if bytes > limit { return .lost }
                if number > 1, Int.random(in: 0..<10, using: &generator) == 0 { return .lost }
                return .answered(after: .milliseconds(Int.random(in: 1...250, using: &generator)))
            }
            #expect(try #require(outcome.pathMTUBytes) <= limit)
        }
    }

    @Test func tinyMTUIsAnsweredByTheEchoItself() throws {
        let (outcome, run) = try Self.search(mtu: 68) { _, _ in .answered(after: .milliseconds(1)) }
        #expect(outcome.pathMTUBytes == 68)
        #expect(outcome.isExact)
        #expect(run.sent == [68])
    }

    @Test func interruptionKeepsWhatIsKnown() throws {
        var probe = PathMTUProbe(settings: PathMTUSettings(mtuBytes: 1450))
        #expect(probe.interrupted == .pathMTU(PathMTUOutcome(echo: .failed(.cancelled))))
        var actions: [ProbeAction] = []
        probe.handle(.start, at: .zero, into: &actions)
        probe.handle(.reply(bytes: 84, attempt: 1, roundTrip: .milliseconds(1)), at: .milliseconds(1), into: &actions)
        #expect(probe.interrupted.pathMTUOutcome?.pathMTUBytes == 84)
        #expect(probe.interrupted.pathMTUOutcome?.isExact == false)
    }
}

@Suite struct TCPMachineTests {
    private func drive(_ events: [(Duration, ProbeEvent)]) -> [ProbeAction] {
        var probe = TCPProbe(port: 9, settings: TCPSettings(payloadBytes: 100))
        var actions: [ProbeAction] = []
        for (time, event) in events { probe.handle(event, at: time, into: &actions) }
        return actions
    }

    @Test func exchangeInPieces() {
        let actions = drive([
            (.zero, .start), (.milliseconds(1), .connected), (.milliseconds(1), .ready(read: false, write: true)),
            (.milliseconds(1), .wrote(60)), (.milliseconds(2), .ready(read: true, write: true)),
            (.milliseconds(2), .read(60, isIntact: true)), (.milliseconds(3), .wrote(40)),
            (.milliseconds(4), .ready(read: true, write: false)), (.milliseconds(4), .read(40, isIntact: true)),
        ])
        #expect(
            actions == [
                .wake(at: .seconds(3)), .connect(port: 9), .wake(at: .seconds(10)), .watch(write: true),
                .write(from: 0, count: 100), .read(from: 0), .write(from: 60, count: 40), .watch(write: false),
                .read(from: 60),
                .finish(.tcp(.verified(bytes: 100, connect: .milliseconds(1), total: .milliseconds(4)))),
            ]
        )
    }

    static let failures: [(ProbeEvent, ProbeEvent?, TCPFailure)] = [
        (.streamFailed(SystemError(errno: ECONNREFUSED)), nil, .connect(SystemError(errno: ECONNREFUSED))),
        (.timer, nil, .connectTimeout),
        (.connected, .timer, .stalled(afterBytes: 0)),
        (.connected, .closed, .closedEarly(afterBytes: 0)),
        (.connected, .read(5, isIntact: false), .corrupted(afterBytes: 0)),
        (.connected, .read(5, isIntact: true), .corrupted(afterBytes: 0)),
        (
            .connected, .streamFailed(SystemError(errno: ECONNRESET)),
            .broken(SystemError(errno: ECONNRESET), afterBytes: 0)
        ),
    ]

    @Test(arguments: failures) func failure(first: ProbeEvent, second: ProbeEvent?, expected: TCPFailure) {
        var events: [(Duration, ProbeEvent)] = [(.zero, .start), (.seconds(1), first)]
        if let second { events.append((.seconds(2), second)) }
        #expect(drive(events).last == .finish(.tcp(.failed(expected))))
    }
}
