internal import FanSystem
internal import Synchronization

/// The database connections that other members opened, by the certificate they came with.
final class Tunnels: Sendable {
    private let open = Mutex<[(fingerprint: String, handle: PumpHandle)]>([])

    /// Joins a peer's connection with the database's own.
    func add(_ fingerprint: String, _ handle: PumpHandle) {
        open.withLock { open in
            open.removeAll { $0.handle.isClosed }
            open.append((fingerprint, handle))
        }
    }

    /// Cuts the connections whose certificate is meant.
    func close(where isMeant: (String) -> Bool) {
        let meant = open.withLock { open in
            let meant = open.filter { isMeant($0.fingerprint) }
            open.removeAll { isMeant($0.fingerprint) }
            return meant
        }
        for tunnel in meant { tunnel.handle.close() }
    }

    /// Cuts all connections.
    func closeAll() {
        close { _ in true }
    }
}
