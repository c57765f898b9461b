internal import FanCore
internal import FanProbe
internal import FanStore

/// Decides what the agent does: it waits for nothing, sends nothing, and knows the time only from its caller.
///
/// The kernel and the state directory are used at once, through the manager; all else is asked for as an
/// ``AgentAction``. It belongs to one thread.
final class Agent {
    typealias Instant = ContinuousClock.Instant

    /// Who this agent is, for reports and for others on this host.
    struct Instance {
        var nodeID: String
        var version: String
        var kernel: String
        var processID: Int32
        var startedAt: Int64
    }

    private let memory: ClusterMemory
    private let instance: Instance
    /// What messages call the store.
    private let profile: StoreProfile

    private var store = AgentView.Store.unknown
    private var storeMessage = ""
    /// Whether the store said that this node cannot take part in the cluster.
    private var hasFailed = false
    /// What the store last said of the cluster, with the settings that this host is pinned to.
    private var cluster: ClusterView?
    /// The same as the store said it.
    private var claimed: ClusterView?
    private var pin: SettingsPin
    private var isLeaving = false
    /// Whether the disk holds something older than ``cluster``.
    private var isUnsaved = false

    var overlay: OverlayKeeper
    var probes = ProbeSchedule()
    private var probeFailure: String?
    private var inquiries = PeerInquiries()
    /// Each peer's questions; what one asks costs this host a probe.
    private var questions = RateLimiter(burst: 2, interval: .seconds(5))
    /// Each peer's proofs.
    private var calls = RateLimiter(burst: 3, interval: .seconds(2))
    private var reports = ReportSchedule()
    private var move = AddressMove()
    private var listings = ListingSchedule()
    private var clusterEvents = ClusterEvents()
    private var diskFinding: Finding?
    /// How many frames with forged sources were told of, and when.
    var forged: (count: UInt64, at: Instant)?

    private var published: AgentState?
    var journal = AgentJournal()
    private var actions: [AgentAction] = []

    init(
        manager: OverlayManager,
        memory: ClusterMemory,
        devices: RememberedDevices,
        instance: Instance,
        profile: StoreProfile
    ) {
        overlay = OverlayKeeper(manager: manager, devices: devices)
        (self.memory, self.instance, self.profile) = (memory, instance, profile)
        pin = SettingsPin(stateDirectory: memory.stateDirectory)
    }

    /// Takes up what was known when an earlier agent stopped.
    func begin(at now: Instant) -> [AgentAction] {
        pin.load(&journal)
        do {
            if let remembered = try memory.load(), let known = pin.apply(to: remembered, goal: nil, &journal),
                let target = OverlayTarget(known)
            {
                journal.note(
                    .info,
                    "cluster-remembered",
                    "\(known.members.count) members, generation \(known.generation)"
                )
                cluster = known
                if overlay.want(target, at: now) { probes.update(target.peers, at: now) }
            }
        } catch { journal.report(.warning, "memory-unreadable", "\(error)") }
        return act(at: now)
    }

    /// Takes in an event, and does what is due.
    func handle(_ event: AgentEvent, at now: Instant) -> [AgentAction] {
        switch event {
        case .cluster(let cluster): take(cluster, at: now)
        case .storeLost(let error): lose(error)
        case .networkChanged: overlay.expectLook(announcedAt: now)
        case .probed(let results):
            probeFailure = nil
            journal.clear("probes-failed")
            if probes.note(results, at: now) {
                recordPeers()
                logPeers()
                // When peers fell silent, the fault may be here and not have been announced.
                overlay.expectLook(at: now)
            }
            talk(about: results, at: now)
        case .listed(let list):
            listings.end()
            if let list, cluster != nil { clusterEvents.take(list, own: cluster?.name, &journal) }
        case .message(let message): hear(message, at: now)
        case .probeFailed(let message):
            probes.fail()
            probeFailure = message
            journal.report(.warning, "probes-failed", message)
        case .reported:
            reports.succeed()
            journal.clear("report-failed")
        case .reportFailed(let error):
            reports.fail(at: now)
            if case .connected = store { journal.report(.warning, "report-failed", "\(error)") }
        case .readdressed:
            move.succeed(at: now)
            journal.clear("readdress-refused")
        case .readdressFailed(let error):
            move.fail(error, at: now)
            journal.report(.error, "readdress-refused", "\(error)")
        case .reload:
            journal.note(.info, "reload", "looking at everything now")
            overlay.lookNow(at: now)
            readPin(at: now)
        case .asked(let question): actions.append(.answer(answer(question, at: now)))
        }
        return act(at: now)
    }

    /// Does what is due; with a ``deadline`` that has come there is more to do.
    func wake(at now: Instant) -> [AgentAction] {
        if !isLeaving { overlay.poll(at: now) }
        // Most often nothing has changed, and this is all.
        guard let deadline, deadline <= now else { return [] }
        return act(at: now)
    }

