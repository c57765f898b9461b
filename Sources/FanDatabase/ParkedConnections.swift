internal import CLinux
internal import FanSystem
internal import Glibc

/// Connections whose change of the cluster is still under way when nobody waits for it any more.
///
/// The node writes to the connection's memory when the change is done, even when the connection was closed in the
/// meantime (it would crash then). So they stay open until the answer, or the end, is there.
enum ParkedConnections {
    private static let parked = Lock<[Int32]>([])

    /// Keeps a connection until its answer is there, and closes those whose answer has come.
    static func park(_ number: Int32) {
        parked.withLock { numbers in
            numbers.append(number)
            numbers.removeAll { number in
                guard fan_poll_one(number, Int32(POLLIN), 0) != 0 else { return false }
                close(number)
                return true
            }
        }
    }

    /// How many wait.
    static var count: Int { parked.withLock { $0.count } }
}
