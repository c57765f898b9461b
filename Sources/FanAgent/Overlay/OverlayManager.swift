public import FanCore
internal import FanSystem

/// What the operator, or the cluster, asks of `up`.
@dynamicMemberLookup
public struct UpRequest: Hashable, Sendable {
    /// The overlay, and how its underlay is found.
    public var overlay: OverlayChoices
    /// This host's address in an underlay that is named by its prefix; nil to find the only one there is.
    public var host: IPv4Address?
    /// How the found underlay is widened.
    public var rounding: UnderlayRounding = .none
    /// The known peers' underlay addresses.
    public var peers: [IPv4Address] = []
    /// Pinned guest addresses, nil to leave them as they are.
    public var pins: [Fence.Pin]?

    /// Asks for an overlay.
    public init(_ overlay: OverlayChoices = OverlayChoices(), host: IPv4Address? = nil, peers: [IPv4Address] = []) {
        self.overlay = overlay
        self.host = host
        self.peers = peers
    }

    /// What is chosen of the overlay.
    public subscript<Value>(dynamicMember path: WritableKeyPath<OverlayChoices, Value>) -> Value {
        get { overlay[keyPath: path] }
        set { overlay[keyPath: path] = newValue }
    }

    /// The network's name.
    public var network: String { overlay.network ?? OverlaySettings.defaultNetwork }
}

/// What `up` found, planned and did.
public struct UpOutcome: Sendable {
    /// The network with every choice made.
    public var spec: NetworkSpec
    /// The underlay and why it was chosen.
    public var underlay: UnderlayChoice
    /// Why this forwarder was chosen.
    public var forwarderReason: String
    /// The steps; with `dryRun` not taken.
    public var changes: [Change]
    /// The node's id; a new one is kept only when the steps are taken.
    var nodeID: String
    /// Whether this node had no id before, so that the addresses in the steps of a dry run are examples.
    public var nodeIDIsNew: Bool
    /// Whether that is because the state is a copy of another machine's.
    public var isCopy: Bool
    /// Guests' ports that could not be put back, and why.
    public var lostPorts: [String] = []
    /// What was last read of the kernel: before the steps, or after those that were taken.
    var sight: KernelSight
}

/// What one look at the kernel gave.
struct KernelSight: Sendable {
    var facts: HostFacts
    var observed: ObservedState
}

/// Why an operation on a network failed.
public enum OverlayError: Error, CustomStringConvertible {
    /// The request makes no sense on this host.
    case badRequest(any Error)
    /// What exists is in the way.
    case refused(any Error)
    /// A step failed; what this run did was taken back, except for what `left` names.
    case failed(step: String, cause: any Error, left: [String])
    /// Every step succeeded and yet the state is not what was asked for; it was taken back.
    case unverified([Change], left: [String])

    /// What was tried and what happened, in one line.
    public var description: String {
        switch self {
        case .badRequest(let cause), .refused(let cause): "\(cause)"
        case .failed(let step, let cause, let left):
            "\(step): \(cause); \(Self.outcome(left))"
        case .unverified(let missing, let left):
            "the kernel accepted every step, but these did not last: "
                + missing.map(\.description).joined(separator: "; ") + "; \(Self.outcome(left))"
        }
    }

    private static func outcome(_ left: [String]) -> String {
        left.isEmpty
            ? "everything this run did was taken back"
            : "taking it back failed too: " + left.joined(separator: "; ")
    }
}

/// Brings networks up and down on this host: observe, plan, apply, verify, and take back what failed.
public struct OverlayManager {
    let kernel: any OverlayKernel
    let state: StateDirectory

    /// Works on a kernel and a state directory.
    public init(kernel: any OverlayKernel, state: StateDirectory) {
        self.kernel = kernel
        self.state = state
    }

    /// Makes a network what the request asks for; changes nothing that is already right.
    ///
    /// Requires: CAP_NET_ADMIN, and CAP_BPF for the eBPF forwarder. Idempotent: yes. Undo: ``down(network:)``.
    ///
    /// - Parameters:
    ///   - request: what is asked for.
    ///   - dryRun: plans only.
    ///   - memory: what the network's devices were when all was right.
    /// - Returns: what was found, planned and done.
    /// - Throws: ``OverlayError``, ``StateError``, ``FileError``.
    public func up(
        _ request: UpRequest,
        dryRun: Bool = false,
        memory: DeviceMemory = DeviceMemory()
    ) throws -> UpOutcome {
        do throws(NetworkSpecError) {
            try NetworkSpec.check(name: request.network)
        } catch { throw OverlayError.badRequest(error) }
        var lock: Descriptor?
        if !dryRun, state.exists { lock = try state.lock() }
        var outcome = try plan(request, memory)
        guard !dryRun else { return outcome }
        if lock == nil {
            // Bad input was found out before this makes the state directory; another run may have come first.
            lock = try state.lock()
            outcome = try plan(request, memory)
        }
        try carryOut(&outcome)
        _ = consume lock
        return outcome
    }

