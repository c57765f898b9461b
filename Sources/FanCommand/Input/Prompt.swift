internal import FanCore

/// Asks the operator, one question a line, on standard error, so that standard output holds results only.
struct Prompt {
    /// The command that asks.
    let invocation: Invocation

    /// Asks until the answer can be used: `read` turns it into a value, or throws what is wrong with it.
    ///
    /// An empty answer takes the default, which is shown in brackets.
    func ask<Value>(
        _ question: String,
        default defaultAnswer: String? = nil,
        read: (String) throws -> Value
    ) throws(CommandFailure) -> Value {
        let hint = defaultAnswer.map { " [default=\($0)]" } ?? ""
        while true {
            invocation.output.prompt("\(question)\(hint): ")
            guard let line = try invocation.environment.input.line() else {
                invocation.output.note("")
                throw .badInput(
                    "standard input ended before this was answered: \(question)",
                    remedy: "answer it, or give the option for it or --yes; see --help"
                )
            }
            let answer = line.trimmingBlanks()
            let text = answer.isEmpty ? defaultAnswer ?? "" : answer
            do {
                guard !text.isEmpty else { throw CommandFailure.badInput("an answer is needed") }
                return try read(text)
            } catch {
                invocation.output.explain(error as? CommandFailure ?? .badInput("\(error)"))
            }
        }
    }

    /// Asks for yes or no.
    func confirm(_ question: String, default isYes: Bool) throws(CommandFailure) -> Bool {
        try ask("\(question) (yes/no)", default: isYes ? "yes" : "no") { answer throws(CommandFailure) in
            switch answer.lowercased() {
            case "yes", "y": return true
            case "no", "n": return false
            default: throw .badInput("'\(answer)' is neither yes nor no")
            }
        }
    }
}

extension CommandOption {
    /// Of what asks before it does something that cannot be undone.
    static let yes = CommandOption.flag("yes", help: "do not ask")
}

extension Invocation {
    /// Asks before something that cannot be undone, when a person can answer and ``CommandOption/yes`` is not given.
    func confirmOnTerminal(_ question: String) throws(CommandFailure) {
        guard !flag(.yes), environment.input.isTerminal else { return }
        guard try Prompt(invocation: self).confirm(question, default: false) else {
            throw CommandFailure("nothing was changed")
        }
    }
}

extension String {
    /// The text without blanks and line ends around it.
    func trimmingBlanks() -> String {
        var text = self[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text.drop { $0.isWhitespace })
    }
}
