internal import FanCore
internal import FanStore
internal import FanSystem

/// Waits until this node's agent has brought the cluster's overlay up, verified it, and reported it.
struct OverlayWait {
    /// This node's cluster.
    let cluster: any ClusterAdministration
    /// How long it may take.
    let timeout: Duration

    /// What was waited for.
    struct Outcome {
        var snapshot: ClusterSnapshot
        var status: MemberStatus
    }

    /// Waits.
    ///
    /// - Throws: what stood in the way when the time is up, or as soon as it is clear that it will not come.
    func run() throws(CommandFailure) -> Outcome {
        let end = ContinuousClock.now + timeout
        var pause = Duration.milliseconds(5)
        var reason = "the agent has not reported"
        while true {
            do throws(StoreError) {
                let snapshot = try cluster.node()
                if snapshot.state == .unconfigured || snapshot.state == .failed {
                    reason = "this node's server gave up"
                    if !snapshot.message.isEmpty { reason += ": \(snapshot.message)" }
                    break
                }
                let status = try cluster.member(snapshot.name ?? "", orLastKnown: false).status
                guard let problem = Self.problem(snapshot, status) else {
                    return Outcome(snapshot: snapshot, status: status)
                }
                reason = problem
            } catch {
                reason = "\(error)"
                if case .notRunning = error.reason { break }
            }
            guard ContinuousClock.now < end else { break }
            sleepThread(for: pause)
            pause = min(pause * 2, .milliseconds(200))
        }
        throw CommandFailure("the overlay did not come up: \(reason)")
    }

    /// What is still missing; nil when the overlay is the cluster's, verified and reported.
    static func problem(_ snapshot: ClusterSnapshot, _ status: MemberStatus) -> String? {
        guard let report = status.report else { return "the agent has not reported" }
        if report.verdict == .error {
            let warnings = report.warnings.filter { $0.severity == .error }.map { "\($0.message) (fix: \($0.remedy))" }
            return warnings.isEmpty ? "the agent reports an error" : warnings.joined(separator: "; ")
        }
        guard
            let config = snapshot.config, report.settings == config.overlay.settings,
            report.underlayAddress == status.member.underlayAddress
        else { return "the agent still has another overlay" }
        return snapshot.state == .member ? nil : "the server has not taken the agent's report over"
    }
}
