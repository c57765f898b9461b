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
    public let neighbourRoom: NeighbourRoom?

    let claim: LabClaim
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
        let claim = try LabClaim(name: plan.name)
        guard LabClaim.record(of: plan.name)?.kind != .kept else { throw .kept(name: plan.name) }
        try claim.empty()
        let room = try NeighbourRoom.make(for: plan)
        try claim.write(LabRecord(kind: staysUp ? .building : .bound, plan: plan))
        self.plan = plan
        self.nodes = nodes
        self.neighbourRoom = room
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
        try claim.write(LabRecord(kind: .kept, plan: plan))
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
        return try LabClaim(name: name).removeEverything()
    }
}
