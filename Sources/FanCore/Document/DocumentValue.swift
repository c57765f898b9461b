/// A value that has one form in documents: how it is written, how it is read, and what the API's description says of it.
public protocol DocumentValue {
    /// The value in a document.
    var asDocument: Document { get }

    /// Reads the value of a key.
    ///
    /// - Parameters:
    ///   - value: what is there; not null.
    ///   - key: the key, for errors.
    /// - Throws: ``DocumentError`` naming the key, or the one inside of the value.
    init(_ value: Document, at key: String) throws(DocumentError)

    /// What the API's description says of it.
    static var apiSchema: Document { get }

    /// Any value: what stands for one while nothing but the description is wanted.
    static var example: Self { get }
}

extension Bool: DocumentValue {
    /// A truth value.
    public var asDocument: Document { .bool(self) }
    /// A truth value.
    public static var apiSchema: Document { OpenAPI.flag }
    /// False.
    public static var example: Bool { false }

    /// Takes a truth value.
    public init(_ value: Document, at key: String) throws(DocumentError) {
        guard case .bool(let flag) = value else { throw DocumentError(path: key, problem: "is not true or false") }
        self = flag
    }
}

/// A value that is a text in documents, such as an address.
public protocol TextValue: DocumentValue, CustomStringConvertible {
    /// Reads the text that ``CustomStringConvertible/description`` gives.
    ///
    /// - Parameter text: the text.
    /// - Throws: what is wrong with it.
    init(parsing text: String) throws
}

extension TextValue {
    /// The text of the value.
    public var asDocument: Document { .string(description) }
    /// Any text.
    public static var apiSchema: Document { OpenAPI.text }

    /// Takes a text that says such a value.
    public init(_ value: Document, at key: String) throws(DocumentError) {
        guard case .string(let text) = value else { throw DocumentError(path: key, problem: "is not a text") }
        do { self = try Self(parsing: text) } catch { throw DocumentError(path: key, problem: "is wrong: \(error)") }
    }
}

extension String: TextValue {
    /// No text.
    public static var example: String { "" }

    /// Takes any text.
    public init(parsing text: String) { self = text }
}

extension IPv4Address: TextValue {
    /// Any address.
    public static var example: IPv4Address { IPv4Address(10, 0, 0, 1) }
}

extension IPv4Prefix: TextValue {
    /// The overlay unless another is chosen.
    public static let defaultOverlay = IPv4Prefix(containing: IPv4Address(240, 0, 0, 0), prefixBits: 8)
    /// Any prefix.
    public static var example: IPv4Prefix { defaultOverlay }
}

extension Timestamp: TextValue {
    /// Any moment.
    public static var example: Timestamp { .never }
}

extension SocketAddress: TextValue {
    /// Any address.
    public static var example: SocketAddress { SocketAddress(.example) }
}

extension UnderlaySelector: TextValue {
    /// Any choice.
    public static var example: UnderlaySelector { .auto }
}

/// One of some words.
public protocol WordValue: DocumentValue, CaseIterable, RawRepresentable where RawValue == String {}

extension WordValue {
    /// The word.
    public var asDocument: Document { .string(rawValue) }
    /// The words.
    public static var apiSchema: Document { OpenAPI.choice(Self.self) }
    /// The first of the words.
    public static var example: Self { allCases[allCases.startIndex] }

    /// Takes one of the words.
    public init(_ value: Document, at key: String) throws(DocumentError) {
        let text = try String(value, at: key)
        guard let word = Self(rawValue: text) else {
            let choices = Self.allCases.map(\.rawValue).joined(separator: ", ")
            throw DocumentError(path: key, problem: "is '\(text.prefix(64))', not one of \(choices)")
        }
        self = word
    }
}

extension ClusterSnapshot.State: WordValue {}
extension DatabaseRole: WordValue {}
extension ForwarderChoice: WordValue {}
extension AddressPolicy: WordValue {}
extension ForwarderKind: WordValue {}
extension HostCheck.Result: WordValue {}
extension MemberState: WordValue {}
extension TokenRow.State: WordValue {}
extension Verdict: WordValue {}
