/// A value whose fields are described once, in a ``FieldTable``: that gives its document, its reading and its schema.
public protocol DocumentShape: DocumentValue {
    /// Goes through the fields, in the order in which they are written.
    ///
    /// - Parameter table: gives the value of each field, wherever it comes from.
    /// - Throws: ``DocumentError`` naming the key, when it comes from a document.
    init(fields table: inout FieldTable<Self>) throws(DocumentError)
}

extension DocumentShape {
    /// The value as an object.
    public var document: Document { .object(Self.walk(.writing(self)).fields) }

    /// Reads a value; what newer versions add is passed over.
    ///
    /// - Parameter document: the object.
    /// - Throws: ``DocumentError`` naming the key.
    public init(_ document: Document) throws(DocumentError) {
        var table = FieldTable<Self>(.reading(document))
        try self.init(fields: &table)
    }

    /// Reads a value of which nothing may be left to a default.
    ///
    /// - Parameter document: the object, with all keys.
    /// - Throws: ``DocumentError`` naming the key.
    public init(complete document: Document) throws(DocumentError) {
        for field in Self.properties where field.key != "schema" && document.present(field.key) == nil {
            throw DocumentError(path: field.key, problem: "is missing")
        }
        try self.init(document)
    }

    /// The keys, each with its schema.
    static var properties: [Document.Field] { walk(.describing).fields }

    /// The schema, written out, and its name in the API's description where it has one.
    static var component: (name: String?, schema: Document) {
        let table = walk(.describing)
        return (table.component, OpenAPI.object(.object(table.fields), optional: table.optionalKeys))
    }

    /// Goes through the fields of what cannot be refused.
    private static func walk(_ way: FieldTable<Self>.Way) -> FieldTable<Self> {
        var table = FieldTable<Self>(way)
        do throws(DocumentError) { _ = try Self(fields: &table) } catch {
            preconditionFailure("\(Self.self): \(error)")
        }
        return table
    }
}

extension DocumentShape {
    /// The value as an object.
    public var asDocument: Document { document }
    /// The name of its schema, or the schema itself where it has none.
    public static var apiSchema: Document { component.name.map(OpenAPI.reference) ?? component.schema }
    /// Any value.
    public static var example: Self {
        var table = FieldTable<Self>(.describing)
        do throws(DocumentError) { return try Self(fields: &table) } catch {
            preconditionFailure("\(Self.self): \(error)")
        }
    }

    /// Reads the object of a key.
    public init(_ value: Document, at key: String) throws(DocumentError) {
        guard case .object = value else { throw DocumentError(path: key, problem: "is not an object") }
        try self.init(value)
    }
}
