internal import FanSystem

/// Keeps a leader from sending its whole database to a node that may be taking a snapshot of its own.
///
/// libraft 0.22.1 crashes when both meet: the callback of its own snapshot clears the pending request, and then reads
/// it. A node takes a snapshot when entries come, so the first attempt is cut off with its connection, whereupon no
/// entry comes either. The leader dials again after a second, and by then the own snapshot is over.
public final class InstallGate: Sendable {
    /// How long nothing came before all may be sent: longer than a snapshot takes, shorter than the leader waits.
    static let pause: Duration = .milliseconds(900)
    /// After which time an attempt counts as a first one again.
    static let memory: Duration = .seconds(30)

    private let refused = Lock<ContinuousClock.Instant?>(nil)

    /// Whether a leader may send all now.
    func mayInstall(at now: ContinuousClock.Instant) -> Bool {
        refused.withLock { refused in
            if let first = refused, first.duration(to: now) < Self.memory {
                guard first.duration(to: now) >= Self.pause else { return false }
                refused = nil
                return true
            }
            refused = now
            return false
        }
    }

    /// Lets a message through unless it has to wait.
    ///
    /// - Throws: ``PeerStream/Refusal``, one that passes.
    public func admit(_ kind: RaftMessage) throws(PeerStream.Refusal) {
        guard kind == .installSnapshot, !mayInstall(at: .now) else { return }
        throw PeerStream.Refusal("all of the database was sent while a snapshot may be under way", isPassing: true)
    }
}
