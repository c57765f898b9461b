internal import FanAgent
internal import FanCore
internal import FanStore
internal import FanSystem

/// `fanmesh leave`: takes this node out of its cluster.
enum LeaveVerb {
    static let force = CommandOption.flag(
        "force",
        help: "also when the cluster cannot be asked; it then keeps the member"
    )

    static let command = Command(
        name: "leave",
        summary: "take this node out of its cluster",
        discussion: [
            "Hands its part in the database over, removes it from the members, forgets the cluster's keys, and lets "
                + "the agent take the overlay down: guests on this host lose it. It may be repeated.",
            "The last node of a cluster takes the cluster with it.",
        ],
        options: [force, .yes],
        examples: [
            Example("fanmesh leave", "in order, with the cluster's consent"),
            Example("fanmesh leave --force", "when the cluster is gone; then 'fanmesh cluster remove' on a member"),
        ],
        exitNotes: [
            ExitNote(.success, "this node is in no cluster"),
            ExitNote(.problem, "the cluster refused or cannot be asked; nothing was changed"),
            .noServer,
            ExitNote(.undetermined, "no answer; the same command may be run again"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let snapshot = try invocation.administration().node()
        guard snapshot.state != .unconfigured else {
            invocation.show(.changes(["this node is in no cluster, nothing to leave"]))
            return .success
        }
        let name = snapshot.name ?? "this node"
        let isLast = snapshot.members.count == 1
        let what = isLast ? "the last member, so that the cluster ends" : "one of \(snapshot.members.count) members"
        try invocation.confirmOnTerminal("Take \(name), \(what), out of the cluster and its overlay down?")
        invocation.progress("handing over what \(name) does for the cluster")
        let isForced = invocation.flag(force)
        let changes: [String]
        do {
            changes = try invocation.administration().leave(byForce: isForced)
            if !overlayIsDown(invocation.runtimeDirectory) {
                invocation.note("the agent is still taking the overlay down; see 'fanmesh status'")
            }
        } catch {
            var failure = CommandFailure(error)
            let saysIt = failure.remedy?.contains("fanmesh leave --force") == true
            if !isForced, !saysIt, failure.remedy == nil || failure.exitCode == .problem {
                let known = failure.remedy.map { "\($0); or, " } ?? ""
                failure.remedy = known + "when the cluster is lost: fanmesh leave --force"
            }
            throw failure
        }
        var advice: [String] = []
        if isForced, let other = snapshot.members.first(where: { $0.name != snapshot.name }) {
            advice = ["if \(name) is still listed there, run on \(other.name): fanmesh cluster remove \(name) --force"]
        }
        let lines = changes.isEmpty ? ["\(name) has left the cluster"] : changes.map { Document.string($0).plainText }
        invocation.show(.changes(lines, advice: advice))
        return .success
    }

    /// Waits until the agent has taken the overlay down.
    ///
    /// - Parameter runtime: the node's runtime directory.
    /// - Returns: false when it takes too long; without an agent there is nothing to wait for.
    static func overlayIsDown(_ runtime: String) -> Bool {
        let deadline = ContinuousClock.now + .seconds(10)
        var version: String?
        while AgentStatus.isRunning(runtimeDirectory: runtime) {
            let left = ContinuousClock.now.duration(to: deadline)
            let found = try? AgentStatus.ask(runtimeDirectory: runtime, after: version, wait: left)
            if let found, found.status.state == .unconfigured, found.status.network == nil { return true }
            guard ContinuousClock.now < deadline else { return false }
            // One that is just starting, or ending, does not answer.
            if found == nil || left < .seconds(1) { sleepThread(for: .milliseconds(20)) }
            version = found?.version
        }
        return true
    }

    /// How much of a join or an init could be taken back.
    enum Undo {
        case done
        /// The others still have this node as a member.
        case doneHere
        case failed(String)

        /// The end of a sentence about what failed.
        var text: String {
            switch self {
            case .done: "it was taken back"
            case .doneHere: "it was taken back on this node only"
            case .failed(let why): "taking it back failed too (\(why)); run 'fanmesh leave --force'"
            }
        }
    }

    /// Takes back what `init` or `join` did; the agent may still be taking the overlay down then.
    ///
    /// With `asksCluster` it tries to leave in order first, so that the others forget this node too.
    static func undo(_ cluster: any ClusterAdministration, asksCluster: Bool) -> Undo {
        if asksCluster, (try? cluster.leave(byForce: false)) != nil { return .done }
        do {
            _ = try cluster.leave(byForce: true)
            return asksCluster ? .doneHere : .done
        } catch { return .failed("\(error)") }
    }
}
