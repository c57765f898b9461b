internal import CLinux
internal import FanSystem
internal import Glibc
internal import FanCore

/// The bytes that TCP probes send: a function of the probe's token and the position, so no two probes send the same.
struct StreamPattern {
    static let chunkBytes = 16 << 10

    let token: UInt64

    subscript(position: Int) -> UInt8 {
        let word = (token &+ UInt64(position >> 3)) &* 0x9e37_79b9_7f4a_7c15
        return UInt8(truncatingIfNeeded: word >> UInt64((position & 7) * 8))
    }
}

extension ProbeLoop {
    /// Starts a TCP probe if a socket is free, else lets it wait for one.
    mutating func admitStream(_ job: Int) {
        let source = jobs[job].source
        if sources[source].source.streams.isEmpty {
            jobs[job].outcome = .tcp(.failed(.connect(SystemError(errno: EMFILE))))
            unfinished -= 1
        } else if let slot = sources[source].idleStreams.popLast() {
            jobs[job].stream = slot
            start(job)
        } else {
            sources[source].waiting.append(job)
        }
    }

    private func descriptor(_ job: Int) -> Int32? {
        guard let slot = jobs[job].stream else { return nil }
        return sources[jobs[job].source].source.streams[slot].descriptor.number
    }

    mutating func connect(_ job: Int, port: UInt16) -> ProbeEvent? {
        guard let socket = descriptor(job) else { return .streamFailed(SystemError(errno: EBADF)) }
        jobs[job].isConnecting = true
        let result = fan_connect(socket, jobs[job].destination.rawValue, port)
        guard result == 0 || result == -EINPROGRESS else { return .streamFailed(SystemError(errno: -result)) }
        let token = LoopToken.stream(job: job).rawValue
        let added = fan_epoll_control(epoll.number, EPOLL_CTL_ADD, socket, EPOLLOUT.rawValue, token)
        return added < 0 ? .streamFailed(SystemError(errno: -added)) : nil
    }

    mutating func watch(_ job: Int, write: Bool) {
        guard let socket = descriptor(job) else { return }
        let events = EPOLLIN.rawValue | (write ? EPOLLOUT.rawValue : 0)
        // The socket was added when connecting; this only changes what to wait for.
        _ = fan_epoll_control(epoll.number, EPOLL_CTL_MOD, socket, events, LoopToken.stream(job: job).rawValue)
    }

    mutating func streamReady(_ job: Int, events: UInt32) {
        guard jobs[job].isActive, let socket = descriptor(job) else { return }
        if jobs[job].isConnecting {
            let error = fan_take_error(socket)
            if error < 0 { return deliver(.streamFailed(SystemError(errno: -error)), to: job) }
            guard events & EPOLLOUT.rawValue != 0 else { return }
            jobs[job].isConnecting = false
            return deliver(.connected, to: job)
        }
        let broken = events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        // Reading tells what a broken stream broke of.
        if broken || events & EPOLLIN.rawValue != 0 { deliver(.ready(read: true, write: false), to: job) }
        if events & EPOLLOUT.rawValue != 0 { deliver(.ready(read: false, write: true), to: job) }
    }

    mutating func write(_ job: Int, from position: Int, count: Int) -> ProbeEvent? {
        guard let socket = descriptor(job) else { return nil }
        let pattern = StreamPattern(token: jobs[job].token)
        let length = min(count, StreamPattern.chunkBytes)
        for offset in 0..<length { sendBuffer[offset] = pattern[position + offset] }
        let written = unsafe fan_stream_send(socket, sendBuffer, length)
        if written >= 0 { return .wrote(written) }
        return written == -Int(EAGAIN) ? nil : .streamFailed(SystemError(errno: Int32(-written)))
    }

    mutating func read(_ job: Int, from position: Int) -> ProbeEvent? {
        guard let socket = descriptor(job) else { return nil }
        let count = unsafe fan_stream_receive(socket, &receiveBuffer, StreamPattern.chunkBytes)
        if count == 0 { return .closed }
        if count < 0 { return count == -Int(EAGAIN) ? nil : .streamFailed(SystemError(errno: Int32(-count))) }
        let pattern = StreamPattern(token: jobs[job].token)
        var isIntact = true
        for offset in 0..<count where receiveBuffer[offset] != pattern[position + offset] { isIntact = false }
        return .read(count, isIntact: isIntact)
    }

    /// Takes the probe's socket back for the next one.
    mutating func releaseStream(_ job: Int) {
        guard let socket = descriptor(job), let slot = jobs[job].stream else { return }
        jobs[job].stream = nil
        _ = fan_epoll_control(epoll.number, EPOLL_CTL_DEL, socket, 0, 0)
        _ = fan_disconnect(socket)
        sources[jobs[job].source].idleStreams.append(slot)
    }
}
