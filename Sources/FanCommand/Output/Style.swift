/// Colours for a terminal; plain text elsewhere.
struct Style: Hashable, Sendable {
    /// Whether colours are used.
    var isColoured: Bool

    /// No colours.
    static let plain = Style(isColoured: false)
    /// Colours.
    static let coloured = Style(isColoured: true)

    /// The text in the colour of a mark.
    func apply(_ mark: Mark, to text: String) -> String {
        isColoured ? "\u{1b}[\(mark.code)m\(text)\u{1b}[0m" : text
    }

    /// The word of a mark, coloured.
    func word(_ mark: Mark) -> String { apply(mark, to: mark.word) }
}

extension Style {
    /// Chooses by the conventions of the terminal: none for a pipe, with NO_COLOR, or on a dumb terminal.
    ///
    /// - Parameters:
    ///   - isTerminal: whether the stream is a terminal.
    ///   - variable: looks up an environment variable.
    init(isTerminal: Bool, variable: (String) -> String?) {
        isColoured = isTerminal && (variable("NO_COLOR") ?? "").isEmpty && variable("TERM") != "dumb"
    }
}

/// How good a result is; it decides the word and the colour shown for it.
enum Mark: Hashable, CaseIterable, Sendable {
    case ok
    case warning
    case failure
    case skipped
    case unknown
    /// Not a result: a heading.
    case heading

    /// The word that stands for it.
    var word: String {
        switch self {
        case .ok: "ok"
        case .warning: "warn"
        case .failure: "fail"
        case .skipped: "skipped"
        case .unknown: "unknown"
        case .heading: ""
        }
    }

    /// The mark of a result or verdict by its name in JSON, nil for other texts.
    init?(result: String) {
        switch result {
        case "ok", "healthy", "ONLINE": self = .ok
        case "warn", "warning", "JOINING": self = .warning
        case "fail", "failed", "error", "OFFLINE", "BLOCKED": self = .failure
        case "skipped": self = .skipped
        case "unknown", "UNKNOWN": self = .unknown
        default: return nil
        }
    }

    /// The parameter of the terminal's "select graphic rendition" sequence (ECMA-48).
    fileprivate var code: String {
        switch self {
        case .ok: "32"
        case .warning, .unknown: "33"
        case .failure: "31"
        case .skipped: "2"
        case .heading: "1"
        }
    }
}
