internal import CLinux
internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import Glibc
internal import Synchronization

/// Accepts the connections of one listening socket, holds the TLS handshakes, and keeps the time of all connections.
///
/// A connection goes on to the HTTP server only once its handshake is done.
final class Acceptor: Sendable {
    private let listener: Int32
    private let identity: @Sendable () -> Identity
    private let limits: HTTPLimits
    private let members: HTTPMembers?
    private let log: @Sendable (HTTPServerEvent) -> Void
    private let epoll: Int32
    private let wake: Int32
    private let connections = Lock(ConnectionTable())
    private let stopping = Atomic(false)
    private let isClosed = Atomic(false)
    private let stopped = Monitor(false)

    init(
        listener: Int32,
        identity: @escaping @Sendable () -> Identity,
        limits: HTTPLimits,
        members: HTTPMembers?,
        log: @escaping @Sendable (HTTPServerEvent) -> Void
    ) throws(TLSError) {
        let copy = fcntl(listener, F_DUPFD_CLOEXEC, 3)
        guard copy >= 0 else { throw TLSError(operation: "serve a socket", cause: errnoText(errno)) }
        let epoll = fan_epoll_create()
        let wake = fan_event_create()
        var result = min(epoll, wake)
        if result >= 0 { result = fan_epoll_control(epoll, EPOLL_CTL_ADD, wake, EPOLLIN.rawValue, 0) }
        if result >= 0 { result = fan_epoll_control(epoll, EPOLL_CTL_ADD, copy, EPOLLIN.rawValue, 1) }
        guard result >= 0 else {
            for descriptor in [copy, epoll, wake] where descriptor >= 0 { close(descriptor) }
            throw TLSError(operation: "serve a socket", cause: errnoText(-result))
        }
        self.listener = copy
        self.identity = identity
        self.limits = limits
        self.members = members
        self.log = log
        self.epoll = epoll
        self.wake = wake
    }

    deinit {
        for descriptor in [epoll, wake] { close(descriptor) }
        closeListener()
    }

    /// Frees the port; connections keep this object for longer.
    private func closeListener() {
        if !isClosed.exchange(true, ordering: .acquiringAndReleasing) { close(listener) }
    }

    /// Begins to accept.
    func start(_ target: ServerCore) throws(TLSError) {
        let started = startThread("accept", stackBytes: 512 << 10) { [self] in
            var work = Work()
            while !stopping.load(ordering: .acquiring) { turn(&work, target) }
            closeListener()
            stopped.withLock { $0 = true }
        }
        guard started else { throw TLSError(operation: "serve a socket", cause: "no room for a thread") }
    }

    /// Ends accepting, and handshakes under way; returns when the thread has let go of everything and the port is free.
    func stop() {
        stopping.store(true, ordering: .releasing)
        _ = fan_event_signal(wake)
        _ = stopped.wait { $0 ? true : nil }
    }

    // MARK: The thread

    private struct Handshake {
        let channel: TLSChannel
        let admitted: AdmittedConnection
        let deadline: UInt64
        var hasBegun = false
        var mask = EPOLLIN.rawValue
    }

    private struct Work {
        var handshakes: [UInt64: Handshake] = [:]
        var next: UInt64 = 2
        var nextSweep: UInt64 = 0
        var ready = Array(repeating: fan_ready(), count: Int(FAN_BATCH))
    }

    /// A quarter of the shortest time that is kept, at most a quarter of a second.
    private var sweepMilliseconds: Int32 {
        let shortest = min(limits.handshakeTimeout, limits.idleTimeout, limits.requestTimeout)
        return max(20, Int32(min(250, shortest / .milliseconds(1) / 4)))
    }

    private func turn(_ work: inout Work, _ target: ServerCore) {
        // Without connections there is no time to keep.
        let isIdle = connections.withLock { $0.count == 0 }
        let wait = isIdle ? -1 : sweepMilliseconds
        let count = unsafe work.ready.withUnsafeMutableBufferPointer { buffer in
            unsafe fan_epoll_wait(epoll, buffer.baseAddress, UInt32(buffer.count), wait)
        }
        for event in work.ready.prefix(max(0, Int(count))) {
            switch event.token {
            case 0: _ = fan_event_drain(wake)
            case 1: accept(&work, target)
            default: advance(event.token, &work, target)
            }
        }
        let now = fan_monotonic_nanoseconds()
        guard now >= work.nextSweep else { return }
        work.nextSweep = now + UInt64(sweepMilliseconds) * 1_000_000
        for (key, handshake) in work.handshakes where handshake.deadline <= now {
            fail(key, "no complete handshake within \(limits.handshakeTimeout)", &work)
        }
        target.sweep()
    }

    private func accept(_ work: inout Work, _ target: ServerCore) {
        for _ in 0..<64 {
            var address: UInt32 = 0
            var port: UInt16 = 0
            let socket = unsafe fan_accept_from(listener, &address, &port)
            guard socket >= 0 else {
                if [-EAGAIN, -ECONNABORTED].contains(socket) { return }
                // Out of descriptors or memory, although the quotas are smaller than the limit: an unknown peer makes way,
                // or the queue waits a little, since epoll would not.
                log(HTTPServerEvent(kind: .refused, source: "anyone", cause: errnoText(-socket)))
                if let oldest = connections.withLock({ $0.shed() }) {
                    end(oldest, "the process can open no more descriptors", &work)
                } else {
                    sleepThread(for: .milliseconds(20))
                }
                return
            }
            let number = work.next
            work.next += 1
            let admitted = AdmittedConnection(address: address, number: number)
            let isExpected = members?.hasAddress(IPv4Address(rawValue: address)) ?? false
            guard admit(admitted, as: isExpected ? .expected(address) : .unknownPeer(address), &work) else {
                close(socket)
                continue
            }
            begin(socket, admitted, &work, target)
        }
    }

