// One database node in a process of its own, so that a test can kill or stop it, and outlives an abort of the library.
//
//     database-node ID DIRECTORY CHANGES TRAILING LATENCY-MS first|again
//
// Node N listens on DIRECTORY/N.sock, for the other nodes and for clients, and keeps its files in DIRECTORY/N. SIGUSR1
// cuts all its connections for 700 ms, SIGTERM stops it.
import CLinux
import FanDatabase
import FanSystem
import Glibc
import Synchronization

/// The connections that there are, each as a descriptor of our own, so that a cut never meets another's.
private let connections = Mutex<(next: Int, open: [Int: Int32])>((0, [:]))
private let cutUntil = Mutex(ContinuousClock.now)
private let isCutWanted = Atomic(false)
private let isOver = Atomic(false)

private var isCut: Bool { cutUntil.withLock { ContinuousClock.now < $0 } }

private func join(_ a: Int32, _ b: Int32) {
    let copy = fcntl(a, F_DUPFD_CLOEXEC, 3)
    let key = connections.withLock { connections in
        connections.next += 1
        connections.open[connections.next] = copy
        return connections.next
    }
    for number in [a, b] { _ = fan_set_nonblocking(number) }
    pump(SocketEnd(adopting: a), SocketEnd(adopting: b)) {
        if let copy = connections.withLock({ $0.open.removeValue(forKey: key) }) { close(copy) }
    }
}

private func say(_ text: String) {
    _ = unsafe text.withCString { unsafe write(2, $0, strlen($0)) }
}

private func run() throws {
    signal(SIGUSR1) { _ in isCutWanted.store(true, ordering: .relaxed) }
    signal(SIGTERM) { _ in isOver.store(true, ordering: .relaxed) }
    let words = CommandLine.arguments
    guard words.count == 7, let id = UInt64(words[1]), let changes = Int(words[3]), let trailing = Int(words[4]),
        let latency = Int(words[5])
    else {
        say("usage: database-node ID DIRECTORY CHANGES TRAILING LATENCY-MS first|again\n")
        exit(2)
    }
    let root = words[2]
    let node = try DatabaseNode(
        id: id,
        address: "10.0.0.\(id):8473",
        directory: "\(root)/\(id)",
        mayBeEmpty: words[6] == "first",
        latencyMilliseconds: latency,
        log: LogLength(changes: changes, trailing: trailing),
        connect: { address in
            guard !isCut, let other = address.split(separator: ":").first?.split(separator: ".").last else { return -1 }
            let far = unsafe fan_unix_connect("\(root)/\(other).sock")
            var ends: [Int32] = [-1, -1]
            guard far >= 0, unsafe fan_socket_pair(&ends) >= 0 else { return -1 }
            join(far, ends[1])
            return ends[0]
        }
    )
    try node.start()
    let listener = unsafe fan_unix_listen("\(root)/\(id).sock", 0o600, -1, 64)
    guard listener >= 0 else { exit(1) }
    let parent = getppid()
    while !isOver.load(ordering: .relaxed), getppid() == parent {
        if isCutWanted.exchange(false, ordering: .relaxed) {
            cutUntil.withLock { $0 = .now + .milliseconds(700) }
            connections.withLock { for copy in $0.open.values { fan_end(copy) } }
        }
        guard fan_poll_one(listener, Int32(POLLIN), 50) != 0 else { continue }
        let near = fan_accept(listener)
        guard near >= 0 else { continue }
        guard !isCut, let own = try? node.connectLocally() else {
            close(near)
            continue
        }
        join(near, own)
    }
    node.stop()
}

@main enum DatabaseNodeProcess {
    static func main() {
        do { try run() } catch {
            say("\(error)\n")
            exit(1)
        }
    }
}
