internal import CLinux
public import FanCore
public import FanSystem
internal import Glibc

private let backlog: Int32 = 4096

/// Listens on a local socket; a socket file that nobody listens on is replaced.
///
/// Idempotent: no, a socket that somebody listens on is refused.
/// Undo: close the descriptor and remove the file.
///
/// - Parameters:
///   - path: the socket.
///   - mode: its permissions.
///   - group: the name of the group that it belongs to, nil to leave it with the process's own.
/// - Returns: the listening socket, non-blocking and close-on-exec.
/// - Throws: ``HTTPError``.
public func listenUnix(path: String, mode: UInt32, group: String?) throws(HTTPError) -> Descriptor {
    var id: Int64 = -1
    if let group {
        id = unsafe fan_group_id(group)
        guard id >= 0 else {
            throw HTTPError(.listen("there is no group '\(group)': create it with 'groupadd --system'"), peer: path)
        }
    }
    let result = unsafe fan_unix_listen(path, mode, id, backlog)
    guard result >= 0 else {
        let advice = result == -EADDRINUSE ? "; another server listens there: stop it first" : ""
        throw HTTPError(.listen(errnoText(-result) + advice), peer: path)
    }
    return Descriptor(adopting: result)
}

/// Takes over a local socket on which a service manager listens.
///
/// - Parameter number: the descriptor.
/// - Returns: the socket, non-blocking and close-on-exec.
/// - Throws: ``HTTPError`` for a descriptor that is no listening local socket.
public func adoptListener(_ number: Int32) throws(HTTPError) -> Descriptor {
    let result = fan_adopt_listener(number)
    guard result >= 0 else {
        throw HTTPError(
            .listen("what the service manager passed on is no listening local socket: \(errnoText(-result))"),
            peer: "descriptor \(number)"
        )
    }
    return Descriptor(adopting: number)
}

/// Listens on a TCP port of one address.
///
/// - Parameter address: where; port 0 is any free one.
/// - Returns: the listening socket, non-blocking and close-on-exec.
/// - Throws: ``HTTPError``.
public func listenTCP(_ address: SocketAddress) throws(HTTPError) -> Descriptor {
    let socket = fan_tcp_socket()
    guard socket >= 0 else { throw HTTPError(.listen(errnoText(-socket)), peer: "\(address)") }
    let descriptor = Descriptor(adopting: socket)
    var result = fan_set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1)
    if result >= 0 { result = fan_bind(socket, address.address.rawValue, address.port) }
    if result >= 0 { result = fan_listen(socket, backlog) }
    guard result >= 0 else {
        let advice =
            switch -result {
            case EADDRINUSE: "; another program uses this port: stop it or choose another port"
            case EADDRNOTAVAIL: "; this host does not have this address"
            default: ""
            }
        throw HTTPError(.listen(errnoText(-result) + advice), peer: "\(address)")
    }
    return descriptor
}
