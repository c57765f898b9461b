internal import CLinux
internal import FanHTTP
internal import FanLink
internal import FanProbe
internal import FanSystem
internal import Glibc
public import FanCore
public import FanStore

/// The agent as a process: threads that wait for what happens, and one that acts on it.
public struct AgentService {
    /// Where it lives and who it is.
    public struct Settings: Sendable {
        /// What survives a restart.
        public var stateDirectory: String
        /// Sockets and locks.
        public var runtimeDirectory: String
        /// The group that may use the agent's socket besides root, nil for none.
        public var group: String?
        /// The version that it reports.
        public var version: String
        /// Looks up an environment variable, from any thread.
        public var variable: @Sendable (String) -> String?
        /// Where its metrics go.
        public var metrics = MetricsOutlets()
        /// What went wrong before, to be logged.
        public var lines: [LogLine] = []

        /// Describes an agent.
        public init(
            stateDirectory: String,
            runtimeDirectory: String,
            group: String?,
            version: String,
            variable: @escaping @Sendable (String) -> String?
        ) {
            self.stateDirectory = stateDirectory
            self.runtimeDirectory = runtimeDirectory
            self.group = group
            self.version = version
            self.variable = variable
        }
    }

    /// What the waiting threads have to say.
    private enum Message: Sendable {
        case event(AgentEvent)
        case log(LogLine)
        case stop(signal: Int32)
    }

    private let settings: Settings
    private let store: any ClusterStore
    /// Whether the journal reads along.
    private let isJournal: Bool
    private let manager: ServiceManager
    private let inbox = Monitor<[Message]>([])
    private let api: AgentAPI
    private let history: EventHistory
    private let isHistoryLost = Lock(false)
    private let reporting: WorkerPool
    private let probing: WorkerPool
    private let sending: WorkerPool
    private let prover: Prover

    private static let watchBackoff = Duration.milliseconds(100)...Duration.seconds(1)
    private static let longestPoll = Duration.seconds(60)
    /// How many events wait at most when a message comes: it is lost then, as it may be anywhere.
    private static let inboxLimit = 256

    private init(_ settings: Settings, store: any ClusterStore, status: AgentStatus, manager: ServiceManager) {
        self.settings = settings
        self.store = store
        isJournal = ServiceManager.readsStandardError(variable: settings.variable)
        self.manager = manager
        reporting = WorkerPool(name: "report", threads: 1, queueLimit: 2)
        probing = WorkerPool(name: "probe", threads: 1, queueLimit: 2)
        sending = WorkerPool(name: "send", threads: 1, queueLimit: 4)
        let history = EventHistory(stateDirectory: settings.stateDirectory)
        self.history = history
        prover = Prover(store)
        api = AgentAPI(status, history: history, prover: prover) { [inbox] in
            Self.post(.event(.asked($0)), to: inbox)
        }
    }

    /// Runs an agent until SIGTERM or SIGINT; the overlay stays up then.
    ///
    /// Gives up, for good, all capabilities but the three that it requires, and most system calls.
    ///
    /// Requires: CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, and the network namespace that the overlay is for.
    ///
    /// - Parameters:
    ///   - settings: where it lives and who it is.
    ///   - kernel: the kernel of the calling thread's network namespace.
    ///   - makeStore: opens where it learns about its cluster, as the node with this id.
    /// - Throws: ``AgentError``, ``StateError``, ``FileError``, ``HTTPError`` when it cannot start.
    public static func run(
        _ settings: Settings,
        kernel: any OverlayKernel,
        makeStore: (String) -> any ClusterStore
    ) throws {
        let manager = ServiceManager(variable: settings.variable, processID: getpid())
        let inherited = manager.takeInherited()
        try File.makeGuardedDirectory(settings.stateDirectory)
        try File.makeGuardedDirectory(settings.runtimeDirectory, mode: 0o755)
        let lock = try AgentLock(stateDirectory: settings.stateDirectory, runtimeDirectory: settings.runtimeDirectory)
        let state = StateDirectory(path: settings.stateDirectory)
        // Before the power to give it to a group is given up.
        let socket = AgentStatus.socket(in: settings.runtimeDirectory)
        let listener = try listenUnix(path: socket, mode: 0o660, group: settings.group)
        let metrics = try settings.metrics.listen()
        let scope = RememberedDevices.currentScope()
        // Before the first other thread: each would keep what this one gives up.
        let limits = try Confinement.apply(kernel: kernel, state: state, manager: manager, inherited: inherited)
        let identity = try OwnIdentity(state)
        let instance = Agent.Instance(
            nodeID: identity.nodeID,
            version: settings.version,
            kernel: systemName(\.release) ?? "unknown",
            processID: getpid(),
            startedAt: Timestamp.now.secondsSince1970
        )
        let store = makeStore(instance.nodeID)
        let agent = Agent(
            manager: OverlayManager(kernel: kernel, state: state),
            memory: ClusterMemory(stateDirectory: settings.stateDirectory),
            devices: RememberedDevices(directory: settings.runtimeDirectory, scope: scope),
            instance: instance,
            profile: store.profile
        )
        let status = AgentStatus(processID: instance.processID, startedAt: instance.startedAt)
        let service = AgentService(settings, store: store, status: status, manager: manager)
        let api = service.api
        for line in settings.lines + limits + identity.lines { service.write(line) }
        try service.startThreads()
        let server = try LocalServer(listener, limits: AgentAPI.limits, log: { _ in }) { api.handle($0, $1) }
        let metricsServer = try metrics.map {
            try LocalServer(Descriptor(adopting: $0), limits: AgentAPI.metricsLimits, log: { _ in }) {
                api.handleMetrics($0, $1)
            }
        }
        service.loop(agent)
        try File.remove(socket)
        settings.metrics.removeFile()
        metricsServer?.stop()
        server.stop()
        api.stop()
        _ = consume lock
    }

