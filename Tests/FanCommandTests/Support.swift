import FanCore
import Foundation
import Synchronization
import TestSupport

@testable import FanCommand

/// Keeps what a command writes.
final class CapturedOutput: OutputSink {
    private let texts = Mutex<[OutputChannel: String]>([:])

    func write(_ text: String, to stream: OutputChannel) { texts.withLock { $0[stream, default: ""] += text } }
    var isClosed: Bool { false }
    var failure: Int32? { nil }

    func text(_ stream: OutputChannel) -> String { texts.withLock { $0[stream] ?? "" } }
}

/// A text in the place of standard input.
final class TextInput: InputSource {
    let isTerminal: Bool
    private let left: Mutex<ArraySlice<UInt8>>

    init(_ text: String, isTerminal: Bool = false) {
        self.isTerminal = isTerminal
        left = Mutex(Array(text.utf8)[...])
    }

    func read(_ count: Int) -> [UInt8] {
        left.withLock { left in
            defer { left = left.dropFirst(count) }
            return Array(left.prefix(count))
        }
    }
}

/// How a command line ended.
struct Outcome: Equatable {
    var code: ExitCode
    var output: String
    var error: String
}

/// Runs a command line in a world of its own.
func run(
    _ words: [String],
    root: Command = .fanmesh,
    variables: [String: String] = [:],
    facts: HostFacts? = nil,
    style: Style = .plain
) -> Outcome {
    let sink = CapturedOutput()
    var environment = CommandEnvironment.process
    environment.output = Output(sink: sink, style: style, errorStyle: style)
    environment.variable = { variables[$0] }
    if let facts { environment.kernel = { FactsOnlyKernel(facts: facts) } }
    let code = CommandRunner(root: root, environment: environment).run(words)
    return Outcome(code: code, output: sink.text(.output), error: sink.text(.error))
}

/// Runs a line split at spaces.
func run(_ line: String, root: Command = .fanmesh) -> Outcome {
    run(line.split(separator: " ").map(String.init), root: root)
}

/// Runs a program to its end.
///
/// - Returns: its status, and what it wrote to both streams.
func runProgram(_ words: [String], input: String = "") throws -> (status: Int32, output: String, error: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = words
    let directory = try TestDirectory()
    let files = ["in", "out", "err"].map { URL(fileURLWithPath: directory.file($0)) }
    for file in files { try Data(file == files[0] ? Array(input.utf8) : []).write(to: file) }
    process.standardInput = try FileHandle(forReadingFrom: files[0])
    process.standardOutput = try FileHandle(forWritingTo: files[1])
    process.standardError = try FileHandle(forWritingTo: files[2])
    try process.run()
    process.waitUntilExit()
    let texts = try files.map { String(decoding: try Data(contentsOf: $0), as: UTF8.self) }
    return (process.terminationStatus, texts[1], texts[2])
}