    private func act(at now: Instant) -> [AgentAction] {
        defer { actions = [] }
        // Nobody may find an overlay ready that is being taken down.
        let isHidden = isLeaving && published?.status.isReady == true
        if !isHidden {
            if let due = overlay.deadline, due <= now { look(at: now) }
            let policy = { (try? AddressPolicy.load(stateDirectory: self.memory.stateDirectory)) ?? .hold }
            if let address = move.take(overlay.status?.renumbering, at: now, policy) {
                actions.append(.readdress(address))
            }
            if let spec = overlay.status?.spec, let peers = probes.take(at: now), let check = PeerCheck(spec) {
                actions.append(.probe(check, peers))
            }
        }
        // This host knows before the cluster does, so that who waited for the cluster finds it so here.
        let view = view
        let state = view.state
        if state != published {
            recordFindings(published?.warnings ?? [], state.warnings)
            published = state
            actions.append(.publish(state))
        }
        if !isHidden, let report = view.report.flatMap({ reports.take($0, at: now) }) {
            actions.append(.report(report))
        }
        if !isHidden, cluster != nil, case .connected = store {
            let isUneasy = clusterEvents.summary?.isUneasy ?? false || view.unreachable != nil
            if listings.take(members: probes.count + 1, isUneasy: isUneasy, at: now) { actions.append(.list) }
        }
        return journal.take() + actions
    }

    /// When ``wake(at:)`` has something to do at the latest.
    var deadline: Instant? {
        let probe = overlay.status == nil ? nil : probes.deadline
        var waiting = [overlay.deadline, probe]
        if cluster != nil { waiting.append(reports.deadline) }
        if cluster != nil, case .connected = store { waiting.append(listings.deadline) }
        if !isLeaving { waiting += [overlay.pollDeadline, move.deadline] }
        return waiting.compactMap(\.self).min()
    }

    private var view: AgentView {
        AgentView(
            instance: instance,
            profile: profile,
            store: store,
            storeMessage: storeMessage,
            hasFailed: hasFailed,
            cluster: cluster,
            settingsChanges: claimed.flatMap { pin.changes(to: $0) },
            isLeaving: isLeaving,
            overlay: overlay,
            probes: probes,
            inquiries: inquiries,
            probeFailure: probeFailure,
            move: move,
            summary: clusterEvents.summary,
            diskFinding: diskFinding
        )
    }

    private func look(at now: Instant) {
        guard !isLeaving else { return finishLeaving(at: now) }
        save()
        diskFinding = DiskRoom.finding(at: memory.stateDirectory)
        overlay.look(at: now, &journal)
        recordForged(at: now)
    }

    /// Answers somebody on this host; nothing is changed by it.
    private func answer(_ question: AgentQuestion, at now: Instant) -> AgentAnswer {
        do {
            switch question {
            case .peers: return .peers(probes.standings(at: now))
            case .metrics: return .metrics(AgentMetrics(view: view, counters: overlay.counters).text)
            case .plan: return .plan(isLeaving ? [] : try overlay.plan())
            case .check(let names):
                guard !isLeaving, let checks = try overlay.hostChecks(), let spec = overlay.status?.spec,
                    let check = PeerCheck(spec)
                else { return .refused(question, status: 409, "no overlay is up on this host") }
                let peers = overlay.target?.peers ?? []
                if let unknown = names.first(where: { name in !peers.contains { $0.name == name } }) {
                    return .refused(question, status: 404, "no peer is called '\(unknown.prefix(64))'")
                }
                return .check(checks, check, names.isEmpty ? peers : peers.filter { names.contains($0.name) })
            case .proof(let names):
                guard !isLeaving, let spec = overlay.status?.spec, let own = cluster?.name else {
                    return .refused(question, status: 409, "no overlay is up on this host")
                }
                let peers = overlay.target?.peers ?? []
                return .proof(Prover.Task(spec: spec, name: own, targets: peers.filter { names.contains($0.name) }))
            }
        } catch { return .refused(question, status: 409, "\(error)") }
    }

    // MARK: - The cluster

    private func take(_ new: ClusterView, at now: Instant) {
        if case .lost = store {
            journal.note(.info, "server-back", "\(profile.name) answers again")
            journal.clear("server-lost")
            reports.renew()
        }
        store = .connected
        storeMessage = new.message
        hasFailed = new.standing == .failed
        guard new.standing != .unconfigured else {
            leave(at: now)
            return
        }
        claimed = new
        guard let new = pin.apply(to: new, goal: move.goal, &journal), let target = OverlayTarget(new) else {
            journal.report(
                .warning,
                "snapshot-incomplete",
                "\(profile.name)'s answer has no settings or no row for this node; going on with what was known before"
            )
            return
        }
        adopt(new, target, at: now)
    }

