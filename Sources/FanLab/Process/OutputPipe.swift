internal import CLinux
internal import FanSystem
internal import Glibc

/// Both ends of a pipe.
struct PipeEnds: ~Copyable {
    let reading: Descriptor
    let writing: Descriptor

    init() throws(LabError) {
        var ends: [Int32] = [-1, -1]
        try require(unsafe fan_pipe(&ends), "make", "pipe")
        reading = Descriptor(adopting: ends[0])
        writing = Descriptor(adopting: ends[1])
    }

    /// Writes what fits into an empty pipe.
    borrowing func fill(with bytes: [UInt8]) throws(LabError) {
        guard !bytes.isEmpty else { return }
        try require(fan_set_nonblocking(writing.number), "prepare", "pipe")
        let count = unsafe fan_write(writing.number, bytes, bytes.count)
        guard count == bytes.count else {
            throw .system(operation: "write", object: "standard input of \(bytes.count) bytes", code: EFBIG)
        }
    }

    /// Keeps the reading end and closes the other.
    consuming func takeReading() -> Descriptor {
        reading
    }
}

/// The reading end of a program's output, and what was read from it.
struct OutputPipe: ~Copyable {
    private var descriptor: Descriptor?
    private var bytes: [UInt8] = []
    private let limit: Int
    private(set) var isTruncated = false

    init(_ descriptor: consuming Descriptor, limit: Int) {
        _ = fan_set_nonblocking(descriptor.number)
        raw = descriptor.number
        self.descriptor = consume descriptor
        self.limit = limit
    }

    /// The descriptor to poll; -1, which poll ignores, after the end.
    private(set) var raw: Int32

    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Reads what is there.
    mutating func drain() {
        guard raw >= 0 else { return }
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe fan_read(raw, &chunk, chunk.count)
            guard count > 0 else {
                if count != -Int(EAGAIN) {
                    descriptor = nil
                    raw = -1
                }
                return
            }
            let kept = min(count, limit - bytes.count)
            bytes.append(contentsOf: chunk.prefix(kept))
            if kept < count { isTruncated = true }
        }
    }
}

/// What C takes as arrays of strings.
enum CStrings {
    /// This process's variables with others added or replaced, as `NAME=VALUE`.
    private static func environment(with additions: [String: String]) -> [String] {
        var lines: [String] = []
        guard var entry = unsafe fan_environment() else { return additions.map { "\($0.key)=\($0.value)" } }
        while let text = unsafe entry.pointee {
            let line = unsafe String(cString: text)
            let name = line.prefix { $0 != "=" }
            if additions[String(name)] == nil { lines.append(line) }
            unsafe entry += 1
        }
        return lines + additions.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }

    /// What a program is started with: its name, its arguments and its environment.
    typealias Start = (
        UnsafePointer<CChar>?, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?,
        UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
    ) -> Int32

    /// Starts a command with this process's variables and some others, which live as long as the call.
    static func start(_ command: [String], _ variables: [String: String], _ start: Start) -> Int32 {
        unsafe with(command) { arguments in
            unsafe with(environment(with: variables)) { variables in
                unsafe start(arguments?.pointee, arguments, variables)
            }
        }
    }

    /// Runs `body` with a null-terminated array of C strings that lives as long as the call.
    private static func with<R>(
        _ strings: [String],
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> R
    ) -> R {
        var pointers = unsafe strings.map { unsafe strdup($0) }
        unsafe pointers.append(nil)
        defer { unsafe pointers.forEach { unsafe free($0) } }
        return unsafe pointers.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress) }
    }
}
