internal import FanCore
internal import FanProbe
internal import FanStore

/// Decides what the agent does: it waits for nothing, sends nothing, and knows the time only from its caller.
///
/// The kernel and the state directory are used at once, through the manager; all else is asked for as an
/// ``AgentAction``. It belongs to one thread.
final class Agent {
    typealias Instant = ContinuousClock.Instant

    /// Everything is compared with the kernel at least this often.
    static let interval = Duration.seconds(60)
    /// A burst of announcements is let go by for this long.
    static let settling = Duration.milliseconds(20)
    /// Announcements make the agent look at most this often.
    static let spacing = Duration.milliseconds(500)

    /// Who this agent is, for reports and for others on this host.
    struct Identity {
        var nodeID: String
        var version: String
        var kernel: String
        var processID: Int32
        var startedAt: Int64
    }

    private enum Server {
        case unknown
        case connected
        case lost(StoreError)
    }

    /// What the last look at the overlay gave.
    private struct Overlay {
        /// How it stands, nil where it was never up.
        var status: NetworkStatus?
        /// Why it could not be made what it shall be.
        var failure: Warning?

        var isVerified: Bool { failure == nil && status?.pending.isEmpty == true }
    }

    private let manager: OverlayManager
    private let memory: ClusterMemory
    private let identity: Identity

    private var server = Server.unknown
    private var serverMessage = ""
    /// Whether the server said that it cannot take part in the cluster.
    private var hasServerFailed = false
    /// What the server last said of the cluster, with the settings that this host is pinned to.
    private var snapshot: ClusterSnapshot?
    /// The same as the server said it.
    private var claimed: ClusterSnapshot?
    private var pinned: PinnedSettings?
    /// Whether the settings were pinned, and cannot be read.
    private var isPinLost = false
    private var target: OverlayTarget?
    private var isLeaving = false
    /// Whether the disk holds something older than ``snapshot``.
    private var isUnsaved = false

    private var overlay = Overlay()
    private var verified: OverlayTarget?
    private var reconcileAt: Instant?
    private var reconciledAt: Instant?
    /// Before this, announcements are taken for echoes of the agent's own failed steps.
    private var deafUntil: Instant?
    private var retry = Backoff(.seconds(1)...Duration.seconds(60))
    private var repairs = RepairGuard()

    private var probes = ProbeSchedule()
    private var probeFailure: String?
    private var reports = ReportSchedule()

    private var published: AgentStatus?
    private var lastComplaints: [String: String] = [:]
    private var actions: [AgentAction] = []

    init(manager: OverlayManager, memory: ClusterMemory, identity: Identity) {
        self.manager = manager
        self.memory = memory
        self.identity = identity
    }

    /// The identity by which the store knows this agent's node.
    var nodeID: String { identity.nodeID }

    /// Takes up what was known when an earlier agent stopped.
    func begin(at now: Instant) -> [AgentAction] {
        do { pinned = try PinnedSettings.load(stateDirectory: memory.stateDirectory) } catch {
            isPinLost = true
            complain(.error, "settings-unreadable", "\(error); nothing is done before 'fanmesh accept'")
        }
        do {
            if let remembered = try memory.load(), let known = pin(remembered), let target = OverlayTarget(known) {
                log(.info, "cluster-remembered", "\(known.members.count) members, generation \(known.generation)")
                snapshot = known
                self.target = target
                probes.update(target.peers, at: now)
                reconcileAt = now
            }
        } catch { complain(.warning, "memory-unreadable", "\(error)") }
        return wake(at: now)
    }

    /// Takes in an event, and does what is due.
    func handle(_ event: AgentEvent, at now: Instant) -> [AgentAction] {
        switch event {
        case .snapshot(let snapshot): take(snapshot, at: now)
        case .serverLost(let error): lose(error)
        case .networkChanged: expectReconcile(at: now + Self.settling, now)
        case .probed(let results):
            probeFailure = nil
            if probes.note(results, at: now) {
                logPeers()
                // When peers fell silent, the fault may be here and not have been announced.
                expectReconcile(at: now, now)
            }
        case .probeFailed(let message):
            probes.fail()
            probeFailure = message
            complain(.warning, "probes-failed", message)
        case .reported:
            reports.succeed()
            lastComplaints["report-failed"] = nil
        case .reportFailed(let error):
            reports.fail(at: now)
            if case .connected = server { complain(.warning, "report-failed", "\(error)") }
        case .reload:
            log(.info, "reload", "looking at everything now")
            retry.reset()
            deafUntil = nil
            reconcileAt = target == nil ? nil : now
            readPin(at: now)
        }
        return wake(at: now)
    }

