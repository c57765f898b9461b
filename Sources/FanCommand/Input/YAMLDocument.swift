internal import FanCore

/// A YAML document that was read strictly, with the line of each key for error messages.
///
/// One document of at most ``maximumBytes``; no anchors, aliases, tags or merge keys, no key twice, and no plain word
/// that YAML's versions read differently: `yes`, `0123` and the like must be quoted, or written as `true` or `123`.
struct YAMLDocument {
    /// The largest text accepted, in bytes.
    static let maximumBytes = 1 << 20
    /// How deep lists and objects may nest.
    static let maximumDepth = 16

    /// The value.
    var document: Document
    /// The line of each key, by its dotted path, from 1.
    var lines: [String: Int]

    /// Reads a text.
    init(parsing bytes: [UInt8]) throws(YAMLError) {
        guard bytes.count <= Self.maximumBytes else {
            throw YAMLError("is larger than \(Self.maximumBytes >> 20) MiB")
        }
        var reader = Reader(events: YAMLEvents(bytes))
        document = try reader.wholeDocument()
        lines = reader.lines
    }

    /// Words the error of a reader of ``document`` with the line that it is about.
    func describe(_ error: DocumentError) -> String {
        var path = error.path
        while true {
            if let line = lines[path] { return "line \(line): \(error)" }
            guard let dot = path.lastIndex(of: ".") else { return "\(error)" }
            path = String(path[..<dot])
        }
    }
}

/// Why a text is not a YAML document that is accepted here.
struct YAMLError: Error, Equatable, CustomStringConvertible {
    /// Where, from 1; nil for the whole.
    var line: Int?
    /// What is wrong.
    var problem: String

    init(_ problem: String, line: Int? = nil) {
        self.line = line
        self.problem = problem
    }

    /// The line and what is wrong there.
    var description: String { line.map { "line \($0): \(problem)" } ?? "the document \(problem)" }
}

/// One pass over the events of a document.
private struct Reader {
    var events: YAMLEvents
    var lines: [String: Int] = [:]

    mutating func wholeDocument() throws(YAMLError) -> Document {
        _ = try events.next()
        let start = try events.next()
        guard start.kind == .documentStart else { throw YAMLError("is empty") }
        let first = try events.next()
        let document = try value(first, path: "", depth: 0)
        _ = try events.next()
        let end = try events.next()
        guard end.kind == .streamEnd else { throw YAMLError("a second document begins here", line: end.line) }
        if document == .null { throw YAMLError("is empty") }
        return document
    }

    private mutating func value(_ event: YAMLEvents.Event, path: String, depth: Int) throws(YAMLError) -> Document {
        guard depth < YAMLDocument.maximumDepth else {
            throw YAMLError("lists and objects nest deeper than \(YAMLDocument.maximumDepth)", line: event.line)
        }
        if let extra = event.extra { throw YAMLError("\(extra) are not allowed here", line: event.line) }
        switch event.kind {
        case .scalar(let text, let isPlain):
            return isPlain ? try Self.plain(text, line: event.line) : .string(text)
        case .listStart:
            var values: [Document] = []
            while true {
                let item = try events.next()
                if item.kind == .listEnd { return .array(values) }
                let itemPath = path.isEmpty ? "\(values.count)" : "\(path).\(values.count)"
                lines[itemPath] = item.line
                values.append(try value(item, path: itemPath, depth: depth + 1))
            }
        case .objectStart:
            var fields: [Document.Field] = []
            var seen: Set<String> = []
            while true {
                let key = try events.next()
                if key.kind == .objectEnd { return .object(fields) }
                if let extra = key.extra { throw YAMLError("\(extra) are not allowed here", line: key.line) }
                guard case .scalar(let name, _) = key.kind else {
                    throw YAMLError("a key must be a word", line: key.line)
                }
                guard name != "<<" else { throw YAMLError("merge keys are not allowed here", line: key.line) }
                guard seen.insert(name).inserted else {
                    throw YAMLError("the key '\(name.prefix(64))' is there twice", line: key.line)
                }
                let fieldPath = path.isEmpty ? name : "\(path).\(name)"
                lines[fieldPath] = key.line
                let event = try events.next()
                fields.append(Document.Field(key: name, value: try value(event, path: fieldPath, depth: depth + 1)))
            }
        default:
            throw YAMLError("a value is missing", line: event.line)
        }
    }

    /// A word without quotes: nothing, a truth value, a number, or a text that every YAML version reads as one.
    private static func plain(_ text: String, line: Int) throws(YAMLError) -> Document {
        switch text {
        case "", "~", "null": return .null
        case "true": return true
        case "false": return false
        default: break
        }
        switch text.lowercased() {
        case "yes", "no", "on", "off", "y", "n", "true", "false":
            throw YAMLError("'\(text)' is unclear; write true or false, or \"\(text)\" for the text", line: line)
        case "null", ".inf", "+.inf", "-.inf", ".nan":
            throw YAMLError("'\(text)' is unclear; write \"\(text)\" for the text", line: line)
        default: break
        }
        let digits = text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : text[...]
        guard let first = digits.utf8.first, first.isDigit else { return .string(text) }
        let isDecimal = digits.utf8.allSatisfy(\.isDigit)
        if isDecimal, digits.utf8.count == 1 || first != UInt8(ascii: "0"), !text.hasPrefix("+") {
            guard let number = Int128(text) else { throw YAMLError("'\(text.prefix(64))' is too large", line: line) }
            return .integer(number)
        }
        // Octal, hexadecimal, base 60, digits in groups: numbers to some YAML versions.
        let isNumberLike = digits.utf8.allSatisfy { $0.isDigit || "_:".utf8.contains($0) }
        let isBased =
            first == UInt8(ascii: "0") && digits.utf8.dropFirst().first.map { "xob".utf8.contains($0) } ?? false
        if isNumberLike || isBased {
            throw YAMLError(
                "'\(text.prefix(64))' is unclear; write the number in decimal, or quote the text",
                line: line
            )
        }
        if let number = Double(text) {
            guard number.isFinite else { throw YAMLError("'\(text.prefix(64))' is too large", line: line) }
            return .real(number)
        }
        return .string(text)
    }
}
