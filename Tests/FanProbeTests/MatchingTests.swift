import CLinux
import FanSystem
import Glibc
import FanCore
import Testing

@testable import FanProbe

/// Answers are believed only when everything about them fits.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct MatchingTests {
    static let destination = IPv4Address(127, 0, 0, 77)

    /// A loop with two echo probes under way, of which no answer has been read.
    static func loop(_ body: (inout ProbeLoop, ICMPMessage.EchoReply, ICMPMessage.QuotedEcho) throws -> Void) throws {
        let source = try ProbeSource(address: IPv4Address(127, 0, 0, 1))
        let jobs: [ProbeJob] = [
            .echo(from: source, to: destination), .echo(from: source, to: IPv4Address(127, 0, 0, 78)),
        ]
        let epoll = Descriptor(adopting: fan_epoll_create())
        var loop = ProbeLoop(jobs: jobs, listeners: [], epoll: epoll)
        for job in 0..<2 { loop.start(job) }
        loop.flush()
        let reply = ICMPMessage.EchoReply(
            source: destination,
            ipBytes: 84,
            identifier: loop.identifier,
            sequence: 0,
            token: loop.jobs[0].token,
            job: 0,
            attempt: 0
        )
        let quoted = ICMPMessage.QuotedEcho(
            destination: destination,
            ipBytes: 84,
            identifier: loop.identifier,
            sequence: 0,
            token: nil
        )
        try body(&loop, reply, quoted)
    }

    static let forgeries: [(String, @Sendable (inout ICMPMessage.EchoReply) -> Void)] = [
        ("source", { $0.source = IPv4Address(127, 0, 0, 78) }),
        ("size", { $0.ipBytes += 1 }),
        ("identifier", { $0.identifier &+= 1 }),
        ("sequence", { $0.sequence &+= 1 }),
        ("token", { $0.token ^= 1 << 40 }),
        ("another job", { $0.job = 1 }),
        ("no such job", { $0.job = 2 }),
        ("job out of range", { $0.job = .max }),
        ("attempt not made", { $0.attempt = 1 }),
        ("attempt out of range", { $0.attempt = .max }),
    ]

    @Test(arguments: forgeries.indices) func forgedReplyIsIgnored(index: Int) throws {
        try Self.loop { loop, reply, _ in
            var forged = reply
            Self.forgeries[index].1(&forged)
            loop.take(.echoReply(forged), source: 0, arrival: 0, time: fan_monotonic_nanoseconds())
            #expect(loop.jobs[0].outcome == nil && loop.jobs[1].outcome == nil, "\(Self.forgeries[index].0)")
            loop.take(.echoReply(reply), source: 0, arrival: 0, time: fan_monotonic_nanoseconds())
            #expect(loop.jobs[0].outcome?.echoOutcome?.roundTrip != nil)
        }
    }

    @Test func duplicateAndLateRepliesAreIgnored() throws {
        try Self.loop { loop, reply, _ in
            loop.take(.echoReply(reply), source: 0, arrival: 0, time: fan_monotonic_nanoseconds())
            let outcome = loop.jobs[0].outcome
            let unfinished = loop.unfinished
            loop.take(.echoReply(reply), source: 0, arrival: 0, time: fan_monotonic_nanoseconds() + 1_000_000)
            #expect(loop.jobs[0].outcome == outcome)
            #expect(loop.unfinished == unfinished)
        }
    }

    @Test func forgedErrorIsIgnored() throws {
        let rejection = ICMPRejection(reason: .prohibited, reporter: IPv4Address(127, 0, 0, 1))
        try Self.loop { loop, _, quoted in
            var forgeries = [quoted, quoted, quoted, quoted, quoted]
            forgeries[0].identifier &+= 1
            forgeries[1].destination = IPv4Address(127, 0, 0, 79)
            forgeries[2].sequence = 9
            forgeries[3].ipBytes = 85
            forgeries[4].token = loop.jobs[0].token ^ 1
            // One error for the one attempt made says nothing yet, so the end of the probe shows what was counted.
            for forged in forgeries + [quoted] {
                loop.take(.error(rejection, forged), source: 0, arrival: 0, time: fan_monotonic_nanoseconds())
                #expect(loop.jobs[0].outcome == nil)
                var ended = loop.jobs[0].machine
                var actions: [ProbeAction] = []
                ended.handle(.timer, at: .seconds(60), into: &actions)
                let expected = forged == quoted ? EchoFailure.rejected(rejection) : .noReply
                #expect(actions == [.finish(.echo(.failed(expected)))])
            }
        }
    }

    @Test func realAnswersEndTheLoop() throws {
        try Self.loop { loop, _, _ in
            let outcomes = try loop.run(isCancelled: { false })
            #expect(outcomes.allSatisfy { $0.echoOutcome?.roundTrip != nil })
        }
    }
}