    /// Does what is due; with a ``deadline`` that has come there is more to do.
    func wake(at now: Instant) -> [AgentAction] {
        defer { actions = [] }
        if isLeaving, published?.isReady == true {
            // Nobody may find an overlay ready that is being taken down.
            publish()
            return actions
        }
        if let due = reconcileAt, due <= now { reconcile(at: now) }
        if let spec = overlay.status?.spec, let peers = probes.take(at: now), let check = PeerCheck(spec) {
            actions.append(.probe(check, peers))
        }
        // This host knows before the cluster does, so that who waited for the cluster finds it so here.
        publish()
        if let report = report().flatMap({ reports.take($0, at: now) }) { actions.append(.report(report)) }
        return actions
    }

    private func publish() {
        let status = status()
        guard status != published else { return }
        published = status
        actions.append(.publish(status))
    }

    /// When ``wake(at:)`` has something to do at the latest.
    var deadline: Instant? {
        let probe = overlay.status == nil ? nil : probes.deadline
        return [reconcileAt, probe, snapshot == nil ? nil : reports.deadline].compactMap(\.self).min()
    }

    // MARK: - The cluster

    private func take(_ new: ClusterSnapshot, at now: Instant) {
        if case .lost = server {
            log(.info, "server-back", "the fanmesh server answers again")
            lastComplaints["server-lost"] = nil
            reports.renew()
        }
        server = .connected
        serverMessage = new.message
        hasServerFailed = new.state == .failed
        guard new.state != .unconfigured else {
            leave(at: now)
            return
        }
        claimed = new
        guard let new = pin(new), let target = OverlayTarget(new) else {
            complain(
                .warning,
                "snapshot-incomplete",
                "the server's answer has no settings or no row for this node; going on with what was known before"
            )
            return
        }
        adopt(new, target, at: now)
    }

    /// What the server says, with the settings that this host joined with; those that come first are pinned.
    private func pin(_ claimed: ClusterSnapshot) -> ClusterSnapshot? {
        guard !isPinLost, let settings = PinnedSettings(claimed) else { return nil }
        if pinned == nil {
            do { try settings.save(stateDirectory: memory.stateDirectory) } catch {
                complain(.error, "settings-unwritable", "\(error); after a restart they are pinned anew")
            }
        }
        let pinned = pinned ?? settings
        self.pinned = pinned
        let changes = pinned.changes(to: settings)
        if changes.isEmpty {
            lastComplaints["settings-differ"] = nil
        } else {
            let warning = Warning.settingsPinned(changes.joined(separator: ", "))
            complain(.error, "settings-differ", "\(warning.message); \(warning.remedy)")
        }
        return pinned.applied(to: claimed)
    }

    /// The operator may have accepted the cluster's settings on this host.
    private func readPin(at now: Instant) {
        do {
            guard let read = try PinnedSettings.load(stateDirectory: memory.stateDirectory), read != pinned else {
                return
            }
            pinned = read
            isPinLost = false
        } catch { complain(.error, "settings-unreadable", "\(error)") }
        log(.info, "settings-accepted", "the settings that this host is pinned to were changed on it")
        guard let claimed, let new = pin(claimed), let target = OverlayTarget(new) else { return }
        adopt(new, target, at: now)
    }

    /// What is otherwise in the cluster than this host is pinned to, nil when nothing is.
    private var settingsChanges: String? {
        guard let pinned, let claimed = claimed.flatMap({ PinnedSettings($0) }) else { return nil }
        let changes = pinned.changes(to: claimed)
        return changes.isEmpty ? nil : changes.joined(separator: ", ")
    }

    private func lose(_ error: StoreError) {
        server = .lost(error)
        let rest = snapshot == nil ? "waiting for it" : "the overlay goes on from the last known members"
        complain(.warning, "server-lost", "\(error); \(rest)")
    }

    private func adopt(_ new: ClusterSnapshot, _ wanted: OverlayTarget, at now: Instant) {
        isLeaving = false
        let former = snapshot
        snapshot = new
        if former?.lasting != new.lasting {
            log(
                .info,
                former == nil ? "cluster-joined" : "cluster-changed",
                "\(new.state.rawValue) '\(new.name ?? "")' of \(new.members.count) members, generation \(new.generation)"
            )
            isUnsaved = true
        }
        save()
        if let old = former?.config?.network, old != new.config?.network { remove(old) }
        guard target != wanted else { return }
        target = wanted
        probes.update(wanted.peers, at: now)
        repairs.reset()
        retry.reset()
        deafUntil = nil
        reconcileAt = now
    }

    private func save() {
        guard isUnsaved, let snapshot else { return }
        do {
            try memory.save(snapshot)
            isUnsaved = false
        } catch { complain(.error, "memory-unwritable", "\(error); after a restart the agent needs the server first") }
    }

    private func leave(at now: Instant) {
        guard snapshot != nil else { return }
        isLeaving = true
        reconcileAt = now
    }

