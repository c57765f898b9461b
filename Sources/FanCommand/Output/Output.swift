internal import FanCore

/// Where a command's text goes: standard output for results, standard error for everything else.
struct Output: Sendable {
    /// The two streams.
    let sink: any OutputSink
    /// The style of standard output.
    var style = Style.plain
    /// The style of standard error.
    var errorStyle = Style.plain

    /// Writes text to standard output as it is.
    func write(_ text: String) { sink.write(text, to: .output) }

    /// Writes a line to standard output.
    func print(_ line: String) { sink.write(line + "\n", to: .output) }

    /// Writes a line to standard error.
    func note(_ line: String) { sink.write(line + "\n", to: .error) }

    /// Writes a question to standard error, leaving the cursor behind it.
    func prompt(_ question: String) { sink.write(question, to: .error) }

    /// Whether the reader of standard output has gone, so that a command which repeats itself can stop.
    var isClosed: Bool { sink.isClosed }
}

/// One of the two streams.
enum OutputChannel: Hashable, Sendable {
    case output
    case error
}

/// The seam under ``Output``: file descriptors, or a buffer in tests.
protocol OutputSink: Sendable {
    /// Writes all of the text, or remembers why it could not.
    func write(_ text: String, to stream: OutputChannel)
    /// Whether the reader of standard output has gone.
    var isClosed: Bool { get }
    /// The errno for which standard output was lost, other than a reader that has gone.
    var failure: Int32? { get }
}
