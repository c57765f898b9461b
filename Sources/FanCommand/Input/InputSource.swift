internal import CLinux
internal import FanSystem
internal import Glibc

/// Where a command reads from: standard input, or a text in tests.
protocol InputSource: Sendable {
    /// Whether a person types it.
    var isTerminal: Bool { get }
    /// Up to `count` bytes; empty at the end.
    func read(_ count: Int) throws(FileError) -> [UInt8]
}

/// Standard input of this process.
///
/// It is read byte by byte where lines are wanted, so that nothing is taken that a later reader should get.
struct StandardInput: InputSource {
    var isTerminal: Bool { isatty(STDIN_FILENO) == 1 }

    func read(_ count: Int) throws(FileError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe fan_read(STDIN_FILENO, buffer.baseAddress, buffer.count)
        }
        guard result >= 0 else { throw FileError(operation: "read", path: "standard input", code: Int32(-result)) }
        return Array(bytes[..<result])
    }
}

extension InputSource {
    /// The next line without its end, of at most `limit` bytes; nil when there is none.
    func line(limit: Int = 16 << 10) throws(CommandFailure) -> String? {
        var line: [UInt8] = []
        while true {
            guard let byte = try bytes(1).first else {
                return line.isEmpty ? nil : String(decoding: line, as: UTF8.self)
            }
            if byte == UInt8(ascii: "\n") {
                if line.last == UInt8(ascii: "\r") { line.removeLast() }
                return String(decoding: line, as: UTF8.self)
            }
            line.append(byte)
            guard line.count <= limit else {
                throw .badInput("a line of standard input is longer than \(limit) bytes")
            }
        }
    }

    /// All that is left, at most `limit` bytes; errors call it `what`.
    func all(limit: Int, what: String) throws(CommandFailure) -> [UInt8] {
        var text: [UInt8] = []
        while true {
            let chunk = try bytes(64 << 10)
            if chunk.isEmpty { return text }
            text += chunk
            guard text.count <= limit else { throw .badInput("\(what) is larger than \(limit) bytes") }
        }
    }

    private func bytes(_ count: Int) throws(CommandFailure) -> [UInt8] {
        do throws(FileError) { return try read(count) } catch { throw CommandFailure("\(error)") }
    }
}
