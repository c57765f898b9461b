/// What a member may be called.
public enum DNSLabel {
    /// The longest label.
    public static let maximumBytes = 63

    /// Whether the text is 1 to 63 of a-z, 0-9 and -, with no - at either end.
    public static func isValid(_ text: String) -> Bool {
        guard (1...maximumBytes).contains(text.utf8.count), text.utf8.first != UInt8(ascii: "-") else { return false }
        return text.utf8.last != UInt8(ascii: "-")
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
            }
    }

    /// Checks a member's name.
    ///
    /// - Parameter name: what was written.
    /// - Throws: ``ClusterInputError/badName(_:)``.
    public static func check(_ name: String) throws(ClusterInputError) {
        guard isValid(name) else { throw .badName(name) }
    }
}
