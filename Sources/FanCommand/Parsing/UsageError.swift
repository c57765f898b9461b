internal import FanCore

/// A command line that does not fit the command table.
struct UsageError: Error, Equatable, Sendable {
    /// What is wrong.
    var message: String
    /// How the command is written.
    var usage: String
    /// The words that lead to the command.
    var words: String

    init(_ message: String, at path: [Command]) {
        self.message = message
        self.usage = path.usage
        self.words = path.words
    }

    /// The three lines shown on standard error.
    func lines(_ style: Style) -> [String] {
        [
            "\(style.apply(.failure, to: "Error:")) \(message.escapingControls())",
            "Usage: \(usage)",
            "See '\(words) --help'",
        ]
    }
}
