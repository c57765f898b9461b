public import FanCore

/// A number of a request as the description has it: where it is, and which range it has.
public struct DescribedNumber: Sendable, CustomStringConvertible {
    /// The keys that lead to it in the body, `0` for an item of a list; one key for a parameter of the query.
    public var path: [String]
    /// Whether it is in the query instead of the body.
    public var isInQuery: Bool
    /// Whether it must be whole.
    public var isWhole: Bool
    /// The least and the greatest that is taken, nil where the description does not say so.
    public var range: ClosedRange<Int128>?

    /// The path with dots.
    public var description: String { (isInQuery ? "?" : "") + path.joined(separator: ".") }

    /// Whether a value is described as one that is taken.
    public func takes(_ value: Document) -> Bool {
        switch value {
        case .integer(let number): range?.contains(number) ?? true
        case .real(let number):
            !isWhole && range.map { number >= Double($0.lowerBound) && number <= Double($0.upperBound) } ?? true
        default: false
        }
    }
}

/// One method of one path, and its numbers.
public struct DescribedOperation: Sendable, CustomStringConvertible {
    /// The method in capital letters.
    public var method: String
    /// The path with its names in braces.
    public var path: String
    /// Who may call it, in words.
    public var access: String
    /// The name of the schema of its body, nil when it has none.
    public var request: String?
    /// The numbers of its body and its query.
    public var numbers: [DescribedNumber]

    /// The method and the path.
    public var description: String { "\(method) \(path)" }
}

extension OpenAPI {
    /// All operations with all numbers of their requests, as the description has them.
    public static var describedOperations: [DescribedOperation] {
        child(document, "paths").fields.flatMap { path in
            path.value.fields.map { operation in
                let media = child(child(child(operation.value, "requestBody"), "content"), "application/json")
                let schema = child(media, "schema")
                var numbers = schema == .null ? [] : collect(schema, [])
                if case .array(let parameters) = child(operation.value, "parameters") {
                    for parameter in parameters where child(parameter, "in") == "query" {
                        guard case .string(let name) = child(parameter, "name") else { continue }
                        for var number in collect(child(parameter, "schema"), [name]) {
                            number.isInQuery = true
                            numbers.append(number)
                        }
                    }
                }
                return DescribedOperation(
                    method: operation.key.uppercased(),
                    path: path.key,
                    access: text(child(operation.value, "description")) ?? "",
                    request: text(child(schema, "$ref")).flatMap { $0.split(separator: "/").last.map(String.init) },
                    numbers: numbers
                )
            }
        }
    }

    /// All numbers of a schema.
    public static func describedNumbers(ofSchema name: String) -> [DescribedNumber] {
        collect(["$ref": .string("#/components/schemas/\(name)")], [])
    }

    private static func child(_ document: Document, _ key: String) -> Document {
        document.fields.first { $0.key == key }?.value ?? .null
    }

    private static func text(_ document: Document) -> String? {
        if case .string(let text) = document { text } else { nil }
    }

    private static func collect(_ schema: Document, _ path: [String]) -> [DescribedNumber] {
        if let name = text(child(schema, "$ref"))?.split(separator: "/").last {
            return collect(child(child(child(document, "components"), "schemas"), String(name)), path)
        }
        var numbers: [DescribedNumber] = []
        if case .array(let parts) = child(schema, "allOf") { numbers += parts.flatMap { collect($0, path) } }
        switch text(child(schema, "type")) {
        case "integer", "number":
            var range: ClosedRange<Int128>?
            if case .integer(let minimum) = child(schema, "minimum"),
                case .integer(let maximum) = child(schema, "maximum")
            {
                range = minimum...maximum
            }
            let isWhole = child(schema, "type") == "integer"
            numbers.append(DescribedNumber(path: path, isInQuery: false, isWhole: isWhole, range: range))
        case "object":
            for property in child(schema, "properties").fields {
                numbers += collect(property.value, path + [property.key])
            }
        case "array": numbers += collect(child(schema, "items"), path + ["0"])
        default: break
        }
        return numbers
    }
}
