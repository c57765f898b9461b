public import FanCore

extension OpenAPI {
    /// All fields of a schema, such as `Members.leader` and `MemberRow.peers.total`.
    ///
    /// - Parameter name: the schema.
    /// - Returns: the fields, each with the schema that it is described in.
    public static func fields(ofSchema name: String) -> Set<String> {
        var found: Set<String> = []
        var entered: Set<String> = []
        walk(reference(to: name), nil, name, &found, &entered)
        return found
    }

    /// The fields of a schema that a document has, and that are not null in it.
    ///
    /// - Parameters:
    ///   - document: the document.
    ///   - name: its schema.
    /// - Returns: the fields, as ``fields(ofSchema:)`` names them.
    public static func fields(of document: Document, schema name: String) -> Set<String> {
        var found: Set<String> = []
        var entered: Set<String> = []
        walk(reference(to: name), document, name, &found, &entered)
        return found
    }

    private static func reference(to name: String) -> Document { ["$ref": .string("#/components/schemas/\(name)")] }

    private static func field(_ key: String, of document: Document) -> Document {
        document.fields.first { $0.key == key }?.value ?? .null
    }

    private static func walk(
        _ schema: Document,
        _ value: Document?,
        _ place: String,
        _ found: inout Set<String>,
        _ entered: inout Set<String>
    ) {
        if case .string(let reference) = field("$ref", of: schema) {
            let name = reference.split(separator: "/").last.map(String.init) ?? ""
            if value == nil, !entered.insert(name).inserted { return }
            let target = field(name, of: field("schemas", of: field("components", of: document)))
            return walk(target, value, name, &found, &entered)
        }
        if case .array(let parts) = field("allOf", of: schema) {
            for part in parts { walk(part, value, place, &found, &entered) }
        }
        if case .array(let values)? = value {
            for item in values { walk(field("items", of: schema), item, place, &found, &entered) }
            return
        }
        if value == nil { walk(items: schema, place, &found, &entered) }
        for property in field("properties", of: schema).fields {
            let inner = value.map { field(property.key, of: $0) }
            if inner == .null { continue }
            found.insert("\(place).\(property.key)")
            walk(property.value, inner, "\(place).\(property.key)", &found, &entered)
        }
    }

    private static func walk(
        items schema: Document,
        _ place: String,
        _ found: inout Set<String>,
        _ entered: inout Set<String>
    ) {
        let items = field("items", of: schema)
        if items != .null { walk(items, nil, place, &found, &entered) }
    }
}