    private var quota: ConnectionQuota {
        ConnectionQuota(descriptors: HTTPLimits.descriptors, limits: limits, hasMembers: members != nil)
    }

    /// Lets a connection in, or counts it for another owner; whoever has to go is ended.
    private func admit(_ admitted: AdmittedConnection, as owner: AdmittedConnection.Owner, _ work: inout Work) -> Bool {
        let quota = quota
        switch connections.withLock({ $0.admit(admitted, as: owner, quota) }) {
        case .admitted: return true
        case .instead(let other, let cause):
            end(other, cause, &work)
            return true
        case .refused(let cause):
            log(HTTPServerEvent(kind: .refused, source: source(admitted.address), cause: cause))
            return false
        }
    }

    private func leave(_ admitted: AdmittedConnection) {
        admitted.set(closer: nil)
        connections.withLock { $0.leave(admitted) }
    }

    /// Ends a connection for the sake of another one.
    private func end(_ admitted: AdmittedConnection, _ cause: String, _ work: inout Work) {
        if let handshake = work.handshakes.removeValue(forKey: admitted.number) {
            _ = fan_epoll_control(epoll, EPOLL_CTL_DEL, handshake.channel.descriptor, 0, 0)
        }
        admitted.end()
        log(HTTPServerEvent(kind: .displaced, source: source(admitted.address), cause: cause))
    }

    private func source(_ address: UInt32) -> String {
        IPv4Address(rawValue: address).description
    }

    private func begin(
        _ socket: Int32,
        _ admitted: AdmittedConnection,
        _ work: inout Work,
        _ target: ServerCore
    ) {
        let descriptor = Descriptor(adopting: socket)
        _ = fan_tune_tcp(socket)
        do throws(TLSError) {
            let channel = try TLSChannel(descriptor: descriptor, identity: identity(), trusting: nil)
            let key = admitted.number
            let deadline = fan_monotonic_nanoseconds() + limits.handshakeTimeout.nanoseconds
            let result = fan_epoll_control(epoll, EPOLL_CTL_ADD, socket, EPOLLIN.rawValue, key)
            guard result >= 0 else { throw TLSError(operation: "wait for a handshake", cause: errnoText(-result)) }
            work.handshakes[key] = Handshake(channel: channel, admitted: admitted, deadline: deadline)
        } catch {
            leave(admitted)
            log(HTTPServerEvent(kind: .handshakeFailed, source: source(admitted.address), cause: error.cause))
        }
    }

    private func advance(_ key: UInt64, _ work: inout Work, _ target: ServerCore) {
        guard var handshake = work.handshakes[key] else { return }
        let socket = handshake.channel.descriptor
        if !handshake.hasBegun {
            var first: UInt8 = 0
            let count = unsafe fan_stream_peek(socket, &first, 1)
            if count == 0 { return fail(key, "the connection was closed before a handshake", &work) }
            // A TLS connection begins with a handshake record.
            if count == 1, first != 0x16 { return fail(key, "no TLS was spoken", &work) }
            handshake.hasBegun = true
        }
        switch handshake.channel.handshake() {
        case .wait(let events):
            let mask = events == POLLOUT ? EPOLLOUT.rawValue : EPOLLIN.rawValue
            if mask != handshake.mask { _ = fan_epoll_control(epoll, EPOLL_CTL_MOD, socket, mask, key) }
            handshake.mask = mask
            work.handshakes[key] = handshake
        case .failed(let cause):
            fail(key, cause, &work)
        case .done:
            guard let fingerprint = handshake.channel.peerFingerprint() else {
                return fail(key, "not exactly one client certificate was shown", &work)
            }
            _ = fan_epoll_control(epoll, EPOLL_CTL_DEL, socket, 0, 0)
            work.handshakes[key] = nil
            let admitted = handshake.admitted
            let isMember = members?.hasFingerprint(fingerprint) ?? false
            // An unknown peer at a member's address has no more right than any other one.
            guard admit(admitted, as: isMember ? .member(fingerprint) : .unknownPeer(admitted.address), &work) else {
                return
            }
            var ends: [Int32] = [-1, -1]
            let result = unsafe fan_socket_pair(&ends)
            guard result >= 0 else {
                leave(admitted)
                let cause = errnoText(-result)
                return log(HTTPServerEvent(kind: .refused, source: source(admitted.address), cause: cause))
            }
            let channel = handshake.channel
            // The channel keeps its descriptor open as long as somebody may end it.
            admitted.set(closer: { channel.close() })
            pump(channel, SocketEnd(adopting: ends[1])) { [self] in leave(admitted) }
            let peer = HTTPPeer.remote(address: source(admitted.address), fingerprint: fingerprint)
            target.adopt(ends[0], peer, admitted)
        }
    }

    private func fail(_ key: UInt64, _ cause: String, _ work: inout Work) {
        guard let handshake = work.handshakes.removeValue(forKey: key) else { return }
        _ = fan_epoll_control(epoll, EPOLL_CTL_DEL, handshake.channel.descriptor, 0, 0)
        leave(handshake.admitted)
        log(HTTPServerEvent(kind: .handshakeFailed, source: source(handshake.admitted.address), cause: cause))
    }
}
