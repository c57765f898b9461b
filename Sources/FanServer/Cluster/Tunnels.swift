internal import FanDatabase
internal import FanSystem
internal import Glibc

/// The database connections that other members opened, by the certificate they came with.
final class Tunnels: Sendable {
    /// How long a peer may take to say that it is a database node.
    static let openingTime: Duration = .seconds(5)
    /// How many connections a member may have: it needs one, and a second while the first is not yet found broken.
    static let connectionsEach = 4

    private struct Tunnel {
        var fingerprint: String
        /// A second descriptor of the database's end: the first is the pump's, and may be gone at any time.
        var socket: Int32
        var peer: PeerEnd
        var opened = ContinuousClock.now
    }

    private struct State {
        var open: [UInt64: Tunnel] = [:]
        var next: UInt64 = 0
    }

    private let state = Lock(State())

    /// Joins a peer's connection with the database's own; takes both over.
    ///
    /// - Parameters:
    ///   - peer: the peer's connection.
    ///   - own: the database's.
    ///   - fingerprint: the certificate that the peer came with.
    ///   - judge: asked about every message of the peer before the database gets it.
    ///   - asked: told that the peer asks for a vote.
    ///   - refused: told why the connection was cut.
    func join(
        _ peer: Int32,
        _ own: Int32,
        of fingerprint: String,
        judge: @escaping PeerEnd.Judge,
        asked: @escaping @Sendable (PeerStream.Candidacy) -> Void,
        refused: @escaping @Sendable (PeerStream.Refusal) -> Void
    ) {
        let socket = fcntl(own, F_DUPFD_CLOEXEC, 0)
        let end = PeerEnd(SocketEnd(adopting: peer), judge: judge, asked: asked, refused: refused)
        let number = state.withLock { state in
            state.next += 1
            if socket >= 0 {
                let others = state.open.filter { $0.value.fingerprint == fingerprint }
                for (_, tunnel) in others.sorted(by: { $0.key > $1.key }).dropFirst(Self.connectionsEach - 1) {
                    shutdown(tunnel.socket, CInt(SHUT_RDWR))
                }
                state.open[state.next] = Tunnel(fingerprint: fingerprint, socket: socket, peer: end)
            }
            return state.next
        }
        pump(end, SocketEnd(adopting: own), endsWhole: true) { [self] in
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

    /// Cuts the connections on which nobody has said in time which database node it is.
    func expire(at now: ContinuousClock.Instant) {
        state.withLock { state in
            for tunnel in state.open.values
            where tunnel.opened + Self.openingTime < now && !tunnel.peer.isConnected {
                shutdown(tunnel.socket, CInt(SHUT_RDWR))
            }
        }
    }
}