    /// Removes a network's devices and its record.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: ``up(_:dryRun:memory:)``.
    ///
    /// - Parameter network: the network's name.
    /// - Returns: the steps taken, empty when nothing was there.
    /// - Throws: ``OverlayError/refused(_:)`` when a device with our name is not ours; ours are removed all the same.
    public func down(network: String) throws -> [Change] {
        do throws(NetworkSpecError) {
            try NetworkSpec.check(name: network)
        } catch { throw OverlayError.badRequest(error) }
        let lock: Descriptor? = state.exists ? try state.lock() : nil
        let nodeID = try state.nodeID()
        let facts = try kernel.hostFacts()
        let observed = try kernel.observe(network: network, facts: facts)
        let removal = Removal(network: network, nodeID: nodeID, observed: observed)
        for change in removal.changes {
            do { try kernel.apply(change) } catch {
                throw OverlayError.failed(step: change.description, cause: error, left: [])
            }
        }
        try state.remove(network: network)
        if let link = removal.foreign.first {
            throw OverlayError.refused(
                PlanError.notOurs(name: link.name, what: link.whatItIs, expected: "a device made by this node")
            )
        }
        _ = consume lock
        return removal.changes
    }

    // MARK: - Choosing

    private func chooseUnderlay(_ request: UpRequest, _ facts: HostFacts) throws -> UnderlayChoice {
        let underlay = request.underlay ?? .auto
        do throws(UnderlayError) {
            if let host = request.host, case .prefix(let prefix) = underlay {
                return try facts.chooseUnderlay(prefix, host: host)
            }
            let overlay = request.overlay.overlay ?? .defaultOverlay
            return try facts.chooseUnderlay(underlay, overlay: overlay, rounding: request.rounding)
        } catch {
            // With `auto` nobody wrote anything wrong, but for the overlay: the host is not ready.
            if case .inOverlay = error { throw OverlayError.badRequest(error) }
            if case .missingAddress = error { throw OverlayError.refused(error) }
            throw underlay == .auto ? OverlayError.refused(error) : .badRequest(error)
        }
    }

    private func makeSpec(_ request: UpRequest, _ underlay: UnderlayChoice) throws -> NetworkSpec {
        // A record that cannot be read is no fault of the request.
        let known = try request.pins == nil ? state.network(request.network) : nil
        do {
            let settings = try request.overlay.settings(underlay: underlay.prefix)
            let slice = try settings.mapping.slice(of: underlay.address)
            // Those of another slice, from before this host's address changed, are nobody's any more.
            let kept = known?.pins.filter { slice.prefix.contains($0.address) }
            let spec = NetworkSpec(
                settings,
                host: underlay.address,
                forwarder: request.forwarder?.kind ?? .ebpf,
                mtuBytes: request.mtuBytes ?? underlay.mtuBytes - NetworkSpec.encapsulationBytes,
                peers: request.peers,
                pins: request.pins ?? kept ?? []
            )
            try spec.validate(underlayMTU: underlay.mtuBytes)
            return spec
        } catch { throw OverlayError.badRequest(error) }
    }

    /// Plans from what the host is now.
    private func plan(_ request: UpRequest, _ memory: DeviceMemory) throws -> UpOutcome {
        let facts = try kernel.hostFacts()
        let underlay = try chooseUnderlay(request, facts)
        var spec = try makeSpec(request, underlay)
        let known = try state.nodeID()
        let nodeID = known ?? StateDirectory.newNodeID()
        let observed = try kernel.observe(network: spec.name, facts: facts)
        let reason = try chooseForwarder(&spec, request, observed)
        let desired = try DesiredState(spec, nodeID: nodeID)
        let previous = try state.network(spec.name).map { try DesiredState($0, nodeID: nodeID) }
        let former = try state.formerNetwork(spec.name).map { try DesiredState($0, nodeID: nodeID) }
        let isCopy = try state.isCopy()
        do throws(PlanError) {
            return UpOutcome(
                spec: spec,
                underlay: underlay,
                forwarderReason: reason,
                changes: try desired.plan(from: observed, previous: previous, former: former, memory: memory),
                nodeID: nodeID,
                nodeIDIsNew: known == nil,
                isCopy: isCopy,
                sight: KernelSight(facts: facts, observed: observed)
            )
        } catch { throw OverlayError.refused(error) }
    }

    private func chooseForwarder(
        _ spec: inout NetworkSpec,
        _ request: UpRequest,
        _ observed: ObservedState
    ) throws -> String {
        let wanted = request.forwarder?.kind
        guard wanted != .fdb else { return "fdb was asked for" }
        let classifiers = ClassifierSpec(mapping: spec.mapping, host: spec.host, vni: spec.vni)
        if observed.classifiers == ClassifierDigests(ingress: classifiers.digest, egress: classifiers.digest) {
            return "its programs are attached"
        }
        do {
            try kernel.prepare(classifiers)
            return wanted == nil ? "its programs load on this kernel" : "ebpf was asked for"
        } catch let error as ForwarderUnavailable {
            guard wanted == nil else { throw OverlayError.refused(error) }
            spec.forwarder = .fdb
            return "fell back from ebpf: \(error)"
        } catch { throw OverlayError.refused(error) }
    }
}
