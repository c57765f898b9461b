import CLinuxNetlink
import FanCore
import Glibc
import TestSupport
import Testing

@testable import FanLink

@Suite struct NetlinkMessagesTests {
    /// What is written, or nil when there was no room for all of it.
    private func written(after sequence: UInt32 = 0, _ write: (inout NetlinkMessages) -> Void) -> [UInt8]? {
        var messages = NetlinkMessages(after: sequence)
        write(&messages)
        return unsafe messages.withBytes { unsafe Array($0) }
    }

    /// The attributes of the only message with a header of `ifinfomsg`.
    private func attributes(_ write: @escaping (inout NetlinkMessages) -> Void) throws -> NetlinkAttributes {
        let bytes = try #require(written { $0.add(RTM_NEWLINK, flags: 0, ifinfomsg(), write) })
        let answers = NetlinkAnswer.all(in: bytes[...])
        try #require(answers.count == 1 && answers[0].header.nlmsg_len == UInt32(bytes.count))
        let (_, attributes) = try #require(answers[0].parts() as (ifinfomsg, NetlinkAttributes)?)
        return attributes
    }

    @Test func headersAreAsTheKernelReadsThem() throws {
        let bytes = try #require(
            written(after: .max - 1) { messages in
                var header = ifinfomsg()
                header.ifi_index = .max
                header.ifi_change = .max
                messages.add(RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, header)
            }
        )
        #expect(
            bytes == [32, 0, 0, 0, 16, 0, 1, 6, 255, 255, 255, 255, 0, 0, 0, 0]
                + [0, 0, 0, 0, 255, 255, 255, 127, 0, 0, 0, 0, 255, 255, 255, 255]
        )
    }

    @Test func attributesAreAsTheKernelReadsThem() throws {
        let bytes = try #require(
            written { messages in
                messages.add(RTM_NEWLINK, flags: 0, ifinfomsg()) { message in
                    message.put(1, [0xaa])
                    message.nest(2) { $0.put(3, "ab") }
                    message.nest(4) { _ in }
                    message.put(0x3fff, [])
                }
                messages.askForAnswer()
            }
        )
        #expect(Array(bytes[..<8]) == [60, 0, 0, 0, 16, 0, 5, 0])
        #expect(
            Array(bytes[32...]) == [5, 0, 1, 0, 0xaa, 0, 0, 0]
                + [12, 0, 2, 0x80, 7, 0, 3, 0, 97, 98, 0, 0]
                + [4, 0, 4, 0x80] + [4, 0, 0xff, 0x3f]
        )
    }

    @Test func numbersReadBackAtTheirEnds() throws {
        func check<Number: FixedWidthInteger & BitwiseCopyable>(_: Number.Type) throws {
            for number in [Number.min, .min + 1, 0, 1, .max - 1, .max] {
                let value = try #require(try attributes { $0.put(7, number: number) }[7])
                #expect(value.count == MemoryLayout<Number>.size && value.load() == number)
            }
        }
        try check(UInt8.self)
        try check(UInt16.self)
        try check(UInt32.self)
        try check(UInt64.self)
        try check(Int32.self)
        try check(Int64.self)
        for address in [IPv4Address(0, 0, 0, 0), IPv4Address(0, 0, 0, 1), IPv4Address(255, 255, 255, 255)] {
            #expect(try attributes { $0.put(7, address) }[7]?.address == address)
        }
        for index in [Int32.min, -1, 0, 1, .max] {
            #expect(try attributes { $0.put(7, number: index) }[7]?.linkIndex == (index > 0 ? Int(index) : nil))
        }
        for length in 0...9 {
            let text = String(repeating: "x", count: length)
            let found = try attributes { message in
                message.put(7, text)
                message.put(8, Array(text.utf8))
            }
            #expect(found[7]?.text == text && found[7]?.count == length + 1)
            #expect(found[8].map { Array($0) } == Array(text.utf8))
        }
    }

    /// What has no room is never written past the end, and never sent in part.
    @Test(arguments: [64, 65_472, 65_476, 65_500, 65_501, 65_536, 1 << 20, 1 << 20 + 32])
    func whatHasNoRoomIsNotSent(size: Int) {
        let value = [UInt8](repeating: 7, count: size)
        let isShort = 16 + 16 + 4 + (size + 3) & ~3 <= 65_536
        #expect((written { $0.add(RTM_NEWLINK, flags: 0, ifinfomsg()) { $0.put(1, value) } } != nil) == isShort)
        let text = String(repeating: "x", count: size - 1)
        #expect((written { $0.add(RTM_NEWLINK, flags: 0, ifinfomsg()) { $0.put(1, text) } } != nil) == isShort)
        let nested = written { messages in
            messages.add(RTM_NEWLINK, flags: 0, ifinfomsg()) { message in
                for _ in 0..<size / 4 { message.nest(1) { _ in } }
                message.append(ifinfomsg())
            }
        }
        #expect((nested != nil) == (16 + 16 + size / 4 * 4 + 32 <= 65_536))
        let many = written { messages in
            for _ in 0..<size / 32 { messages.add(RTM_NEWLINK, flags: 0, ifinfomsg()) }
        }
        #expect((many != nil) == (size <= 1 << 20))
    }

    /// Every beginning of a datagram gives a beginning of its messages and attributes, and nothing else.
    @Test func whatIsCutShortEndsTheReading() throws {
        let whole = try #require(
            written { messages in
                for number in 0..<3 as Range<UInt8> {
                    messages.add(RTM_NEWLINK, flags: 0, ifinfomsg()) { message in
                        message.put(IFLA_IFNAME, "link\(number)")
                        message.nest(IFLA_LINKINFO) { information in
                            information.put(IFLA_INFO_KIND, "vxlan")
                            information.nest(IFLA_INFO_DATA) { $0.put(IFLA_VXLAN_ID, number: UInt32(number)) }
                        }
                        message.put(IFLA_MTU, number: UInt32.max)
                    }
                }
            }
        )
        let all = NetlinkAnswer.all(in: whole[...])
        try #require(all.count == 3)
        for length in 0...whole.count {
            let part = NetlinkAnswer.all(in: Array(whole[..<length])[...])
            #expect(part.count == length / (whole.count / 3))
            #expect(zip(part, all).allSatisfy { $0.payload.elementsEqual($1.payload) })
        }
        let payload = Array(all[2].payload)
        let attributes = Array(NetlinkAttributes(payload[16...]))
        try #require(attributes.map(\.type) == [IFLA_IFNAME, IFLA_LINKINFO, IFLA_MTU])
        for length in 0...payload.count {
            let part = NetlinkAnswer(header: all[2].header, payload: Array(payload[..<length])[...])
            let parts: (ifinfomsg, NetlinkAttributes)? = part.parts()
            #expect((parts != nil) == (length >= 16))
            guard let (_, own) = parts else { continue }
            let found = Array(own)
            #expect(found.count == [26, 56, 64].filter { $0 <= length }.count)
            #expect(zip(found, attributes).allSatisfy { $0.type == $1.type && $0.value.elementsEqual($1.value) })
            #expect(found.allSatisfy { $0.value.endIndex <= length })
        }
    }

    /// Lengths that lie, in any place, lead nowhere outside.
    @Test func lyingLengthsAreHarmless() throws {
        var message = try #require(
            written { messages in
                messages.add(Int(NLMSG_ERROR), flags: NLM_F_ACK_TLVS, nlmsgerr()) { message in
                    message.put(Int(NLMSGERR_ATTR_MSG.rawValue), "the kernel's words")
                    message.nest(2) { $0.put(3, "ab") }
                }
            }
        )
        // The request that the kernel repeats is its header alone.
        message[20] = 16
        #expect(NetlinkAnswer.all(in: message[...]).first?.errorText == "the kernel's words")
        for place in message.indices {
            for value in [0, 1, 3, 4, 15, 16, 0x7f, 0x80, 0xff] as [UInt8] {
                for width in [1, 2, 4] where place + width <= message.count {
                    var lying = message
                    lying.replaceSubrange(place..<place + width, with: Array(repeating: value, count: width))
                    for answer in NetlinkAnswer.all(in: lying[...]) {
                        #expect(answer.payload.endIndex <= lying.count)
                        #expect((answer.errorText ?? "").utf8.count <= lying.count)
                        for attribute in NetlinkAttributes(answer.payload.dropFirst(20)) {
                            #expect(attribute.value.endIndex <= lying.count)
                            #expect(NetlinkAttributes(attribute.value).allSatisfy { $0.value.endIndex <= lying.count })
                        }
                    }
                }
            }
        }
        let header = try #require(message[...].load(nlmsghdr.self))
        for code in [Int32.min, -1, 0, 1, .max] {
            let bytes = unsafe withUnsafeBytes(of: code) { unsafe Array($0) }
            #expect(NetlinkAnswer(header: header, payload: bytes[...]).errorCode == 0 &- code)
        }
        for length in 0...message.count {
            let cut = NetlinkAnswer(
                header: header,
                payload: Array(message[16..<max(16, length)])[...]
            )
            #expect((cut.errorText != nil) == (length >= 16 + 20 + 4 + 19))
        }
    }

    /// Nobody but the kernel answers: what another process sends to the socket does not arrive.
    @Test(.enabled(if: geteuid() == 0)) func othersCannotAnswer() throws {
        var route = try NetlinkSocket(NETLINK_ROUTE, "open", "socket")
        var address = sockaddr_nl()
        var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
        let other = try NetlinkSocket(NETLINK_ROUTE, "open", "another socket")
        let bytes = try #require(written { $0.add(Int(NLMSG_ERROR), flags: 0, nlmsgerr()) })
        let sent = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                guard unsafe getsockname(route.number, pointer, &size) == 0 else { return -2 }
                return unsafe bytes.withUnsafeBytes {
                    unsafe sendto(other.number, $0.baseAddress, $0.count, 0, pointer, size)
                }
            }
        }
        #expect(sent == -1 && errno == ECONNREFUSED)
        let isWhole = try route.exchange("read", "lo") { $0.add(RTM_GETLINK, flags: NLM_F_DUMP, ifinfomsg()) }
        #expect(isWhole)
    }
}
