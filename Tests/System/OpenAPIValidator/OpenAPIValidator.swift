public import FanCore

/// Holds documents against the schemas of an OpenAPI 3.0 description.
///
/// It knows what our description uses: `$ref`, `allOf`, `type`, `nullable`, `enum`, `minimum`, `maximum`, `required`,
/// `properties`, `additionalProperties: false` and `items`. A keyword that it does not know is a problem, so that nothing is skipped.
public struct OpenAPIValidator: Sendable {
    private let description: Document

    /// Validates by a description, by default the one that the server serves.
    public init(_ description: Document = OpenAPI.document) {
        self.description = description
    }

    /// What is wrong with a document, empty when it fits a named schema.
    public func problems(_ document: Document, schema name: String) -> [String] {
        guard let schema = schemas.first(where: { $0.key == name })?.value else {
            return ["there is no schema \(name)"]
        }
        return check(document, schema, "")
    }

    /// What is wrong with an answer, empty when it is as described.
    ///
    /// - Parameters:
    ///   - method: such as `GET`.
    ///   - target: the path as it was asked for, with or without a query.
    ///   - status: the HTTP status.
    ///   - document: the body.
    /// - Returns: the problems, each with its place.
    public func problems(_ method: String, _ target: String, status: Int, _ document: Document) -> [String] {
        guard let operation = operation(method, target) else {
            // Of what is not described only the refusal is, and that nobody can say whether to refuse.
            guard [400, 403, 404, 503].contains(status) else { return ["\(method) \(target) is not described"] }
            return problems(document, schema: "Error\(status)")
        }
        guard let response = field("\(status)", of: field("responses", of: operation)) else {
            return ["\(method) \(target) does not describe \(status)"]
        }
        guard let schema = mediaSchema(response) else { return ["\(method) \(target) \(status) has no schema"] }
        return check(document, schema, "")
    }

    /// What is wrong with a request's body, empty when it is as described.
    ///
    /// - Parameters:
    ///   - method: such as `POST`.
    ///   - target: the path as it is asked for, with or without a query.
    ///   - body: the body, nil for none.
    /// - Returns: the problems, each with its place.
    public func requestProblems(_ method: String, _ target: String, _ body: Document?) -> [String] {
        guard let operation = operation(method, target) else { return ["\(method) \(target) is not described"] }
        guard let request = field("requestBody", of: operation) else {
            return body == nil ? [] : ["\(method) \(target) takes no body"]
        }
        guard let body else {
            return field("required", of: request) == true ? ["\(method) \(target) wants a body"] : []
        }
        guard let schema = mediaSchema(request) else { return ["\(method) \(target) has no schema"] }
        return check(body, schema, "")
    }

    /// The methods and paths that are described, such as `GET /1.0/members/{name}`.
    public var operations: [String] {
        (field("paths", of: description) ?? .null).fields.flatMap { path in
            path.value.fields.map { "\($0.key.uppercased()) \(path.key)" }
        }
    }

    // MARK: Finding

    private var schemas: [Document.Field] {
        (field("components", of: description).flatMap { field("schemas", of: $0) } ?? .null).fields
    }

    private func field(_ key: String, of document: Document?) -> Document? {
        document?.fields.first { $0.key == key }?.value
    }

    private func mediaSchema(_ document: Document) -> Document? {
        field("schema", of: field("application/json", of: field("content", of: document)))
    }

    /// The operation of a concrete path; one without names in braces is preferred.
    private func operation(_ method: String, _ target: String) -> Document? {
        let parts = target.prefix { $0 != "?" }.split(separator: "/")
        let matching = (field("paths", of: description) ?? .null).fields.filter { path in
            let pattern = path.key.split(separator: "/")
            return pattern.count == parts.count && zip(pattern, parts).allSatisfy { $0.hasPrefix("{") || $0 == $1 }
        }
        let path = matching.min { !$0.key.contains("{") && $1.key.contains("{") }
        return field(method.lowercased(), of: path?.value)
    }

    // MARK: Checking

    private static let known: Set = [
        "$ref", "allOf", "type", "nullable", "enum", "minimum", "maximum", "required", "properties",
        "additionalProperties", "items",
    ]

    private func check(_ value: Document, _ schema: Document, _ place: String) -> [String] {
        let here = place.isEmpty ? "the document" : place
        if case .string(let reference)? = field("$ref", of: schema) {
            let name = reference.split(separator: "/").last.map(String.init) ?? ""
            guard reference == "#/components/schemas/\(name)",
                let target = schemas.first(where: { $0.key == name })?.value
            else { return ["\(here): \(reference) leads nowhere"] }
            return check(value, target, place)
        }
        if value == .null, field("nullable", of: schema) == true { return [] }
        var problems = schema.fields.map(\.key).filter { !Self.known.contains($0) }
            .map { "\(here): the validator does not know '\($0)'" }
        if case .array(let parts)? = field("allOf", of: schema) {
            for part in parts { problems += check(value, part, place) }
        }
        if case .array(let values)? = field("enum", of: schema), !values.contains(value) {
            problems.append("\(here): \(value.compactJSONText) is none of \(Document.array(values).compactJSONText)")
        }
        if case .string(let type)? = field("type", of: schema) {
            guard Self.isOf(type, value) else { return problems + ["\(here): \(value.compactJSONText) is no \(type)"] }
        }
        if case .integer(let minimum)? = field("minimum", of: schema) {
            let isBelow =
                switch value {
                case .integer(let number): number < minimum
                case .real(let number): number < Double(minimum)
                default: false
                }
            if isBelow { problems.append("\(here): \(value.compactJSONText) is below \(minimum)") }
        }
        if case .integer(let maximum)? = field("maximum", of: schema) {
            let isAbove =
                switch value {
                case .integer(let number): number > maximum
                case .real(let number): number > Double(maximum)
                default: false
                }
            if isAbove { problems.append("\(here): \(value.compactJSONText) is above \(maximum)") }
        }
        switch value {
        case .object(let fields): problems += check(fields, schema, place)
        case .array(let values):
            if let items = field("items", of: schema) {
                for (index, item) in values.enumerated() { problems += check(item, items, "\(place)[\(index)]") }
            }
        default: break
        }
        return problems
    }

    private func check(_ fields: [Document.Field], _ schema: Document, _ place: String) -> [String] {
        var problems: [String] = []
        let here = place.isEmpty ? "the document" : place
        if case .array(let keys)? = field("required", of: schema) {
            for case .string(let key) in keys where !fields.contains(where: { $0.key == key }) {
                problems.append("\(here): '\(key)' is missing")
            }
        }
        let properties = field("properties", of: schema)?.fields ?? []
        for field in fields {
            let inner = place.isEmpty ? field.key : "\(place).\(field.key)"
            if let property = properties.first(where: { $0.key == field.key }) {
                problems += check(field.value, property.value, inner)
            } else if self.field("additionalProperties", of: schema) == false {
                problems.append("\(inner): is not described")
            }
        }
        return problems
    }

    private static func isOf(_ type: String, _ value: Document) -> Bool {
        switch (type, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("boolean", .bool), ("integer", .integer),
            ("number", .integer), ("number", .real):
            true
        default: false
        }
    }
}
