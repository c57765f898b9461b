internal import CBPF
internal import FanCore

// Ethernet addresses: on this host's side all guests of other hosts have one, ``ClassifierSpec/farAddress``, so that
// the bridge has nothing to learn; on the wire everybody has the real one.

extension ClassifierCode {
    /// Where in a frame the addresses stand.
    private enum At {
        static let receiver: Int32 = 0
        static let sender: Int32 = 6
        static let ipv4Source = ClassifierCode.ethernetBytes + 12
        static let ipv4Destination = ClassifierCode.ethernetBytes + 16
        static let arpSenderMAC = ClassifierCode.ethernetBytes + 8
        static let arpSender = ClassifierCode.ethernetBytes + 14
        static let arpTargetMAC = ClassifierCode.ethernetBytes + 18
        static let arpTarget = ClassifierCode.ethernetBytes + 24
    }

    /// Where the key and the value of the map of far addresses are on the stack.
    private static let keySlot: Int32 = -8
    private static let valueSlot: Int32 = -16

    private static let far = words(of: ClassifierSpec.farAddress)
    private static let broadcast = words(of: MACAddress(rawValue: 0xffff_ffff_ffff))

    /// An address as two loads from memory see it.
    private static func words(of mac: MACAddress) -> (first: UInt32, last: UInt16) {
        let octets = mac.octets
        let first = octets[..<4].reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
        let last = UInt16(octets[4]) << 8 | UInt16(octets[5])
        return (first.bigEndian, last.bigEndian)
    }

    // MARK: - From the underlay

    /// Puts the far address in the place of the sender's.
    mutating func hideFarSender() {
        write(Self.far, at: At.sender)
    }

    /// Notes the sender of an ARP message, who was found to speak for its own address, and hides it.
    mutating func learnFarSender() {
        assembler.load(.word, .r2, from: Self.frame, At.arpSender)
        assembler.store(.word, .r2, to: .frame, Self.keySlot)
        assembler.load(.word, .r2, from: Self.frame, At.arpSenderMAC)
        assembler.store(.word, .r2, to: .frame, Self.valueSlot)
        assembler.load(.half, .r2, from: Self.frame, At.arpSenderMAC + 4)
        assembler.store(.half, .r2, to: .frame, Self.valueSlot + 4)
        assembler.store(.half, immediate: 0, to: .frame, Self.valueSlot + 6)
        assembler.loadFarMap(.r1)
        assembler.move(.r2, .frame)
        assembler.compute(.add, .r2, .immediate(Self.keySlot))
        assembler.move(.r3, .frame)
        assembler.compute(.add, .r3, .immediate(Self.valueSlot))
        assembler.set(.r4, Int32(BPF_ANY))
        // Should there be no room, the next frame asks for it again.
        assembler.call(BPF_FUNC_map_update_elem)
        write(Self.far, at: At.arpSenderMAC)
        hideFarSender()
    }

    private mutating func write(_ mac: (first: UInt32, last: UInt16), at offset: Int32) {
        assembler.set(.r2, Int32(bitPattern: mac.first))
        assembler.store(.word, .r2, to: Self.frame, offset)
        assembler.set(.r2, Int32(mac.last))
        assembler.store(.half, .r2, to: Self.frame, offset + 4)
    }

    // MARK: - To the underlay

    /// Puts the real address of an IPv4 frame's receiver in the place of the far one; asks for it when it is not known.
    ///
    /// Any other address is one that the sender knows from elsewhere, and stays.
    mutating func nameFarReceiver() {
        let isNamed = assembler.label()
        let ask = assembler.label()
        self.ask = ask
        requireFar(at: At.receiver, orElse: isNamed)
        lookUpFar(At.ipv4Destination)
        assembler.jump(to: ask, if: .r0, .equal, .immediate(0), .bits64)
        assembler.load(.word, .r2, from: .r0, 0)
        assembler.load(.half, .r3, from: .r0, 4)
        write(.r2, .r3, at: At.receiver)
        assembler.place(isNamed)
    }

