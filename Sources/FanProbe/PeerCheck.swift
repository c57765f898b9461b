internal import CLinux
public import FanCore

/// How this host checks its peers.
public struct PeerCheck: Sendable {
    /// This host's own address in the underlay.
    public var underlayAddress: IPv4Address
    /// The address of this host's overlay bridge.
    public var overlayAddress: IPv4Address
    /// The underlay, where known: remedies name it.
    public var underlay: IPv4Prefix?
    /// The size of a full overlay packet.
    public var overlayMTUBytes: Int
    /// The UDP port of the overlay.
    public var port: UInt16
    /// The time that a peer has to answer.
    public var timeout: Duration
    /// Whether the overlay is a cluster's, so that it is the agent that makes it.
    public var isClusters = false

    /// Sets what to check from, and what to expect.
    public init(
        underlayAddress: IPv4Address,
        overlayAddress: IPv4Address,
        underlay: IPv4Prefix? = nil,
        overlayMTUBytes: Int,
        port: UInt16 = 8472,
        timeout: Duration = .seconds(2)
    ) {
        self.underlayAddress = underlayAddress
        self.overlayAddress = overlayAddress
        self.underlay = underlay
        self.overlayMTUBytes = overlayMTUBytes
        self.port = port
        self.timeout = timeout
    }

    /// What to do when the overlay is not there.
    ///
    /// - Parameter isClusters: see ``isClusters``.
    /// - Returns: a remedy.
    public static func upRemedy(isClusters: Bool) -> String {
        isClusters ? "the agent makes it; if it does not, see: journalctl -u fanmesh-agent" : "run: fanmesh up"
    }

    /// Checks all peers at once: underlay and overlay echo, and the overlay's path MTU; of a guest that is asked for
    /// both as well.
    ///
    /// Blocks the calling thread, and probes from its network namespace. An own address that this host lacks is a
    /// result, since it is a diagnosis.
    ///
    /// Requires: CAP_NET_RAW.
    ///
    /// - Parameters:
    ///   - targets: the peers.
    ///   - isCancelled: asked at least ten times a second; true ends the check early.
    /// - Returns: one result per peer, in the same order.
    /// - Throws: ``ProbeError`` when this host may not or cannot probe at all.
    public func checkPeers(
        _ targets: [PeerTarget],
        isCancelled: () -> Bool = { false }
    ) throws(ProbeError) -> [PeerResult] {
        let underlaySource = try Self.source(at: underlayAddress)
        let overlaySource = try Self.source(at: overlayAddress)
        let echo = EchoSettings(retryAfter: min(.milliseconds(250), timeout / 4), timeout: timeout)
        var jobs: [ProbeJob] = []
        for target in targets {
            if case .success(let source) = underlaySource {
                jobs.append(.echo(from: source, to: target.underlayAddress, echo))
            }
            if case .success(let source) = overlaySource {
                let settings = PathMTUSettings(mtuBytes: overlayMTUBytes, echo: echo, timeout: timeout)
                jobs.append(.pathMTU(from: source, to: target.overlayAddress, settings))
                if let guest = target.guestAddress { jobs.append(.pathMTU(from: source, to: guest, settings)) }
            }
        }
        var outcomes = try ProbeEngine.run(jobs, isCancelled: isCancelled).makeIterator()
        return targets.map { target in
            let underlay: EchoOutcome
            switch underlaySource {
            case .failure(let error): underlay = .failed(.local(error.reason))
            case .success: underlay = outcomes.next().flatMap(\.echoOutcome) ?? .failed(.cancelled)
            }
            func nextOverlay() -> PathMTUOutcome {
                switch overlaySource {
                case .failure(let error): PathMTUOutcome(echo: .failed(.local(error.reason)))
                case .success: outcomes.next().flatMap(\.pathMTUOutcome) ?? PathMTUOutcome(echo: .failed(.cancelled))
                }
            }
            var diagnosis = PeerDiagnosis(check: self, target: target, underlay: underlay, overlay: nextOverlay())
            if target.guestAddress != nil { diagnosis.guest = nextOverlay() }
            return diagnosis.result
        }
    }

    /// A source, or the missing address that is in its way; any other obstacle is thrown.
    private static func source(at address: IPv4Address) throws(ProbeError) -> Result<ProbeSource, ProbeError> {
        do throws(ProbeError) {
            return .success(try ProbeSource(address: address))
        } catch {
            guard error.reason.isMissingAddress else { throw error }
            return .failure(error)
        }
    }
}

extension ProbeOutcome {
    /// The outcome of an echo probe.
    public var echoOutcome: EchoOutcome? { if case .echo(let outcome) = self { outcome } else { nil } }
    /// The outcome of a path MTU probe.
    public var pathMTUOutcome: PathMTUOutcome? { if case .pathMTU(let outcome) = self { outcome } else { nil } }
}
