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

/// The end of who dialled: another node, whose messages are judged as a server does it, or a client.
private final class CallerEnd: PumpEnd {
    private let socket: SocketEnd
    private let node: DatabaseNode
    private let state = Mutex(State())

    private struct State {
        /// Nil for a client.
        var stream: PeerStream? = PeerStream()
        /// What came before it was known which of them it is.
        var opening: [UInt8] = []
        var passed: ArraySlice<UInt8> = []
    }

    init(_ socket: SocketEnd, _ node: DatabaseNode) {
        self.socket = socket
        self.node = node
    }

    var descriptor: Int32 { socket.descriptor }
    var hasBuffered: Bool { state.withLock { !$0.passed.isEmpty } || socket.hasBuffered }
    var hasUnsent: Bool { socket.hasUnsent }

    func receive(into buffer: inout [UInt8]) -> PumpResult {
        state.withLock { state in
            while state.passed.isEmpty {
                let result = socket.receive(into: &buffer)
                guard case .moved(let count) = result, var peer = state.stream else { return result }
                let bytes = buffer[..<count]
                let wasConnected = peer.isConnected
                if !wasConnected { state.opening += bytes }
                do throws(PeerStream.Refusal) {
                    let gate = node.installGate
                    let passed = try peer.inspect(bytes) { message throws(PeerStream.Refusal) in
                        if case .raft(let kind, _) = message { try gate.admit(kind) }
                        return nil
                    }
                    state.passed = passed[...]
                    if let candidacy = peer.takeCandidacy() { node.vote(for: candidacy) }
                    state.stream = peer
                } catch {
                    // What does not begin as a peer's is a client's.
                    guard !wasConnected, !peer.isConnected else { return .failed }
                    state.stream = nil
                    state.passed = state.opening[...]
                }
            }
            let given = state.passed.prefix(buffer.count)
            buffer.replaceSubrange(..<given.count, with: given)
            state.passed = state.passed.dropFirst(given.count)
            return .moved(given.count)
        }
    }

    func send(_ buffer: [UInt8], _ range: Range<Int>) -> PumpResult { socket.send(buffer, range) }
    func flush() -> PumpResult { socket.flush() }
    func finish() { socket.finish() }
    func close() { socket.close() }
}

private func join(_ a: any PumpEnd, _ b: Int32) {
    let copy = fcntl(a.descriptor, F_DUPFD_CLOEXEC, 3)
    let key = connections.withLock { connections in
        connections.next += 1
        connections.open[connections.next] = copy
        return connections.next
    }
    for number in [a.descriptor, b] { _ = fan_set_nonblocking(number) }
    pump(a, SocketEnd(adopting: b), endsWhole: true) {
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
            join(SocketEnd(adopting: far), ends[1])
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
        join(CallerEnd(SocketEnd(adopting: near), node), own)
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