    /// Takes the overlay down; false when that has to be tried again.
    @discardableResult private func remove(_ network: String) -> Bool {
        do {
            let changes = try manager.down(network: network)
            log(.info, "overlay-removed", network + Self.steps(changes))
        } catch OverlayError.refused(let cause) {
            log(.warning, "overlay-removed", "\(network), but for what is not this node's: \(cause)")
        } catch {
            complain(.error, "overlay-not-removed", "\(error)")
            return false
        }
        return true
    }

    private func finishLeaving(at now: Instant) {
        guard let network = snapshot?.config?.network, remove(network) else {
            reconcileAt = now + retry.next()
            return
        }
        do {
            try memory.remove()
            try PinnedSettings.remove(stateDirectory: memory.stateDirectory)
        } catch {
            complain(.error, "memory-unwritable", "\(error)")
            reconcileAt = now + retry.next()
            return
        }
        log(.info, "cluster-left", "this node is in no cluster")
        snapshot = nil
        claimed = nil
        pinned = nil
        isPinLost = false
        target = nil
        verified = nil
        isLeaving = false
        isUnsaved = false
        overlay = Overlay()
        probes.update([], at: now)
        probeFailure = nil
        reports.clear()
        repairs.reset()
        retry.reset()
        lastComplaints = [:]
        reconcileAt = nil
    }

    // MARK: - The overlay

    /// Lets the agent look at the overlay soon, but not too often.
    private func expectReconcile(at time: Instant, _ now: Instant) {
        guard target != nil else { return }
        var due = time
        if let reconciledAt { due = max(due, reconciledAt + Self.spacing) }
        if let deafUntil { due = max(due, deafUntil) }
        reconcileAt = min(reconcileAt ?? due, due)
    }

    private func reconcile(at now: Instant) {
        reconciledAt = now
        reconcileAt = now + Self.interval
        guard !isLeaving else { return finishLeaving(at: now) }
        guard let target else {
            reconcileAt = nil
            return
        }
        save()
        repairs.expire(at: now)
        let isKnown = verified == target
        if isKnown, let earliest = repairs.notBefore, now < earliest {
            // Only looks, so that what is reported is true.
            observe()
            reconcileAt = min(now + Self.interval, earliest)
            return
        }
        do {
            let outcome = try manager.up(target.request)
            if !outcome.changes.isEmpty {
                log(
                    isKnown ? .warning : .info,
                    isKnown ? "overlay-mended" : "overlay-changed",
                    outcome.spec.name + Self.steps(outcome.changes)
                )
                if isKnown { repairs.note(at: now) }
            }
            overlay = Overlay(status: try manager.status(of: outcome.spec))
            if !outcome.changes.isEmpty || verified == nil || lastComplaints["overlay-failed"] != nil {
                log(
                    .info,
                    "overlay-verified",
                    "\(outcome.spec.name) \(overlay.status?.slice.prefix.description ?? "") by "
                        + "\(outcome.spec.forwarder.rawValue): \(outcome.forwarderReason)"
                )
            }
            lastComplaints["overlay-failed"] = nil
            verified = target
            deafUntil = nil
            retry.reset()
        } catch { fail(error, at: now) }
    }

    private func fail(_ error: any Error, at now: Instant) {
        let wait = retry.next()
        reconcileAt = now + wait
        switch error {
        case OverlayError.failed, OverlayError.unverified: deafUntil = now + wait
        default: break
        }
        complain(.error, "overlay-failed", "\(error)")
        observe()
        overlay.failure = Warning(
            code: "overlay-failed",
            severity: .error,
            message: "the overlay could not be made what the cluster wants: \(error)",
            remedy: "mend the cause; the agent tries again by itself"
        )
    }

    /// Compares the overlay's record with the kernel and changes nothing.
    private func observe() {
        guard let network = target?.request.network else { return }
        do {
            overlay = Overlay(status: try manager.record(of: network).map(manager.status), failure: overlay.failure)
        } catch { complain(.error, "overlay-unreadable", "\(error)") }
    }

    private static func steps(_ changes: [Change]) -> String {
        let shown = changes.prefix(20).map(\.description).joined(separator: "; ")
        let more = changes.count > 20 ? "; and \(changes.count - 20) more" : ""
        return changes.isEmpty ? "" : ": \(shown)\(more)"
    }

    // MARK: - What others see

