internal import CLinux
internal import Glibc
internal import Synchronization

/// Virtual hosts on this machine: a network namespace each, on one L2 underlay, with guests behind them.
///
/// Nothing is put into the machine's own network namespace, and the underlay has no way out.
/// The lab is removed when this object goes, unless ``keep()`` was called; after a crash, by the next lab of its name.
public struct Lab: ~Copyable, Sendable {
    /// What the lab consists of.
    public let plan: LabPlan
    /// The nodes.
    public let nodes: [LabNode]
    /// The machine's room for neighbours; nil where it cannot be seen.
    public let neighbourLimit: NeighbourLimit?

    let claim: LabLock
    let interruption: SignalWatch?
    private let isKept = Atomic(false)

    /// Claims the lab's name, and removes what a crashed lab of this name left.
    ///
    /// Requires: root. Idempotent: no. Undo: ``tearDown()``.
    ///
    /// - Parameters:
    ///   - plan: what the lab is to consist of.
    ///   - staysUp: whether the lab is to outlive this process; then call ``keep()`` when it is complete.
    ///   - interruption: asked between steps; a signal ends the work with ``LabError/interrupted(signal:)``.
    /// - Throws: ``LabError/running(name:owner:)``, ``LabError/kept(name:)``.
    public init(
        _ plan: LabPlan,
        staysUp: Bool = false,
        interruption: SignalWatch? = nil
    ) throws(LabError) {
        let nodes = try plan.nodes()
        let claim = try LabLock(name: plan.name)
        guard LabLock.record(of: plan.name)?.kind != .kept else { throw .kept(name: plan.name) }
        try claim.empty()
        let room = try NeighbourLimit.make(for: plan)
        try claim.write(LabRecord(kind: staysUp ? .building : .bound))
        self.plan = plan
        self.nodes = nodes
        self.neighbourLimit = room
        self.claim = claim
        self.interruption = interruption
    }

    deinit {
        if !isKept.load(ordering: .relaxed) { _ = try? claim.removeEverything() }
    }

    /// Removes the lab: its namespaces and all that is in them, and its files.
    ///
    /// The kernel takes the devices apart in the background.
    ///
    /// Requires: root. Idempotent: yes. Undo: none.
    public func tearDown() throws(LabError) {
        try claim.removeEverything()
    }

    /// Lets the lab outlive this process, until ``down(name:)``.
    public func keep() throws(LabError) {
        try claim.write(LabRecord(kind: .kept))
        isKept.store(true, ordering: .relaxed)
    }

    /// Removes the lab of a name, however it was made, unless a live process uses it.
    ///
    /// Requires: root. Idempotent: yes. Undo: none.
    ///
    /// - Parameter name: the lab's name.
    /// - Returns: how many namespaces were removed.
    /// - Throws: ``LabError/running(name:owner:)``.
    public static func down(name: String) throws(LabError) -> Int {
        try LabPlan.requireName(name)
        return try LabLock(name: name).removeEverything()
    }

    // MARK: The overlay

    /// Runs `fanmesh up` on every node, several at a time.
    ///
    /// Requires: root. Idempotent: as `fanmesh up` is. Undo: ``tearDown()``.
    ///
    /// - Parameter start: the executable and its arguments.
    /// - Returns: what each node printed.
    /// - Throws: ``LabError/command(node:command:result:)`` for the first node that failed.
    @discardableResult
    public func startOverlay(_ start: OverlayStart) throws(LabError) -> [ProcessResult] {
        try Self.requireExecutable(start.executable)
        let nodes = nodes
        let jobs = nodes.map { node in
            ProcessBatch.Job(
                ProcessRequest(
                    node.upCommand(start, peers: nodes),
                    environment: LabDaemon.mark("up", on: node),
                    timeout: start.timeout
                ),
                in: node.namespace
            )
        }
        let results = try ProcessBatch.run(jobs, interruption: interruption)
        for (position, result) in results.enumerated() where !result.isSuccess {
            let command = jobs[position].request.command.joined(separator: " ")
            throw .command(node: nodes[position].name, command: command, result: result)
        }
        return results
    }

    /// Refuses a path that cannot be executed, before anything is made.
    ///
    /// - Parameter path: the executable.
    /// - Throws: ``LabError/executable(_:code:)``, or ``LabError/notRoot``.
    public static func requireExecutable(_ path: String) throws(LabError) {
        // Who is not root may not even see it, and will not be helped by seeing it.
        guard geteuid() == 0 else { throw .notRoot }
        let result = unsafe fan_executable(path)
        guard result == 0 else { throw .executable(path, code: -result) }
    }
}
