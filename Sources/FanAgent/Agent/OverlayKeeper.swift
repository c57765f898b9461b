internal import FanCore
internal import FanProbe

/// Keeps the overlay as the cluster wants it, and knows the time only from its caller.
///
/// It decides when to look at the kernel, what to mend, and how long to leave alone what another program keeps breaking.
struct OverlayKeeper {
    typealias Instant = ContinuousClock.Instant

    /// Everything is compared with the kernel at least this often.
    static let interval = Duration.seconds(60)
    /// What follows on one announcement is let come for this long.
    static let settling = Duration.milliseconds(5)
    /// Announcements make it look at most this often in the long run.
    static let spacing = Duration.milliseconds(500)
    /// What the kernel does not announce is looked for so often.
    static let polling = Duration.milliseconds(500)
    /// So many looks may come at once after a quiet time.
    static let burst = 4

    private let manager: OverlayManager
    /// What the devices were when all was right.
    private var devices: RememberedDevices
    /// What the cluster asks of this host.
    private(set) var target: OverlayTarget?
    /// How the overlay stood at the last look, nil where it was never up.
    private(set) var status: NetworkStatus?
    /// Why it could not be made what it shall be.
    private(set) var failure: Finding?
    private var verified: OverlayTarget?
    /// When to look again, nil for never.
    private(set) var deadline: Instant?
    /// When to look for what is not announced, nil for never.
    private(set) var pollDeadline: Instant?
    /// What was found there before the last look.
    private var unannounced: [String?] = []
    /// When all looks would have been made, had they kept their distance.
    private var pacedUntil: Instant?
    /// Before this, announcements are taken for echoes of its own failed steps.
    private var holdOffUntil: Instant?
    private var retry = Backoff(.seconds(1)...Duration.seconds(60))
    private var repairs = RepairGuard()
    /// When what is looked at next was announced.
    private var announcedAt: Instant?
    /// How long it took, and how often something was mended.
    private(set) var figures = ReconcileFigures()

    init(manager: OverlayManager, devices: RememberedDevices) {
        (self.manager, self.devices) = (manager, devices)
    }

    /// Whether the overlay is what the target asks for, as far as the last look tells.
    var isReady: Bool { failure == nil && status?.pending.isEmpty == true && verified == target }
    /// The steps that another program seems to undo again and again.
    var contested: [String] { repairs.contested }

    // MARK: When

    /// Takes up what the cluster asks for; false when it is that already.
    mutating func want(_ wanted: OverlayTarget, at now: Instant) -> Bool {
        guard target != wanted else { return false }
        target = wanted
        repairs.reset()
        lookNow(at: now)
        return true
    }

    /// Looks at once, whatever went wrong before.
    mutating func lookNow(at now: Instant) {
        retry.reset()
        holdOffUntil = nil
        deadline = target == nil ? nil : now
    }

    /// Looks soon, but not too often, since the kernel announced a change.
    mutating func expectLook(announcedAt now: Instant) {
        announcedAt = announcedAt ?? now
        expectLook(at: now + Self.settling)
    }

    /// Looks soon, but not too often.
    mutating func expectLook(at time: Instant) {
        guard target != nil else { return }
        var due = time
        if let pacedUntil { due = max(due, pacedUntil - Self.spacing * (Self.burst - 1)) }
        if let holdOffUntil { due = max(due, holdOffUntil) }
        deadline = min(deadline ?? due, due)
    }

    /// Looks soon when something has changed that the kernel does not announce.
    mutating func poll(at now: Instant) {
        guard let due = pollDeadline, due <= now, let network = target?.request.network else { return }
        pollDeadline = now + Self.polling
        guard let found = try? HostSettings(kernel: manager.kernel).unannounced(network), found != unannounced else {
            return
        }
        unannounced = found
        expectLook(at: now)
    }

    /// Is woken at once, to take the overlay down.
    mutating func expectEnd(at now: Instant) { deadline = now }

    /// Is woken later, since it did not work.
    mutating func expectRetry(at now: Instant) { deadline = now + retry.next() }

    // MARK: What

