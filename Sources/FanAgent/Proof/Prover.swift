internal import FanCore
internal import FanLink
internal import FanProbe
internal import FanStore
internal import FanSystem

/// Proves together with the agents of peers where packets between the hosts stay.
///
/// Both ends tap the three devices that packets of the overlay pass, send a few, and compare what they counted; see
/// ``LegTaps`` and ``ProofJudge``. What they say to each other goes through the store, not over the overlay.
struct Prover: Sendable {
    /// What is to be proven.
    struct Task: Sendable {
        /// The overlay.
        var spec: NetworkSpec
        /// This host's name.
        var name: String
        /// The peers.
        var targets: [PeerTarget]
    }

    /// What another member asks for.
    struct Call: Sendable {
        var id: UInt64
        var token: UInt64
        var mac: MACAddress
        var target: PeerTarget
        var spec: NetworkSpec
    }

    /// How many peers are asked at once; with more that are silent, asking them all tells nothing more.
    static let peers = 8
    /// How many other members' proofs this host takes part in at once.
    private static let guests = 4
    /// How long a peer may take to begin.
    private static let patience = Duration.milliseconds(1500)
    /// How long both count at most.
    private static let window = Duration.milliseconds(500)
    /// How long after that a report may take to arrive.
    private static let delivery = Duration.milliseconds(1200)

    private let store: any ClusterStore
    private let desk = ProofDesk()
    /// How many of others it takes part in now.
    private let calls = Lock(0)

    init(_ store: any ClusterStore) { self.store = store }

    /// Takes what a member says about a proof that this host asked for.
    func take(_ message: ProofMessage, from name: String) { desk.take(message, from: name) }

    // MARK: - Asking

    /// Proves where packets to and from peers stay, all at once; blocks the calling thread for up to 4 s.
    ///
    /// - Parameter task: what is asked; beyond ``peers`` peers are left out.
    /// - Returns: the proofs by name; none for a peer of which nothing more is known.
    func prove(_ task: Task) -> [String: PeerProof] {
        let targets = task.targets.prefix(Self.peers)
        let done = Monitor<[String: PeerProof?]>([:])
        for target in targets {
            let isRunning = startThread("prove", stackBytes: 256 << 10) {
                let proof = prove(target, task)
                done.withLock { $0[target.name] = .some(proof) }
            }
            if !isRunning { done.withLock { $0[target.name] = .some(nil) } }
        }
        _ = done.wait(timeout: .seconds(8)) { $0.count == targets.count ? true : nil }
        return done.withLock { $0.compactMapValues { $0 } }
    }

    private func prove(_ target: PeerTarget, _ task: Task) -> PeerProof? {
        let (id, token) = (UInt64.random(in: 1 ... .max), UInt64.random(in: 1 ... .max))
        guard let devices = Self.devices(task.spec),
            let taps = try? LegTaps(devices, ownToken: id, peerToken: token)
        else { return nil }
        desk.open(id, with: target.name)
        defer { desk.close(id) }
        var silence: ProofJudge.Silence?
        do throws(StoreError) {
            let message = ProofMessage(id, .call(token: token, mac: devices.mac))
            try store.send(PeerMessage.proof(message).text, to: target.name)
        } catch { silence = .unheard("\(target.name) cannot be asked what it sees: \(error)") }
        let answer = silence == nil ? desk.wait(for: id, atMost: Self.patience) : nil
        if case .noOverlay? = answer?.content { silence = .noOverlay }
        if case .busy? = answer?.content { silence = .unheard("\(target.name) is busy with other proofs") }
        // Without the peer's address everybody's is taken: this host's side is known then.
        let everybody = MACAddress(rawValue: 0xffff_ffff_ffff)
        taps.ask(answer?.mac ?? everybody, at: target.overlayAddress)
        var peer = ProofJudge.End(name: target.name, address: target.underlayAddress)
        if answer?.mac != nil {
            taps.count(for: Self.window + Self.delivery) { desk.end(of: id) != nil }
        } else {
            taps.count(for: .milliseconds(50))
        }
        if case .report(let counts, let incoming, let outgoing)? = desk.end(of: id) {
            (peer.counts, peer.incoming, peer.outgoing) = (counts, incoming, outgoing)
        } else if silence == nil {
            silence = .unheard("the agent of \(target.name) does not say what it sees")
        }
        let port = task.spec.port
        let own = ProofJudge.End(
            name: task.name,
            address: task.spec.host,
            counts: taps.counts,
            incoming: Self.suspects(port, isIncoming: true),
            outgoing: Self.suspects(port, isIncoming: false)
        )
        return ProofJudge(
            own: own,
            peer: peer,
            spec: task.spec,
            silence: silence,
            wrongNeighbour: answer?.mac.flatMap { Self.wrongNeighbour(target.overlayAddress, $0, task.spec) }
        ).proof
    }

