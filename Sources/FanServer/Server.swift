internal import FanCore
public import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// The daemon: a local socket that is always there, and the membership once there is one.
public final class Server: Sendable {
    /// Where a server keeps its files and its socket.
    public struct Options: Sendable {
        /// The node's state directory; the server's own part is `server` in it.
        public var stateDirectory: String
        /// The directory of the sockets.
        public var runtimeDirectory: String
        /// How much of the database's log is kept.
        public var logLength = LogLength()

        /// Names the directories.
        public init(stateDirectory: String, runtimeDirectory: String) {
            self.stateDirectory = stateDirectory
            self.runtimeDirectory = runtimeDirectory
        }

        /// The server's own files.
        public var serverDirectory: String { "\(stateDirectory)/server" }
        /// The local socket.
        public var socket: String { "\(runtimeDirectory)/server.sock" }
    }

    /// This node, and where it stands.
    let local: LocalNode
    private let log = ServerLog()
    private let router: Router
    private let socket = Lock<LocalServer?>(nil)
    private let stopSignal = WakeSignal()
    private let lock: Lock<Descriptor?>

    /// Claims the server's directory.
    ///
    /// - Throws: ``ServerError``, and the errors of files.
    public init(_ options: Options) throws {
        let directory = ServerDirectory(path: options.serverDirectory)
        try directory.make()
        lock = Lock(try directory.lock())
        let router = Router(log)
        self.router = router
        local = LocalNode(directory: directory, log: log, logLength: options.logLength) { router.handle($0, $1, $2) }
    }

    /// Begins to answer on the local socket, and takes the membership up again.
    ///
    /// - Parameter socket: the local socket, bound and listening; it is taken over.
    /// - Throws: ``HTTPError`` when it cannot be served.
    func start(localSocket socket: consuming Descriptor) throws {
        // An agent that asked before this is known would hear of no cluster, and take the overlay down.
        local.resume { _ in true }
        let listener = try LocalServer(socket, log: { _ in }) { [router, local] in router.handle(local, $0, $1) }
        self.socket.withLock { $0 = listener }
        local.background.start("supervision") { [self] in supervise() }
    }

    /// Hands the leadership over if there is time, and ends everything; the files stay.
    public func stop() {
        let member = local.beginStopping()
        stopSignal.raise()
        if let member, let leadership = member.leadership, member.state.members.count > 1 {
            do {
                let client = try DatabaseClient(descriptor: member.database.connectLocally(), timeout: .seconds(5))
                if let successor = try leadership.roles.handOver(client) {
                    log.notice("handed-over", "'\(successor)' leads the database now")
                }
            } catch { log.warning("not-handed-over", "\(error)") }
        }
        local.stop()
        socket.withLock { server in
            server?.stop()
            server = nil
        }
        local.background.join()
        router.stop()
        lock.withLock { $0 = nil }
    }

    /// Lets held-back answers go in time, and tries a failed start again.
    private func supervise() {
        var retry = ContinuousClock.now + .seconds(5)
        while !local.isStopping {
            stopSignal.wait(atMost: .milliseconds(200))
            let now = ContinuousClock.now
            for waiting in [local.watchers, local.receivers] { waiting.expire(at: now) }
            for line in local.tally.withLock({ $0.due(at: now) }) { log.warning("connection-refused", line) }
            let member = local.member
            member?.leadership?.heartbeats.expire(at: now)
            member?.tunnels.expire(at: now)
            if now >= retry, local.resume(if: { $0.failure != nil }) { retry = .now + .seconds(5) }
        }
    }
}