    /// The operator may have accepted the cluster's settings on this host.
    private func readPin(at now: Instant) {
        guard pin.read(&journal), let claimed, let new = pin.apply(to: claimed, goal: move.goal, &journal),
            let target = OverlayTarget(new)
        else { return }
        adopt(new, target, at: now)
    }

    private func lose(_ error: StoreError) {
        store = .lost(error)
        let rest = cluster == nil ? "waiting for it" : "the overlay goes on from the last known members"
        journal.report(.warning, "server-lost", "\(error); \(rest)")
    }

    private func adopt(_ new: ClusterView, _ wanted: OverlayTarget, at now: Instant) {
        isLeaving = false
        let former = cluster
        cluster = new
        if former?.lasting != new.lasting {
            journal.note(
                .info,
                former == nil ? "cluster-joined" : "cluster-changed",
                "\(new.standing.rawValue) '\(new.name ?? "")' of \(new.members.count) members, generation \(new.generation)",
                subject: new.name ?? ""
            )
            if let former { ClusterEvents.compare(former, new, &journal) }
            isUnsaved = true
        }
        save()
        if let old = former?.settings?.network, old != new.settings?.network {
            overlay.remove(old, &journal)
        }
        if overlay.want(wanted, at: now) { probes.update(wanted.peers, at: now) }
    }

    private func save() {
        guard isUnsaved, let cluster else { return }
        do {
            try memory.save(cluster)
            isUnsaved = false
        } catch {
            let rest = "after a restart the agent needs \(profile.name) first"
            journal.report(.error, "memory-unwritable", "\(error); \(rest)")
        }
    }

    private func leave(at now: Instant) {
        guard cluster != nil else { return }
        isLeaving = true
        overlay.expectEnd(at: now)
    }

    private func finishLeaving(at now: Instant) {
        guard let network = cluster?.settings?.network, overlay.remove(network, &journal) else {
            overlay.expectRetry(at: now)
            return
        }
        do {
            try memory.remove()
            try pin.remove()
            try AddressPolicy.remove(stateDirectory: memory.stateDirectory)
        } catch {
            journal.report(.error, "memory-unwritable", "\(error)")
            overlay.expectRetry(at: now)
            return
        }
        journal.note(.info, "cluster-left", "this node is in no cluster")
        cluster = nil
        claimed = nil
        isLeaving = false
        isUnsaved = false
        overlay.clear()
        probes.update([], at: now)
        probeFailure = nil
        inquiries = PeerInquiries()
        move = AddressMove()
        reports.clear()
        listings = ListingSchedule()
        clusterEvents = ClusterEvents()
        forged = nil
        journal.clearAll()
    }

    // MARK: - Peers

    /// Asks the peers that are silent what they see of this node, and answers those that asked.
    private func talk(about results: [PeerResult], at now: Instant) {
        let silent = probes.peers.filter { !$0.isReachable }.map(\.name)
        let asked = inquiries.take(silent, probed: Set(results.map(\.target.name)), at: now)
        if !asked.isEmpty { actions.append(.send(.question, asked)) }
        let answers = probes.takeAnswers()
        for isReachable in [true, false] {
            let names = answers.filter { $0.isReachable == isReachable }.map(\.name)
            if !names.isEmpty { actions.append(.send(.answer(isReachable: isReachable), names)) }
        }
    }

    /// Takes what a member's agent says; it can ask for a probe of itself, and speak for itself.
    private func hear(_ message: AgentMessage, at now: Instant) {
        switch PeerMessage(message.text) {
        case .question:
            if questions.take(message.sender, at: now) == nil { probes.ask(for: message.sender, at: now) }
        case .answer(let isReachable): inquiries.note(isReachable, from: message.sender, at: now)
        case .proof(let proof): hear(proof, from: message.sender, at: now)
        case nil: break
        }
    }

    /// Takes what belongs to a proof: a member can have this host count its packets, and send as few to it.
    private func hear(_ message: ProofMessage, from name: String, at now: Instant) {
        guard case .call(let token, let mac) = message.content else {
            actions.append(.hear(message, from: name))
            return
        }
        guard calls.take(name, at: now) == nil, let target = overlay.target?.peers.first(where: { $0.name == name })
        else { return }
        guard !isLeaving, let spec = overlay.status?.spec else {
            actions.append(.send(.proof(ProofMessage(message.id, .noOverlay)), [name]))
            return
        }
        actions.append(.prove(Prover.Call(id: message.id, token: token, mac: mac, target: target, spec: spec)))
    }

    private func logPeers() {
        if let unreachable = view.unreachable {
            journal.report(.warning, "peers-unreachable", unreachable)
        } else if journal.clear("peers-unreachable") {
            journal.note(.info, "peers-reachable", "all \(probes.peers.count) peers answer over the overlay")
        }
    }
}