    /// Does the same with the receiver and the target of an ARP message, which goes to everybody there when its target
    /// is not known.
    mutating func nameFarTarget() {
        let isUnknown = assembler.label()
        lookUpFar(At.arpTarget)
        assembler.set(.r2, Int32(bitPattern: Self.broadcast.first))
        assembler.set(.r3, Int32(Self.broadcast.last))
        assembler.jump(to: isUnknown, if: .r0, .equal, .immediate(0), .bits64)
        assembler.load(.word, .r2, from: .r0, 0)
        assembler.load(.half, .r3, from: .r0, 4)
        assembler.place(isUnknown)
        for field in [At.receiver, At.arpTargetMAC] {
            let isNamed = assembler.label()
            requireFar(at: field, by: .r4, orElse: isNamed)
            write(.r2, .r3, at: field)
            assembler.place(isNamed)
        }
    }

    private mutating func requireFar(at offset: Int32, by scratch: BPFRegister = .r2, orElse other: BPFAssembler.Label)
    {
        assembler.load(.word, scratch, from: Self.frame, offset)
        assembler.jump(to: other, if: scratch, .notEqual, .bits(Self.far.first))
        assembler.load(.half, scratch, from: Self.frame, offset + 4)
        assembler.jump(to: other, if: scratch, .notEqual, .bits(UInt32(Self.far.last)))
    }

    /// Looks up the overlay address that stands at a place of the frame.
    private mutating func lookUpFar(_ offset: Int32) {
        assembler.load(.word, .r2, from: Self.frame, offset)
        assembler.store(.word, .r2, to: .frame, Self.keySlot)
        assembler.loadFarMap(.r1)
        assembler.move(.r2, .frame)
        assembler.compute(.add, .r2, .immediate(Self.keySlot))
        assembler.call(BPF_FUNC_map_lookup_elem)
    }

    private mutating func write(_ first: BPFRegister, _ last: BPFRegister, at offset: Int32) {
        assembler.store(.word, first, to: Self.frame, offset)
        assembler.store(.half, last, to: Self.frame, offset + 4)
    }

    // MARK: - The question

    /// Turns an IPv4 frame to an unknown Ethernet address into the question for it, in its sender's name.
    ///
    /// The frame is lost, as any is that waits too long for an answer; the answer comes to the sender too, and to the
    /// ingress classifier, which notes it. So what was forgotten is known again after one round trip.
    mutating func askAll() {
        guard let ask else { return }
        assembler.place(ask)
        let room: Int32 = -48
        let header: [UInt16] = [
            0xffff, 0xffff, 0xffff, 0, 0, 0, UInt16(ETH_P_ARP), UInt16(ARPHRD_ETHER), UInt16(ETH_P_IP),
            UInt16(ETH_ALEN) << 8 | 4, UInt16(ARPOP_REQUEST), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]
        for (position, half) in header.enumerated() {
            assembler.store(.half, immediate: Int32(half.bigEndian), to: .frame, room + 2 * Int32(position))
        }
        func copy(_ bytes: Int32, from source: Int32, to target: Int32) {
            for offset in stride(from: Int32(0), to: bytes, by: 2) {
                assembler.load(.half, .r2, from: Self.frame, source + offset)
                assembler.store(.half, .r2, to: .frame, room + target + offset)
            }
        }
        copy(6, from: At.sender, to: At.sender)
        copy(6, from: At.sender, to: At.arpSenderMAC)
        copy(4, from: At.ipv4Source, to: At.arpSender)
        copy(4, from: At.ipv4Destination, to: At.arpTarget)

        // What shall be checksummed on the way stays so, and the sum would be written into the question: hence first
        // as short as a frame can be, then longer in front of where the sum goes.
        assembler.move(.r1, Self.context)
        assembler.set(.r2, 60)
        assembler.set(.r3, 0)
        assembler.call(BPF_FUNC_skb_change_tail)
        assembler.jump(to: drop(.unsupported), if: .r0, .notEqual, .immediate(0))
        assembler.move(.r1, Self.context)
        assembler.set(.r2, 32)
        assembler.set(.r3, Int32(BPF_ADJ_ROOM_MAC.rawValue))
        assembler.set(.r4, 0)
        assembler.call(BPF_FUNC_skb_adjust_room)
        assembler.jump(to: drop(.unsupported), if: .r0, .notEqual, .immediate(0))
        assembler.move(.r1, Self.context)
        assembler.set(.r2, 0)
        assembler.move(.r3, .frame)
        assembler.compute(.add, .r3, .immediate(room))
        assembler.set(.r4, Self.ethernetBytes + Self.arpBytes)
        assembler.set(.r5, 0)
        assembler.call(BPF_FUNC_skb_store_bytes)
        assembler.jump(to: drop(.unsupported), if: .r0, .notEqual, .immediate(0))
        jumpToPass()
    }
}
