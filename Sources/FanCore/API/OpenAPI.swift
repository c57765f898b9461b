/// The description of the server's API, as it serves it at `/1.0/openapi.json`.
///
/// Tests hold every answer of a real server against it.
public enum OpenAPI {
    /// The OpenAPI 3.0 description.
    public static let document: Document = [
        "openapi": "3.0.3",
        "info": [
            "title": "fanmesh",
            "version": "1.0",
            "description": """
            The API of fanmesh server, on its unix socket for root and the group fanmesh, and over mutual TLS 1.3 \
            for members. Times are seconds since 1970 or RFC 3339; keys ending in _s are \
            seconds, in _ms milliseconds; the mtu is in bytes.
            """,
        ],
        "paths": paths,
        "components": [
            "schemas": Document.object(schemas.map { Document.Field(key: $0.name, value: $0.schema) })
        ],
    ]

    /// What any operation may be refused with.
    private static let commonErrors: [APIErrorCode] = [
        .badRequest, .notAuthorized, .tooLarge, .rateLimited, .failed, .timeout,
    ]

    private static let paths: Document = {
        var paths: [Document.Field] = []
        for (endpoint, description) in Endpoint.all {
            let method = Document.Field(key: description.method.lowercased(), value: describe(endpoint, description))
            if let index = paths.firstIndex(where: { $0.key == description.path }) {
                paths[index].value = .object(paths[index].value.fields + [method])
            } else {
                paths.append(Document.Field(key: description.path, value: .object([method])))
            }
        }
        return .object(paths)
    }()

    private static func describe(_ endpoint: Endpoint, _ operation: Endpoint.Description) -> Document {
        var parameters: [Document] = operation.query.map {
            [
                "name": .string($0.name), "in": "query", "required": false, "description": .string($0.help),
                "schema": $0.number.map { number($0) } ?? text,
            ]
        }
        parameters += operation.headers.map {
            [
                "name": .string($0.name), "in": "header", "required": false, "description": .string($0.help),
                "schema": text,
            ]
        }
        if operation.path.contains("{name}") {
            parameters.insert(
                ["name": "name", "in": "path", "required": true, "description": "A member's name.", "schema": text],
                at: 0
            )
        }
        var fields: [Document.Field] = [
            Document.Field(key: "operationId", value: .string(endpoint.rawValue)),
            Document.Field(key: "summary", value: .string(operation.summary)),
            Document.Field(key: "description", value: .string("For: \(operation.access.rawValue)")),
        ]
        if !parameters.isEmpty { fields.append(Document.Field(key: "parameters", value: .array(parameters))) }
        if let request = operation.request {
            fields.append(
                Document.Field(
                    key: "requestBody",
                    value: ["required": .bool(request != "Empty" && request != "Leave"), "content": content(request)]
                )
            )
        }
        fields.append(Document.Field(key: "responses", value: responses(operation)))
        return .object(fields)
    }

    private static func responses(_ operation: Endpoint.Description) -> Document {
        var responses = [
            Document.Field(key: "200", value: ["description": "Done.", "content": content(operation.response)])
        ]
        let codes = Set(commonErrors + operation.errors)
        for status in APIErrorCode.statuses {
            let names = APIErrorCode.allCases.filter { $0.status == status && codes.contains($0) }.map(\.rawValue)
            guard !names.isEmpty else { continue }
            responses.append(
                Document.Field(
                    key: "\(status)",
                    value: [
                        "description": .string(names.joined(separator: ", ")), "content": content("Error\(status)"),
                    ]
                )
            )
        }
        return .object(responses)
    }

    private static func content(_ schema: String) -> Document {
        ["application/json": ["schema": reference(schema)]]
    }
}