    private var warnings: [Warning] {
        var warnings = overlay.status?.warnings.map(\.inCluster) ?? []
        if let settingsChanges { warnings.insert(.settingsPinned(settingsChanges), at: 0) }
        // A lost address is its own explanation.
        if let failure = overlay.failure, !warnings.contains(where: { $0.code == "underlay-address-gone" }) {
            warnings.append(failure)
        }
        if repairs.isContested {
            let name = target?.request.network ?? "the overlay"
            warnings.append(
                Warning(
                    code: "overlay-contested",
                    severity: .warning,
                    message: "\(name) had to be mended more than \(RepairGuard.freeRepairs) times within a minute: "
                        + "another program changes it",
                    remedy: "find it with 'ip monitor all' and keep it off \(name) and \(name)-vx"
                )
            )
        }
        if let probeFailure {
            warnings.append(
                Warning(
                    code: "probes-failed",
                    severity: .warning,
                    message: "this host cannot probe its peers: \(probeFailure)",
                    remedy: "see the agent's log: journalctl -u fanmesh-agent"
                )
            )
        }
        if let unreachable {
            warnings.append(
                Warning(
                    code: "peers-unreachable",
                    severity: .warning,
                    message: unreachable,
                    remedy: "run: fanmesh check"
                )
            )
        }
        return warnings
    }

    /// Which peers do not answer over the overlay, in words; nil when all do.
    private var unreachable: String? {
        let names = probes.peers.filter { !$0.isReachable }.map(\.name)
        guard !names.isEmpty else { return nil }
        let shown = names.prefix(5).joined(separator: ", ")
        let more = names.count > 5 ? " and \(names.count - 5) more" : ""
        return "\(names.count) of \(probes.count) peers do not answer over the overlay: \(shown)\(more)"
    }

    /// The report on this node, nil while it is in no cluster.
    private func report() -> NodeReport? {
        guard let snapshot, !isLeaving else { return nil }
        var report = NodeReport(nodeID: identity.nodeID, version: identity.version, kernel: identity.kernel)
        report.warnings = warnings
        if let status = overlay.status {
            let spec = status.spec
            report.network = spec.name
            report.mapping = spec.mapping
            report.underlayAddress = spec.host
            report.slice = status.slice.prefix
            report.forwarder = spec.forwarder
            report.mtuBytes = spec.mtuBytes
            report.vni = spec.vni
            report.port = spec.port
            report.counters = status.counters
            report.verdict = warnings.map(\.severity).max() ?? .healthy
        }
        report.reachability.peers = probes.peers
        report.generation = snapshot.generation
        return report.bounded()
    }

    private func status() -> AgentStatus {
        var status = AgentStatus(processID: identity.processID, startedAt: identity.startedAt)
        if case .connected = server { status.hasServer = true }
        guard let snapshot else {
            status.message =
                switch server {
                case .unknown: "waiting for the fanmesh server"
                case .lost(let error): "\(error)"
                case .connected: "in no cluster; run 'fanmesh init' or 'fanmesh join'"
                }
            return status
        }
        status.state = hasServerFailed ? .failed : snapshot.state
        guard !isLeaving else {
            status.message = "leaving the cluster"
            return status
        }
        status.verdict = warnings.map(\.severity).max() ?? (overlay.status == nil ? .error : .healthy)
        status.network = target?.request.network
        status.isReady = overlay.isVerified && verified == target
        status.verifiedGeneration = status.isReady ? snapshot.generation : nil
        let peers = probes.peers
        status.peers.known = probes.count
        status.peers.probed = peers.count
        status.peers.reachable = peers.count(where: \.isReachable)
        status.peers.unreachable = peers.lazy.filter { !$0.isReachable }.prefix(20).map(\.name)
        status.settings = settingsChanges
        var parts = [
            settingsChanges.map { Warning.settingsPinned($0).message }, overlay.failure?.message ?? unreachable,
        ]
        if overlay.failure == nil, let pending = overlay.status?.pending, !pending.isEmpty {
            parts.append("\(pending.count) step\(pending.count == 1 ? "" : "s") missing")
        }
        if case .lost(let error) = server { parts.append("\(error)") }
        if !serverMessage.isEmpty { parts.append(serverMessage) }
        let problems = parts.compactMap(\.self)
        status.message = problems.isEmpty ? "the overlay is verified" : problems.joined(separator: "; ")
        return status
    }

    // MARK: - The log

    private func log(_ level: LogLine.Level, _ code: String, _ message: String) {
        actions.append(.log(LogLine(level: level, code: code, message: message)))
    }

    /// Logs what goes wrong once, until it goes wrong otherwise.
    private func complain(_ level: LogLine.Level, _ code: String, _ message: String) {
        guard lastComplaints.updateValue(message, forKey: code) != message else { return }
        log(level, code, message)
    }

    private func logPeers() {
        if let unreachable {
            complain(.warning, "peers-unreachable", unreachable)
        } else if lastComplaints.removeValue(forKey: "peers-unreachable") != nil {
            log(.info, "peers-reachable", "all \(probes.peers.count) peers answer over the overlay")
        }
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
    }
}