    /// Makes the overlay what the target asks for; changes nothing that is already right.
    mutating func look(at now: Instant, _ journal: inout AgentJournal) {
        pacedUntil = max(pacedUntil ?? now, now) + Self.spacing
        guard let target else {
            deadline = nil
            return
        }
        devices.open(target.request.network, &journal)
        // Before the look, so that what is changed after that is found by the next poll.
        unannounced = (try? HostSettings(kernel: manager.kernel).unannounced(target.request.network)) ?? []
        pollDeadline = now + Self.polling
        deadline = now + Self.interval
        repairs.expire(at: now)
        let isKnown = verified == target
        if isKnown, !repairs.contested.isEmpty {
            // Only looks first, so that what is reported is true.
            observe(&journal)
            if let earliest = repairs.notBefore(status?.pending.causes ?? []), now < earliest {
                deadline = min(now + Self.interval, earliest)
                return
            }
        }
        let waited = announcedAt.map { max(.zero, $0.duration(to: now)) } ?? .zero
        announcedAt = nil
        let began = ContinuousClock.now
        let network = target.request.network
        do {
            let outcome = try manager.up(target.request, memory: devices.known)
            let took = began.duration(to: .now)
            figures.note(took)
            for port in outcome.lostPorts { journal.note(.warning, "port-not-returned", port, subject: network) }
            if !outcome.changes.isEmpty {
                journal.note(
                    isKnown ? .warning : .info,
                    isKnown ? "overlay-mended" : "overlay-changed",
                    outcome.spec.name + Self.steps(outcome.changes),
                    subject: network,
                    duration: isKnown ? waited + took : took
                )
                if isKnown {
                    figures.healings += 1
                    repairs.note(outcome.changes.causes, at: now)
                }
            }
            devices.note(outcome.sight.observed, isRight: true, &journal)
            status = try manager.status(of: outcome.spec, outcome.sight, devices.known)
            failure = nil
            let hadFailed = journal.clear("overlay-failed")
            if !outcome.changes.isEmpty || verified == nil || hadFailed {
                journal.note(
                    .info,
                    "overlay-verified",
                    "\(outcome.spec.name) \(status?.slice.prefix.description ?? "") by "
                        + "\(outcome.spec.forwarder.rawValue): \(outcome.forwarderReason)",
                    subject: network
                )
            }
            verified = target
            holdOffUntil = nil
            retry.reset()
        } catch { fail(error, at: now, &journal) }
    }

    private mutating func fail(_ error: any Error, at now: Instant, _ journal: inout AgentJournal) {
        let wait = retry.next()
        deadline = now + wait
        switch error {
        case OverlayError.failed, OverlayError.unverified: holdOffUntil = now + wait
        default: break
        }
        figures.failures += 1
        journal.report(.error, "overlay-failed", "\(error)", subject: target?.request.network ?? "")
        observe(&journal)
        failure = Finding(
            code: "overlay-failed",
            severity: .error,
            message: "the overlay could not be made what the cluster wants: \(error)",
            remedy: "mend the cause; the agent tries again by itself"
        )
    }

    /// Compares the overlay's record with the kernel and changes nothing.
    private mutating func observe(_ journal: inout AgentJournal) {
        guard let network = target?.request.network else { return }
        do {
            guard let spec = try manager.record(of: network) else {
                status = nil
                return
            }
            let sight = try manager.look(at: network)
            devices.note(sight.observed, isRight: false, &journal)
            status = try manager.status(of: spec, sight, devices.known)
        } catch { journal.report(.error, "overlay-unreadable", "\(error)") }
    }

    /// Takes an overlay down; false when that has to be tried again.
    @discardableResult mutating func remove(_ network: String, _ journal: inout AgentJournal) -> Bool {
        do {
            let changes = try manager.down(network: network)
            journal.note(.info, "overlay-removed", network + Self.steps(changes), subject: network)
        } catch OverlayError.refused(let cause) {
            journal.note(
                .warning,
                "overlay-removed",
                "\(network), but for what is not this node's: \(cause)",
                subject: network
            )
        } catch {
            journal.report(.error, "overlay-not-removed", "\(error)")
            return false
        }
        devices.forget(network, &journal)
        return true
    }

    /// Forgets everything: the overlay is gone.
    mutating func clear() {
        let figures = figures
        self = OverlayKeeper(manager: manager, devices: devices)
        self.figures = figures
    }

    /// What was counted by now; nil where there is nothing that counts.
    var counters: ForwardingCounters? {
        guard let network = status?.spec.name else { return nil }
        return (try? manager.kernel.counters(network: network)) ?? status?.counters
    }

    // MARK: What is asked of it

    /// What would be changed now, empty when all is right.
    ///
    /// - Throws: ``OverlayError``, ``StateError``, ``FileError``.
    func plan() throws -> [Change] {
        try target.map { try manager.up($0.request, dryRun: true, memory: devices.known).changes } ?? []
    }

    /// This host's side of the overlay, a line per check; nil where it is not up.
    ///
    /// - Throws: ``StateError``, ``FileError`` and the kernel's errors.
    func hostChecks() throws -> [HostCheck]? {
        try status.map { try manager.hostChecks(of: $0.spec, isClusters: true) }
    }

    private static func steps(_ changes: [Change]) -> String {
        let shown = changes.prefix(20).map(\.description).joined(separator: "; ")
        let more = changes.count > 20 ? "; and \(changes.count - 20) more" : ""
        return changes.isEmpty ? "" : ": \(shown)\(more)"
    }
}

extension PeerCheck {
    /// How the peers of a network are checked from this host.
    init?(_ spec: NetworkSpec) {
        guard let slice = try? spec.mapping.slice(of: spec.host) else { return nil }
        self.init(
            underlayAddress: spec.host,
            overlayAddress: slice.bridgeAddress.address,
            underlay: spec.mapping.underlay,
            overlayMTUBytes: spec.mtuBytes,
            port: spec.port
        )
        isClusters = true
    }
}