    // MARK: - Answering

    /// Takes part in the proof of another member, on a thread of its own; with too many it says so.
    func answer(_ call: Call) {
        let hasRoom = calls.withLock { calls in
            guard calls < Self.guests else { return false }
            calls += 1
            return true
        }
        guard hasRoom, startThread("prove", stackBytes: 256 << 10, { answerNow(call) }) else {
            if hasRoom { calls.withLock { $0 -= 1 } }
            return say(.busy, call)
        }
    }

    private func answerNow(_ call: Call) {
        defer { calls.withLock { $0 -= 1 } }
        guard let devices = Self.devices(call.spec),
            let taps = try? LegTaps(devices, ownToken: call.token, peerToken: call.id)
        else { return say(.noOverlay, call) }
        say(.ready(mac: devices.mac), call)
        taps.ask(call.mac, at: call.target.overlayAddress)
        taps.count(for: Self.window) {
            let counts = taps.counts
            return counts.small[.bridge, .requestIn] >= LegTaps.smallPackets
                && counts.full[.bridge, .requestIn] >= LegTaps.fullPackets
        }
        let port = call.spec.port
        say(
            .report(
                taps.counts,
                incoming: Self.suspects(port, isIncoming: true),
                outgoing: Self.suspects(port, isIncoming: false)
            ),
            call
        )
    }

    /// Who does not get it asks again, or goes on without.
    private func say(_ content: ProofMessage.Content, _ call: Call) {
        try? store.send(PeerMessage.proof(ProofMessage(call.id, content)).text, to: call.target.name)
    }

    // MARK: - This host

    /// The devices of an overlay; nil when one is missing.
    private static func devices(_ spec: NetworkSpec) -> LegTaps.Devices? {
        guard let facts = try? LinuxKernel().hostFacts(), let bridge = facts.link(named: spec.bridgeName),
            let mac = bridge.mac, let vxlan = facts.link(named: spec.vxlanName),
            let underlay = facts.addresses.first(where: { $0.address.address == spec.host }),
            let slice = try? spec.mapping.slice(of: spec.host)
        else { return nil }
        return LegTaps.Devices(
            indices: [.bridge: bridge.index, .vxlan: vxlan.index, .underlay: underlay.linkIndex],
            port: spec.port,
            mac: mac,
            address: slice.bridgeAddress.address,
            mtuBytes: spec.mtuBytes
        )
    }

    /// What this host's neighbour table has for a peer's bridge, if that is not where the bridge is.
    private static func wrongNeighbour(
        _ address: IPv4Address,
        _ mac: MACAddress,
        _ spec: NetworkSpec
    ) -> ProofJudge.WrongNeighbour? {
        // With the classifiers all that is on other hosts has one address.
        let expected = spec.forwarder == .ebpf ? ClassifierSpec.farAddress : mac
        let table = ((try? File.read("/proc/thread-self/net/arp")) ?? nil) ?? ""
        for line in table.split(separator: "\n").dropFirst() {
            let fields = line.split(separator: " ")
            // Address, type, flags (0 while it is being asked for), Ethernet address, mask, device.
            guard fields.count >= 6, fields[0] == "\(address)", fields[5] == spec.bridgeName, fields[2] != "0x0",
                fields[3] != expected.description
            else { continue }
            return ProofJudge.WrongNeighbour(address: address, found: String(fields[3]), expected: expected)
        }
        return nil
    }

    private static func suspects(_ port: UInt16, isIncoming: Bool) -> [FilterSuspect] {
        (try? ForeignChains.suspects(port: port, isIncoming: isIncoming)) ?? []
    }
}
