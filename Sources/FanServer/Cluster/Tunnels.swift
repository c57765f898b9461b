internal import FanSystem
internal import Glibc
internal import Synchronization

/// The database connections that other members opened, by the certificate they came with.
final class Tunnels: Sendable {
    private struct Tunnel {
        var fingerprint: String
        /// A second descriptor of the database's end: the first is the pump's, and may be gone at any time.
        var socket: Int32
    }

    private struct State {
        var open: [UInt64: Tunnel] = [:]
        var next: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Joins a peer's connection with the database's own; takes both over.
    func join(_ peer: Int32, _ own: Int32, of fingerprint: String) {
        let socket = fcntl(own, F_DUPFD_CLOEXEC, 0)
        let number = state.withLock { state in
            state.next += 1
            if socket >= 0 { state.open[state.next] = Tunnel(fingerprint: fingerprint, socket: socket) }
            return state.next
        }
        pump(SocketEnd(adopting: peer), SocketEnd(adopting: own)) { [self] in
            if let tunnel = state.withLock({ $0.open.removeValue(forKey: number) }) { close(tunnel.socket) }
        }
    }

    /// Cuts the connections whose certificate is meant; the pump then closes them.
    func cut(where isMeant: (String) -> Bool) {
        state.withLock { state in
            for tunnel in state.open.values where isMeant(tunnel.fingerprint) {
                shutdown(tunnel.socket, CInt(SHUT_RDWR))
            }
        }
    }
}
