/// The fields of a ``DocumentShape``, a line for each: the key, and where the value has what is there.
///
/// The same lines are gone through in three ways: to write a value, to read one, and to describe the shape for the API.
/// So what is written is what is read and described. Each method gives the value of one field, or an error that names
/// its key; a fallback is taken when a document, of an older version, does not have the key.
public struct FieldTable<Root> {
    /// What the fields are gone through for.
    enum Way {
        case writing(Root)
        case reading(Document)
        case describing
    }

    private let way: Way
    private var leavesOutNull = false
    /// What was written, or the keys with their schemas.
    private(set) var fields: [Document.Field] = []
    /// The keys that may be left out.
    private(set) var optionalKeys: Set<String> = []
    /// The name in the API's description.
    private(set) var component: String?

    init(_ way: Way) {
        self.way = way
        // As many as most shapes have.
        if case .writing = way { fields.reserveCapacity(20) }
    }

    /// Says what the shape is, before its fields.
    ///
    /// - Parameters:
    ///   - component: its name in the API's description; nil when it is written out where it is used.
    ///   - schema: what its key `schema` says: `report` for `fanmesh.report/v1`; nil when it has no such key.
    ///   - leavesOutNull: whether keys without a value are left out, as in requests, instead of being null; one with
    ///     a fallback may be missing then.
    public mutating func describes(_ component: String? = nil, schema: String? = nil, leavesOutNull: Bool = false) {
        self.component = component
        self.leavesOutNull = leavesOutNull
        guard let name = schema.map({ "fanmesh.\($0)/v1" }) else { return }
        switch way {
        case .writing: fields.append(Document.Field(key: "schema", value: .string(name)))
        case .reading: break
        case .describing: fields.append(Document.Field(key: "schema", value: OpenAPI.choice([name])))
        }
    }

    private mutating func field<Value>(
        _ key: String,
        isOptional: Bool = false,
        hasDefault: Bool = false,
        _ schema: @autoclosure () -> Document,
        _ example: @autoclosure () -> Value,
        _ get: (Root) -> Value,
        _ write: (Value) -> Document,
        _ read: (Document) throws(DocumentError) -> Value
    ) throws(DocumentError) -> Value {
        switch way {
        case .writing(let root):
            let value = get(root)
            let document = write(value)
            if leavesOutNull, case .null = document { return value }
            fields.append(Document.Field(key: key, value: document))
            return value
        case .reading(let document): return try read(document)
        case .describing:
            if isOptional || hasDefault, leavesOutNull { optionalKeys.insert(key) }
            let schema = isOptional && !leavesOutNull ? OpenAPI.orNull(schema()) : schema()
            fields.append(Document.Field(key: key, value: schema))
            return example()
        }
    }

    private static func require(_ key: String, _ check: () throws -> Void) throws(DocumentError) {
        do { try check() } catch { throw DocumentError(path: key, problem: "is wrong: \(error)") }
    }

    /// Whether nothing but the description is wanted, and all values are examples.
    var isDescribing: Bool { if case .describing = way { true } else { false } }

    // MARK: Values

    /// A value that is always there; what is wrong with one that is read, the check says.
    public mutating func value<Value: DocumentValue>(
        _ key: String,
        _ get: (Root) -> Value,
        default fallback: Value? = nil,
        check: (Value) throws -> Void = { _ in }
    ) throws(DocumentError) -> Value {
        try field(key, hasDefault: fallback != nil, Value.apiSchema, Value.example, get, \.asDocument) {
            document throws(DocumentError) in
            guard let value = try document.optional(key) ?? fallback else {
                throw DocumentError(path: key, problem: "is missing")
            }
            try Self.require(key) { try check(value) }
            return value
        }
    }

    /// A value that may be absent; what is wrong with one that is read, the check says.
    public mutating func optional<Value: DocumentValue>(
        _ key: String,
        _ get: (Root) -> Value?,
        check: (Value) throws -> Void = { _ in }
    ) throws(DocumentError) -> Value? {
        try field(key, isOptional: true, Value.apiSchema, nil, get, { $0?.asDocument ?? .null }) {
            document throws(DocumentError) in
            guard let value: Value = try document.optional(key) else { return nil }
            try Self.require(key) { try check(value) }
            return value
        }
    }

    /// A value with a text of its own kind.
    public mutating func text<Value>(
        _ key: String,
        _ get: (Root) -> Value,
        default fallback: Value,
        write: (Value) -> String,
        parse: (String) throws -> Value
    ) throws(DocumentError) -> Value {
        try field(key, OpenAPI.text, fallback, get, { .string(write($0)) }) { document throws(DocumentError) in
            try document.optionalParsed(key, parse) ?? fallback
        }
    }

    /// Objects of one shape; none when the key is absent.
    public mutating func list<Value: DocumentShape>(
        _ key: String,
        _ get: (Root) -> [Value]
    ) throws(DocumentError) -> [Value] {
        try field(key, OpenAPI.list(Value.apiSchema), [], get, { .array($0.map(\.document)) }) {
            document throws(DocumentError) in
            try document.list(key).map { item throws(DocumentError) in try Value(item) }
        }
    }

    /// Texts; none when the key is absent.
    public mutating func texts(_ key: String, _ get: (Root) -> [String]) throws(DocumentError) -> [String] {
        try field(key, OpenAPI.list(OpenAPI.text), [], get, { .array($0.map { .string($0) }) }) {
            document throws(DocumentError) in
            try document.list(key).map { item throws(DocumentError) in
                guard case .string(let text) = item else {
                    throw DocumentError(path: key, problem: "is not a list of texts")
                }
                return text
            }
        }
    }

    /// A part whose fields stand beside the shape's own.
    public mutating func part<Part: DocumentShape>(_ get: (Root) -> Part) throws(DocumentError) -> Part {
        let way: FieldTable<Part>.Way =
            switch way {
            case .writing(let root): .writing(get(root))
            case .reading(let document): .reading(document)
            case .describing: .describing
            }
        var table = FieldTable<Part>(way)
        let part = try Part(fields: &table)
        fields += table.fields
        optionalKeys.formUnion(table.optionalKeys)
        return part
    }

    // MARK: Numbers

    /// A whole number that is always there.
    public mutating func number<Value: FixedWidthInteger>(
        _ number: NumericField,
        _ get: (Root) -> Value,
        default fallback: Value? = nil
    ) throws(DocumentError) -> Value {
        try field(number.key, OpenAPI.number(number), 0, get, { .number($0) }) { document throws(DocumentError) in
            if let fallback { return try document.optionalInteger(number) ?? fallback }
            return try document.integer(number)
        }
    }

    /// A whole number that may be absent; what is wrong with one that is read, the check says.
    public mutating func optionalNumber<Value: FixedWidthInteger>(
        _ number: NumericField,
        _ get: (Root) -> Value?,
        check: (Value) throws -> Void = { _ in }
    ) throws(DocumentError) -> Value? {
        try field(number.key, isOptional: true, OpenAPI.number(number), nil, get, { .number($0) }) {
            document throws(DocumentError) in
            guard let value: Value = try document.optionalInteger(number) else { return nil }
            try Self.require(number.key) { try check(value) }
            return value
        }
    }

    /// A number, whole or not, that may be absent.
    public mutating func optionalReal(_ number: NumericField, _ get: (Root) -> Double?) throws(DocumentError) -> Double?
    {
        let schema = OpenAPI.number(number, isWhole: false)
        return try field(number.key, isOptional: true, schema, nil, get, { $0.map { .real($0) } ?? .null }) {
            document throws(DocumentError) in try document.optionalReal(number)
        }
    }
}
