internal import FanCore
internal import FanSystem

extension OverlayManager {
    /// Takes the planned steps and verifies the result; takes everything back when something fails.
    func carryOut(_ outcome: inout UpOutcome) throws {
        let spec = outcome.spec
        let before = try state.network(spec.name)
        let former = try state.formerNetwork(spec.name)
        guard !outcome.changes.isEmpty || before != spec || former != nil else { return }

        var done: [Change] = []
        do {
            if outcome.nodeIDIsNew {
                try step("keep this node's id") { try state.save(nodeID: outcome.nodeID) }
            }
            try step("keep the record of \(spec.name)") {
                // An earlier interrupted run's note is older, and what it names may still be there.
                if let before, before != spec, former == nil { try state.saveFormer(before) }
                try state.save(spec)
            }
            for change in outcome.changes {
                if case .returnPort = change {
                    // A guest that cannot be put back must not take the overlay from all others.
                    do { try kernel.apply(change) } catch { outcome.lostPorts.append("\(change): \(error)") }
                    continue
                }
                try step(change.description, change) { try kernel.apply(change) }
                done.append(change)
            }
            let missing = outcome.changes.isEmpty ? [] : try verify(&outcome)
            guard missing.isEmpty else { throw StepFailure(step: nil, missing: missing) }
            try step("forget what \(spec.name) was before") { try state.removeFormer(spec.name) }
        } catch {
            var left: [String] = []
            if let failed = (error as? StepFailure)?.change { left += takeBack(failed: failed) }
            left += takeBack(done)
            do {
                if let before { try state.save(before) } else { try state.remove(network: spec.name) }
                if former == nil { try state.removeFormer(spec.name) }
                if outcome.nodeIDIsNew, left.isEmpty { try state.removeNodeID() }
            } catch { left.append("\(error)") }
            throw overlayError(error, left: left)
        }
    }

    private func step(_ text: String, _ change: Change? = nil, _ body: () throws -> Void) throws {
        do { try body() } catch { throw StepFailure(step: text, change: change, cause: error) }
    }

    /// Reads back what the kernel has and plans again: what is left to do did not last.
    private func verify(_ outcome: inout UpOutcome) throws -> [Change] {
        do {
            let facts = try kernel.hostFacts()
            let observed = try kernel.observe(network: outcome.spec.name, facts: facts)
            outcome.sight = KernelSight(facts: facts, observed: observed)
            return try DesiredState(outcome.spec, nodeID: outcome.nodeID).plan(from: observed)
        } catch { throw StepFailure(step: "verify \(outcome.spec.name)", cause: error) }
    }

    /// Undoes what a failed step may have done all the same: the kernel's answer can be lost after it acted.
    private func takeBack(failed change: Change) -> [String] {
        switch change {
        case .addBridge(let name, let mac, _), .addVXLAN(let name, let mac, _, _, _):
            do {
                // Only a device with the address from our message came from it.
                guard try kernel.hostFacts().link(named: name)?.mac == mac else { return [] }
                for step in change.undo { try kernel.apply(step) }
                return []
            } catch { return ["\(change.undo.map(\.description).joined(separator: "; ")): \(error)"] }
        default:
            // Most often there is nothing to undo, and that is what the error then says.
            for step in change.undo { try? kernel.apply(step) }
            return []
        }
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
    var change: Change?
    var cause: (any Error)?
    var missing: [Change] = []
}
