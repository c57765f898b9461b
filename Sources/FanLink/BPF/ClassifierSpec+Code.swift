internal import CBPF
internal import FanCore

/// Whether the outer source address of frames that leave is part of what the egress classifier sets.
enum OuterSource: CaseIterable, Sendable {
    /// It is this host's underlay address (Linux 6.0 and later).
    case pinned
    /// It is the one that the route prefers; all that older kernels offer.
    case routed
}

extension ClassifierSpec {
    /// The program for frames that leave to the underlay: it names the host to send each frame to.
    func egressCode(_ outerSource: OuterSource) -> BPFCode {
        ClassifierCode.program(
            self,
            .egress,
            judge: { code in
                code.mapFarEnd(ClassifierCode.destination, orElse: .outside)
                code.requireNearEnd(ClassifierCode.source, orElse: .spoofed)
                code.setTunnelKey(remote: ClassifierCode.destination, outerSource)
            },
            translate: (ipv4: { $0.nameFarReceiver() }, arp: { $0.nameFarTarget() })
        )
    }

    /// The program for frames from the underlay: it lets pass what its outer source may send to this host.
    func ingressCode() -> BPFCode {
        ClassifierCode.program(
            self,
            .ingress,
            judge: { code in
                code.requireSender(ClassifierCode.source)
                code.requireNearEnd(ClassifierCode.destination, orElse: .outside)
            },
            translate: (ipv4: { $0.hideFarSender() }, arp: { $0.learnFarSender() })
        )
    }
}

extension ClassifierCode {
    /// Hands the VXLAN device where to send the frame: checksummed, fragmentable, with a TTL of 64.
    fileprivate mutating func setTunnelKey(remote: BPFRegister, _ outerSource: OuterSource) {
        // The key ends with the stack, so that its pairs of words are aligned; whatever is not set below is zero.
        let key = -Int32(FAN_KEY_SIZE)
        let size = Int32(outerSource == .pinned ? FAN_KEY_SIZE : FAN_KEY_SIZE_UNPINNED)
        assembler.store(.word, immediate: Int32(spec.vni), to: .frame, key + Int32(FAN_KEY_TUNNEL_ID))
        assembler.store(.double, immediate: 0, to: .frame, key + Int32(FAN_KEY_REMOTE_IPV4))
        assembler.store(.word, remote, to: .frame, key + Int32(FAN_KEY_REMOTE_IPV4))
        assembler.store(.double, immediate: 0, to: .frame, key + Int32(FAN_KEY_REMOTE_IPV4) + 8)
        assembler.store(.double, immediate: 0, to: .frame, key + Int32(FAN_KEY_TTL) - 1)
        assembler.store(.byte, immediate: 64, to: .frame, key + Int32(FAN_KEY_TTL))
        if outerSource == .pinned {
            let local = Int32(bitPattern: spec.host.rawValue)
            assembler.store(.double, immediate: 0, to: .frame, key + Int32(FAN_KEY_LOCAL_IPV4))
            assembler.store(.word, immediate: local, to: .frame, key + Int32(FAN_KEY_LOCAL_IPV4))
            assembler.store(.double, immediate: 0, to: .frame, key + Int32(FAN_KEY_LOCAL_IPV4) + 8)
        }
        assembler.move(.r1, Self.context)
        assembler.move(.r2, .frame)
        assembler.compute(.add, .r2, .immediate(key))
        assembler.set(.r3, size)
        assembler.set(.r4, 0)
        assembler.call(BPF_FUNC_skb_set_tunnel_key)
        assembler.jump(to: drop(.unsupported), if: .r0, .notEqual, .immediate(0), .bits64)
    }

    /// Demands a frame of this network whose outer source is the host that the inner source maps to.
    ///
    /// A frame over IPv6 has no IPv4 key, and no host of this network sent it.
    fileprivate mutating func requireSender(_ source: BPFRegister) {
        let key: Int32 = -16
        assembler.move(.r1, Self.context)
        assembler.move(.r2, .frame)
        assembler.compute(.add, .r2, .immediate(key))
        assembler.set(.r3, Int32(FAN_KEY_SIZE_REMOTE))
        assembler.set(.r4, 0)
        assembler.call(BPF_FUNC_skb_get_tunnel_key)
        assembler.jump(to: drop(.spoofed), if: .r0, .notEqual, .immediate(0), .bits64)
        assembler.load(.word, .r2, from: .frame, key + Int32(FAN_KEY_TUNNEL_ID))
        assembler.jump(to: drop(.spoofed), if: .r2, .notEqual, .bits(spec.vni))
        mapFarEnd(source, orElse: .spoofed)
        assembler.load(.word, .r2, from: .frame, key + Int32(FAN_KEY_REMOTE_IPV4))
        assembler.jump(to: drop(.spoofed), if: .r2, .notEqual, .register(source))
    }
}
