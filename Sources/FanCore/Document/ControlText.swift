extension String {
    /// The text with control characters and bidirectional overrides written as `\u{1b}`, so that it cannot steer a
    /// terminal.
    public func escapingControls(keepingNewlines: Bool = false) -> String {
        guard unicodeScalars.contains(where: { $0.steersTerminal }) else { return self }
        var text = ""
        for scalar in unicodeScalars {
            if scalar.steersTerminal && !(keepingNewlines && scalar == "\n") {
                text += scalar == "\n" ? "\\n" : scalar == "\t" ? "\\t" : "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}

extension Unicode.Scalar {
    /// Whether the scalar moves the cursor, starts an escape sequence or reorders text.
    public var steersTerminal: Bool {
        switch value {
        case 0..<0x20, 0x7f..<0xa0, 0x2028...0x202e, 0x2066...0x2069: true
        default: false
        }
    }
}
