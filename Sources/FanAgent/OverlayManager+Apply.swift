internal import FanCore
internal import FanSystem

extension OverlayManager {
    /// Takes the planned steps and verifies the result; takes everything back when something fails.
    func carryOut(_ outcome: UpOutcome) throws {
        let spec = outcome.spec
        let before = try state.network(spec.name)
        guard !outcome.changes.isEmpty || before != spec else { return }

        if outcome.identityIsNew { try state.save(identity: outcome.identity) }
        try state.save(spec)
        var done: [Change] = []
        do {
            for change in outcome.changes {
                do { try kernel.apply(change) } catch {
                    throw StepFailure(step: change.description, cause: error)
                }
                done.append(change)
            }
            let missing = outcome.changes.isEmpty ? [] : try verify(outcome)
            guard missing.isEmpty else { throw StepFailure(step: nil, missing: missing) }
        } catch {
            var left = takeBack(done)
            do {
                if let before { try state.save(before) } else { try state.remove(network: spec.name) }
                if outcome.identityIsNew, left.isEmpty { try state.removeIdentity() }
            } catch { left.append("\(error)") }
            throw overlayError(error, left: left)
        }
    }

    /// Reads back what the kernel has and plans again: what is left to do did not last.
    private func verify(_ outcome: UpOutcome) throws -> [Change] {
        do {
            let facts = try kernel.hostFacts()
            let observed = try kernel.observe(network: outcome.spec.name, facts: facts)
            return try DesiredState(outcome.spec, nodeIdentity: outcome.identity).plan(from: observed)
        } catch { throw StepFailure(step: "verify \(outcome.spec.name)", cause: error) }
    }

    /// Undoes steps in reverse; says what could not be undone.
    private func takeBack(_ done: [Change]) -> [String] {
        var left: [String] = []
        // A device that this run created goes as a whole; its other steps need no undoing.
        let created = Set(
            done.compactMap { change -> String? in
                switch change {
                case .addBridge(let name, _, _), .addVXLAN(let name, _, _, _, _): name
                default: nil
                }
            }
        )
        for change in done.reversed() {
            let isCreation =
                switch change {
                case .addBridge, .addVXLAN, .deleteVXLAN: true
                default: false
                }
            guard isCreation || !created.contains(change.object) else { continue }
            for step in change.undo {
                do { try kernel.apply(step) } catch { left.append("\(step): \(error)") }
            }
        }
        return left
    }

    private func overlayError(_ error: any Error, left: [String]) -> OverlayError {
        guard let failure = error as? StepFailure else {
            return .failed(step: "bring the overlay up", cause: error, left: left)
        }
        guard let step = failure.step, let cause = failure.cause else {
            return .unverified(failure.missing, left: left)
        }
        return .failed(step: step, cause: cause, left: left)
    }
}

private struct StepFailure: Error {
    var step: String?
    var cause: (any Error)?
    var missing: [Change] = []
}