    // MARK: - The loop

    private func loop(_ agent: Agent) {
        write(LogLine(level: .info, code: "started", message: "fanmesh agent \(settings.version)"))
        var isReady = false
        perform(agent.begin(at: .now), &isReady)
        while true {
            let messages = inbox.wait(timeout: timeout(agent)) { messages -> [Message]? in
                guard !messages.isEmpty else { return nil }
                defer { messages = [] }
                return messages
            }
            if manager.watchdog != nil { manager.send("WATCHDOG=1") }
            for message in messages ?? [] {
                switch message {
                case .event(let event):
                    if case .reload = event {
                        manager.send("RELOADING=1", "MONOTONIC_USEC=\(fan_monotonic_nanoseconds() / 1000)")
                        isReady = false
                    }
                    perform(agent.handle(event, at: .now), &isReady)
                    if case .reload = event, !isReady {
                        manager.send("READY=1")
                        isReady = true
                    }
                case .log(let line): write(line)
                case .stop(let signal):
                    manager.send("STOPPING=1", "STATUS=stopping; the overlay stays up")
                    let name = signal == SIGINT ? "SIGINT" : "SIGTERM"
                    write(LogLine(level: .info, code: "stopping", message: "\(name); the overlay stays up"))
                    return
                }
            }
            if messages == nil { perform(agent.wake(at: .now), &isReady) }
        }
    }

    /// How long nothing needs to be done unless something happens.
    private func timeout(_ agent: Agent) -> Duration? {
        let due = agent.deadline.map { ContinuousClock.now.duration(to: $0) }
        return [due, manager.watchdog.map { $0 / 2 }].compactMap(\.self).min().map { max($0, .zero) }
    }

    private func perform(_ actions: [AgentAction], _ isReady: inout Bool) {
        for action in actions {
            switch action {
            case .log(let line): write(line)
            case .record(let line): keep(line)
            case .list: list()
            case .publish(let state):
                api.publish(state)
                let status = state.status
                manager.send("STATUS=\(status.message)")
                // A node in no cluster has nothing to make ready.
                if !isReady, status.isReady || status.state == .unconfigured {
                    manager.send("READY=1")
                    isReady = true
                }
            case .report(let report): send(report)
            case .probe(let check, let peers): probe(check, peers)
            case .send(let message, let peers): send(message, to: peers)
            case .prove(let call): prover.answer(call)
            case .hear(let message, let name): prover.take(message, from: name)
            case .readdress(let address): readdress(to: address)
            case .answer(let answer): api.answer(answer)
            }
        }
    }

    private func write(_ line: LogLine) {
        say(line)
        keep(line)
    }

    private func say(_ line: LogLine) {
        writeErrorLine(isJournal ? line.journalText : line.text(at: .now))
        api.publish(line)
    }

    private func keep(_ line: LogLine) {
        do throws(FileError) {
            try history.append(line, at: .now)
            isHistoryLost.withLock { $0 = false }
        } catch {
            // Said once, until it works again.
            let isKnown = isHistoryLost.withLock { isLost in
                defer { isLost = true }
                return isLost
            }
            let rest = "events are kept in memory alone"
            if !isKnown { say(LogLine(level: .warning, code: "events-unwritable", message: "\(error); \(rest)")) }
        }
        api.announceEvent()
    }

    private func list() {
        let isTaken = reporting.submit { [store, inbox] in
            Self.post(.event(.listed(try? store.listing())), to: inbox)
        }
        if !isTaken { Self.post(.event(.listed(nil)), to: inbox) }
    }

    private func send(_ report: NodeReport) {
        let isTaken = reporting.submit { [store, inbox] in
            do throws(StoreError) {
                _ = try store.report(report)
                Self.post(.event(.reported), to: inbox)
            } catch { Self.post(.event(.reportFailed(error)), to: inbox) }
        }
        guard !isTaken else { return }
        let reason = StoreError.Reason.disconnected(request: "report", cause: "another report is still on its way")
        Self.post(.event(.reportFailed(StoreError(reason, of: store.profile))), to: inbox)
    }

    /// Says something to peers; who does not get it is asked again, or asks again.
    private func send(_ message: PeerMessage, to peers: [String]) {
        _ = sending.submit { [store] in
            for peer in peers { try? store.send(message.text, to: peer) }
        }
    }

