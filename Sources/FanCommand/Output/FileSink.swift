internal import CLinux
internal import Glibc
internal import Synchronization

/// Standard output and standard error of this process.
///
/// A reader that has gone (`fanmesh check | head -1`) is not an error: what follows is dropped, and the command still
/// finishes its work and its clean-up.
final class FileSink: OutputSink {
    private struct State {
        var isClosed = false
        var failure: Int32?
    }

    private let state = Mutex(State())

    var isClosed: Bool { state.withLock { $0.isClosed } }
    var failure: Int32? { state.withLock { $0.failure } }

    func write(_ text: String, to stream: OutputChannel) {
        switch stream {
        case .error:
            _ = Self.writeAll(text, to: STDERR_FILENO)
        case .output:
            state.withLock { state in
                guard !state.isClosed else { return }
                let errno = Self.writeAll(text, to: STDOUT_FILENO)
                guard errno != 0 else { return }
                state.isClosed = true
                if errno != EPIPE { state.failure = errno }
            }
        }
    }

    private static func writeAll(_ text: String, to descriptor: Int32) -> Int32 {
        var text = text
        return text.withUTF8 { buffer in
            var rest = UnsafeRawBufferPointer(buffer)
            while unsafe !rest.isEmpty {
                let count = unsafe fan_write(descriptor, rest.baseAddress, rest.count)
                if count == -Int(EAGAIN) {
                    var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = unsafe poll(&wanted, 1, -1)
                } else if count < 0 {
                    return Int32(-count)
                } else {
                    unsafe rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                }
            }
            return 0
        }
    }
}
