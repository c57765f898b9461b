internal import FanSystem
internal import Glibc

/// A service manager's socket that waits for one `READY=1`.
final class ReadySocket {
    let path: String
    private let descriptor: Int32

    /// Makes it, in the place of an earlier one.
    init(_ path: String) throws {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < room else {
            throw BenchError("the path of a socket is too long: \(path)")
        }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        _ = unsafe unlink(path)
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // The server is another user's.
        guard result == 0, unsafe chmod(path, 0o666) == 0 else {
            throw BenchError("bind '\(path)': \(errnoText(errno))")
        }
    }

    deinit {
        close(descriptor)
        _ = unsafe unlink(path)
    }

    /// Waits until a daemon says that it is ready.
    func wait(atMost time: Duration) throws {
        let end = ContinuousClock.now + time
        var bytes = [UInt8](repeating: 0, count: 4096)
        while ContinuousClock.now < end {
            var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard unsafe Glibc.poll(&poll, 1, 100) > 0 else { continue }
            let count = unsafe recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            let text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
            if text.split(separator: "\n").contains("READY=1") { return }
        }
        throw BenchError("no daemon was ready in \(time)")
    }
}