    private func readdress(to address: IPv4Address) {
        let isTaken = sending.submit { [store, inbox] in
            do throws(StoreError) {
                try store.readdress(to: address)
                Self.post(.event(.readdressed), to: inbox)
            } catch { Self.post(.event(.readdressFailed(error)), to: inbox) }
        }
        guard !isTaken else { return }
        let reason = StoreError.Reason.disconnected(request: "new address", cause: "others are on their way")
        Self.post(.event(.readdressFailed(StoreError(reason, of: store.profile))), to: inbox)
    }

    private func probe(_ check: PeerCheck, _ peers: [PeerTarget]) {
        let isTaken = probing.submit { [inbox] in
            do throws(ProbeError) {
                Self.post(.event(.probed(try check.checkPeers(peers))), to: inbox)
            } catch { Self.post(.event(.probeFailed("\(error)")), to: inbox) }
        }
        if !isTaken { Self.post(.event(.probeFailed("another round is still running")), to: inbox) }
    }

    // MARK: - The threads

    private func startThreads() throws {
        let signals = fan_signals_watch()
        guard signals >= 0 else { throw FileError(operation: "watch", path: "signals", code: -signals) }
        let started = [
            startThread("signals") { [inbox] in Self.watchSignals(signals, inbox) },
            startThread("events") { [inbox] in Self.watchNetwork(inbox) },
            startThread("watch", stackBytes: 1 << 20) { [inbox, store] in Self.watchCluster(store, inbox) },
            startThread("messages", stackBytes: 1 << 20) { [inbox, store] in Self.watchMessages(store, inbox) },
        ]
        let isWritten = settings.metrics.startFile(api) { [inbox] in Self.post(.log($0), to: inbox) }
        guard started.allSatisfy(\.self), api.start(), isWritten else { throw AgentError.noThreads }
    }

    private static func post(_ message: Message, to inbox: Monitor<[Message]>) {
        inbox.withLock(wake: .one) { messages in
            // Announcements come in bursts, and one is as good as many.
            if case .event(.networkChanged) = message, case .event(.networkChanged)? = messages.last { return }
            messages.append(message)
        }
    }

    private static func watchSignals(_ descriptor: Int32, _ inbox: Monitor<[Message]>) {
        while true {
            var ready: UInt8 = 0
            var polled = descriptor
            guard unsafe fan_poll_readable(&polled, &ready, 1, -1) > 0 else { continue }
            var number: UInt8 = 0
            while unsafe fan_read(descriptor, &number, 1) == 1 {
                let isReload = Int32(number) == SIGHUP
                post(isReload ? .event(.reload) : .stop(signal: Int32(number)), to: inbox)
            }
        }
    }

    /// Passes on what the kernel announces; after each subscription everything is looked at, since none was heard before.
    private static func watchNetwork(_ inbox: Monitor<[Message]>) {
        while true {
            do throws(NetlinkError) {
                var monitor = try EventMonitor()
                post(.event(.networkChanged), to: inbox)
                while true {
                    guard try !monitor.next(within: .seconds(3600)).isEmpty else { continue }
                    post(.event(.networkChanged), to: inbox)
                    // The rest of a burst is told of together.
                    let end = ContinuousClock.now + .milliseconds(20)
                    var isMore = false
                    while case let rest = ContinuousClock.now.duration(to: end), rest > .zero {
                        if try !monitor.next(within: rest).isEmpty { isMore = true }
                    }
                    if isMore { post(.event(.networkChanged), to: inbox) }
                }
            } catch {
                post(.log(LogLine(level: .error, code: "events-lost", message: "\(error)")), to: inbox)
                sleepThread(for: .seconds(1))
            }
        }
    }

    private static func watchCluster(_ store: any ClusterStore, _ inbox: Monitor<[Message]>) {
        var backoff = Backoff(watchBackoff)
        var version: String?
        while true {
            do throws(StoreError) {
                let asked = ContinuousClock.now
                let cluster = try store.watch(after: version, wait: longestPoll)
                let isEarly = cluster.version == version && ContinuousClock.now - asked < .seconds(1)
                version = cluster.version
                post(.event(.cluster(cluster)), to: inbox)
                // A store that does not wait must not keep this one busy.
                if isEarly { sleepThread(for: backoff.next()) } else { backoff.reset() }
            } catch {
                post(.event(.storeLost(error)), to: inbox)
                version = nil
                sleepThread(for: backoff.next())
            }
        }
    }

    private static func watchMessages(_ store: any ClusterStore, _ inbox: Monitor<[Message]>) {
        var backoff = Backoff(.seconds(1)...Duration.seconds(5))
        var pace = RateLimiter(burst: 8, interval: .milliseconds(200))
        while true {
            do throws(StoreError) {
                let messages = try store.messages(wait: longestPoll)
                let room = inboxLimit - inbox.withLock(wake: .none, { $0.count })
                for message in messages.prefix(max(0, room)) { post(.event(.message(message)), to: inbox) }
                backoff.reset()
                // Who sends without end, and a store that does not wait, must not keep this one busy.
                if let pause = pace.take("", at: .now) { sleepThread(for: pause) }
            } catch { sleepThread(for: backoff.next()) }
        }
    }
}
