import CLinux
import Glibc
import FanCore
import TestSupport
import Testing

@testable import FanProbe

@Suite struct ICMPMessageTests {
    static let source = IPv4Address(10, 0, 0, 2)
    static let target = IPv4Address(10, 0, 0, 9)

    /// An IPv4 packet around a payload.
    static func packet(
        _ payload: [UInt8],
        from source: IPv4Address = source,
        to destination: IPv4Address = target,
        totalBytes: Int? = nil
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 20)
        bytes[0] = 0x45
        bytes[8] = 64
        bytes[9] = 1
        var span = bytes.mutableSpan
        span.store(UInt16(totalBytes ?? 20 + payload.count), at: 2)
        span.store(source.rawValue, at: 12)
        span.store(destination.rawValue, at: 16)
        return bytes + payload
    }

    static func request(bytes: Int = 84) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: bytes)
        var span = buffer.mutableSpan
        let echo = EchoPacket(identifier: 0x1234, sequence: 0x5678, token: 0xdead_beef_0102_0304, job: 7, attempt: 2)
        let length = echo.write(to: &span, at: 0, ipBytes: bytes)
        return Array(buffer[..<length])
    }

    /// The same message with another type, and a checksum that fits.
    static func icmp(_ type: Int32, _ code: Int32, rest: UInt32, _ body: [UInt8]) -> [UInt8] {
        var message = [UInt8(type), UInt8(code), 0, 0, 0, 0, 0, 0] + body
        let count = message.count
        var span = message.mutableSpan
        span.store(rest, at: 4)
        span.store(InternetChecksum.of(span.span, 0..<count), at: 2)
        return message
    }

    static func reply(bytes: Int = 84) -> [UInt8] {
        let request = request(bytes: bytes)
        return packet(icmp(ICMP_ECHOREPLY, 0, rest: 0x1234_5678, Array(request[8...])))
    }

    static func error(_ type: Int32, _ code: Int32, rest: UInt32 = 0, quoting: Int = 60) -> [UInt8] {
        let inner = packet(request(bytes: 1450), from: target, to: source)
        return packet(icmp(type, code, rest: rest, Array(inner[..<quoting])), from: IPv4Address(10, 0, 0, 1))
    }

    @Test func checksumOfRFC1071() {
        let bytes: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
        #expect(InternetChecksum.of(bytes.span, 0..<8) == ~0xddf2)
        #expect(InternetChecksum.of([0xff].span, 0..<1) == ~0xff00)
    }

    @Test func requestIsWellFormed() {
        let request = Self.request()
        #expect(request.count == 64)
        #expect(request[0] == UInt8(ICMP_ECHO))
        #expect(InternetChecksum.of(request.span, 0..<64) == 0)
        #expect(ICMPMessage(packet: Self.packet(request).span) == nil)
    }

    @Test(arguments: [44, 84, 1450, 9000]) func replyIsRecognised(bytes: Int) {
        let expected = ICMPMessage.EchoReply(
            source: Self.source,
            ipBytes: bytes,
            identifier: 0x1234,
            sequence: 0x5678,
            token: 0xdead_beef_0102_0304,
            job: 7,
            attempt: 2
        )
        #expect(ICMPMessage(packet: Self.reply(bytes: bytes).span) == .echoReply(expected))
        #expect(ICMPMessage(packet: (Self.reply(bytes: bytes) + [1, 2, 3]).span) == .echoReply(expected))
    }

    @Test func replyWithIPOptionsIsRecognised() {
        var bytes = Self.reply()
        bytes[0] = 0x46
        bytes.insert(contentsOf: [1, 1, 1, 1], at: 20)
        bytes[3] += 4
        guard case .echoReply(let reply)? = ICMPMessage(packet: bytes.span) else {
            Issue.record("not recognised")
            return
        }
        #expect(reply.job == 7)
    }

    static let reasons: [(Int32, Int32, UInt32, ICMPRejection.Reason)] = [
        (ICMP_DEST_UNREACH, ICMP_NET_UNREACH, 0, .networkUnreachable),
        (ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0, .hostUnreachable),
        (ICMP_DEST_UNREACH, ICMP_PROT_UNREACH, 0, .protocolUnreachable),
        (ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0, .portUnreachable),
        (ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, 1400, .fragmentationNeeded(mtuBytes: 1400)),
        (ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, 0, .fragmentationNeeded(mtuBytes: nil)),
        (ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, 67, .fragmentationNeeded(mtuBytes: nil)),
        (ICMP_DEST_UNREACH, ICMP_PKT_FILTERED, 0, .prohibited),
        (ICMP_DEST_UNREACH, ICMP_HOST_ANO, 0, .prohibited),
        (ICMP_DEST_UNREACH, ICMP_SR_FAILED, 0, .other(code: UInt8(ICMP_SR_FAILED))),
        (ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, 0, .timeToLiveExceeded),
    ]

    @Test(arguments: reasons) func errorIsRecognised(
        type: Int32,
        code: Int32,
        rest: UInt32,
        reason: ICMPRejection.Reason
    ) {
        for quoting in [28, 36, 60, 548] {
            let message = ICMPMessage(packet: Self.error(type, code, rest: rest, quoting: quoting).span)
            let rejection = ICMPRejection(reason: reason, reporter: IPv4Address(10, 0, 0, 1))
            let quoted = ICMPMessage.QuotedEcho(
                destination: Self.source,
                ipBytes: 1450,
                identifier: 0x1234,
                sequence: 0x5678,
                token: quoting >= 36 ? 0xdead_beef_0102_0304 : nil
            )
            #expect(message == .error(rejection, quoted))
        }
        #expect(ICMPMessage(packet: Self.error(type, code, rest: rest, quoting: 27).span) == nil)
    }

    @Test func textOfEveryReasonDiffers() {
        let texts = Self.reasons.map { ICMPRejection(reason: $0.3, reporter: Self.source).description }
        #expect(Set(texts).count == Set(Self.reasons.map(\.3)).count)
    }

    @Test func reassemblyTimeIsNoRejection() {
        #expect(ICMPMessage(packet: Self.error(ICMP_TIME_EXCEEDED, ICMP_EXC_FRAGTIME).span) == nil)
    }

    @Test func everyTruncationIsRefused() {
        for whole in [Self.reply(), Self.error(ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, rest: 1400)] {
            for count in 0..<whole.count {
                #expect(ICMPMessage(packet: Array(whole[..<count]).span) == nil)
            }
        }
    }

    @Test func everyFlippedBitOfTheMessageIsRefused() {
        let whole = Self.reply()
        for bit in 160..<whole.count * 8 {
            var bytes = whole
            bytes[bit / 8] ^= 1 << (bit % 8)
            #expect(ICMPMessage(packet: bytes.span) == nil)
        }
    }

    @Test func fragmentsAreRefused() {
        for (offset, value) in [(6, UInt8(0x20)), (7, 1)] {
            var bytes = Self.reply()
            bytes[offset] = value
            #expect(ICMPMessage(packet: bytes.span) == nil)
        }
    }

    @Test func quotedPacketsOfOthersAreRefused() {
        for (offset, value) in [(9, UInt8(17)), (7, 1), (0, 0x65), (0, 0x41), (20, 0)] {
            var inner = Self.packet(Self.request(), from: Self.target, to: Self.source)
            inner[offset] = value
            let bytes = Self.packet(Self.icmp(ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, rest: 0, inner))
            #expect(ICMPMessage(packet: bytes.span) == nil)
        }
    }

    /// Random bytes, and valid messages with a few bytes changed and the checksum mended, never crash the parser.
    @Test func randomBytesAreSafe() {
        var generator = SeededGenerator(seed: 42)
        var recognised = 0
        let models = [
            Self.reply(), Self.error(ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, rest: 1400),
            Self.error(ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, quoting: 28),
        ]
        for round in 0..<200_000 {
            var bytes: [UInt8]
            if round % 4 == 0 {
                bytes = (0..<Int.random(in: 0...120, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                if !bytes.isEmpty, round % 8 == 0 { bytes[0] = 0x45 }
            } else {
                bytes = models[round % models.count]
                for _ in 0..<Int.random(in: 1...4, using: &generator) {
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
                        in: 0...255,
                        using: &generator
                    )
                }
                bytes.removeLast(Int.random(in: 0...min(8, bytes.count), using: &generator))
                if bytes.count > 24 {
                    let count = bytes.count
                    var span = bytes.mutableSpan
                    span.store(UInt16(0), at: 22)
                    span.store(UInt16(count), at: 2)
                    span.store(InternetChecksum.of(span.span, 20..<count), at: 22)
                }
            }
            if ICMPMessage(packet: bytes.span) != nil { recognised += 1 }
        }
        #expect(recognised > 10_000)
        #expect(recognised < 190_000)
    }
}
