import FanCore
import OpenAPIValidator
import Testing

@Suite struct OpenAPITests {
    private let validator = OpenAPIValidator()

    @Test func isACompleteDescription() throws {
        let document = OpenAPI.document
        #expect(document["openapi"] == "3.0.3")
        #expect(try Document(json: document.compactJSON) == document)
        #expect(document.compactJSON.count < 1 << 17)
        #expect(validator.problems("GET", "/1.0/openapi.json", status: 200, document) == [])
        #expect(Set(validator.operations).count == validator.operations.count)
        var names: Set<String> = []
        for path in document.child("paths").fields {
            for operation in path.value.fields {
                let place = "\(operation.key) \(path.key)"
                guard case .string(let name) = operation.value.child("operationId") else {
                    Issue.record("\(place) has no name")
                    continue
                }
                #expect(names.insert(name).inserted, "\(name) twice")
                let statuses = operation.value.child("responses").fields.map(\.key)
                #expect(statuses.starts(with: ["200", "400", "403"]), "\(place)")
                #expect(statuses.contains("413") && statuses.contains("429") && statuses.contains("500"), "\(place)")
            }
        }
    }

    /// What the API has, so that nothing is lost by accident.
    @Test func hasEveryOperation() {
        let expected = [
            "GET /1.0", "GET /1.0/openapi.json", "GET /1.0/local", "PUT /1.0/local/report", "POST /1.0/init",
            "POST /1.0/rehearse", "POST /1.0/join", "POST /1.0/leave", "GET /1.0/cluster", "PATCH /1.0/cluster",
            "POST /1.0/cluster/rotate", "GET /1.0/members", "GET /1.0/members/{name}", "PATCH /1.0/members/{name}",
            "DELETE /1.0/members/{name}", "PUT /1.0/members/{name}/report", "POST /1.0/tokens", "GET /1.0/tokens",
            "DELETE /1.0/tokens/{name}", "GET /1.0/database/dump", "GET /1.0/audit", "POST /1.0/join/rehearsal",
            "POST /1.0/join/redemption", "POST /1.0/internal/rehearsal", "POST /1.0/internal/redemption",
            "POST /1.0/internal/heartbeat", "GET /1.0/internal/state", "GET /1.0/internal/database",
            "POST /1.0/internal/certificate", "POST /1.0/internal/removed", "GET /1.0/internal/ticket",
            "POST /1.0/local/messages", "DELETE /1.0/local/messages", "POST /1.0/internal/message",
            "POST /1.0/local/address", "PUT /1.0/members/{name}/address",
        ]
        #expect(Set(validator.operations) == Set(expected))
    }

    /// Every reference leads somewhere, every schema is used, and what is required is described.
    @Test func holdsTogether() {
        var used: Set<String> = []
        func walk(_ document: Document, _ place: String) {
            switch document {
            case .object(let fields):
                if case .string(let reference) = document.child("$ref") {
                    #expect(fields.count == 1, "beside $ref nothing counts: \(place)")
                    used.insert(String(reference.split(separator: "/").last ?? ""))
                }
                if case .array(let keys) = document.child("required") {
                    let properties = document.child("properties").fields.map { Document.string($0.key) }
                    #expect(properties.isEmpty || keys.allSatisfy(properties.contains), "\(place)")
                }
                for field in fields { walk(field.value, "\(place).\(field.key)") }
            case .array(let values):
                for value in values { walk(value, place) }
            default: break
            }
        }
        walk(OpenAPI.document, "")
        let schemas = OpenAPI.document.child("components").child("schemas").fields.map(\.key)
        #expect(Set(schemas) == used)
        #expect(Set(schemas).count == schemas.count)
    }

    @Test(arguments: APIErrorCode.allCases)
    func describesEachError(code: APIErrorCode) {
        let error: Document = [
            "schema": "fanmesh.error/v1", "code": .string(code.rawValue), "message": "m", "remedy": "r",
        ]
        for status in APIErrorCode.statuses {
            let problems = validator.problems(error, schema: "Error\(status)")
            #expect(problems.isEmpty == (status == code.status), "\(code) \(status)")
        }
        // At least one operation may answer with it.
        let mentions = OpenAPI.document.child("paths").compactJSONText
        #expect(mentions.contains("\(code.rawValue)"))
    }

    static let good: [(String, String, Int, Document)] = [
        (
            "GET", "/1.0", 200,
            [
                "schema": "fanmesh.api/v1", "api": "1.0", "version": "0.2.0", "schema_version": 1, "configured": false,
                "auth": "untrusted",
            ]
        ),
        (
            "PUT", "/1.0/members/node1/report", 200,
            ["schema": "fanmesh.receipt/v1", "generation": 4, "stored": true]
        ),
        (
            "DELETE", "/1.0/members/node1?force=1", 200,
            ["schema": "fanmesh.removal/v1", "name": "node1", "message": "gone", "remedy": "rotate"]
        ),
        (
            "GET", "/1.0/tokens", 200,
            [
                "schema": "fanmesh.tokens/v1",
                "tokens": [
                    [
                        "name": "a", "created_by": "b", "created_at": "2026-11-21T03:03:47Z",
                        "expires_at": "2026-11-21T06:03:47Z", "state": "used",
                    ]
                ],
            ]
        ),
        ("GET", "/1.0/nothing/here", 404, error("not_found")), ("POST", "/1.0", 400, error("bad_request")),
        ("GET", "/2.0", 403, error("not_authorized")), ("POST", "/1.0/join", 403, error("token_used")),
        ("POST", "/1.0/tokens", 507, error("disk_full")), ("GET", "/1.0/members", 503, error("no_quorum")),
    ]

    static func error(_ code: String) -> Document {
        ["schema": "fanmesh.error/v1", "code": .string(code), "message": "m", "remedy": ""]
    }

    @Test(arguments: good)
    func acceptsAnswers(method: String, path: String, status: Int, document: Document) {
        #expect(validator.problems(method, path, status: status, document) == [])
    }

    static let bad: [(String, String, Int, Document, String)] = [
        ("GET", "/1.0", 200, [], "is no object"), ("GET", "/1.0", 201, [:], "does not describe 201"),
        ("GET", "/1.0/nothing", 200, [:], "is not described"), ("PUT", "/1.0/nothing", 500, [:], "is not described"),
        ("GET", "/1.0/members/a/b/c", 404, [:], "'code' is missing"),
        ("POST", "/1.0/tokens", 409, error("no_quorum"), "is none of"),
        ("GET", "/1.0/tokens", 200, ["schema": "fanmesh.tokens/v2", "tokens": []], "is none of"),
        ("GET", "/1.0/tokens", 200, ["schema": "fanmesh.tokens/v1", "tokens": [7]], "tokens[0]: 7 is no object"),
        (
            "GET", "/1.0/tokens", 200, ["schema": "fanmesh.tokens/v1", "tokens": [], "secret": "s"],
            "secret: is not described"
        ),
        (
            "PUT", "/1.0/local/report", 200, ["schema": "fanmesh.receipt/v1", "generation": -1, "stored": true],
            "generation: -1 is below 0"
        ),
        (
            "PUT", "/1.0/local/report", 200, ["schema": "fanmesh.receipt/v1", "generation": 1.0, "stored": true],
            "generation: 1.0 is no integer"
        ),
        (
            "PUT", "/1.0/local/report", 200, ["schema": "fanmesh.receipt/v1", "generation": 1, "stored": nil],
            "stored: null is no boolean"
        ),
    ]

    @Test(arguments: bad)
    func findsProblems(method: String, path: String, status: Int, document: Document, part: String) {
        let problems = validator.problems(method, path, status: status, document)
        #expect(problems.contains { $0.contains(part) }, "\(problems)")
    }

    @Test func checksRequests() {
        let token: Document = ["name": "node2", "expiry_s": 60]
        #expect(validator.requestProblems("POST", "/1.0/tokens", token) == [])
        #expect(validator.requestProblems("POST", "/1.0/tokens", ["name": "node2"]) == [])
        #expect(validator.requestProblems("POST", "/1.0/tokens", ["nam": "node2"]).count == 2)
        #expect(validator.requestProblems("POST", "/1.0/tokens", nil) == ["POST /1.0/tokens wants a body"])
        #expect(validator.requestProblems("POST", "/1.0/leave", nil) == [])
        #expect(validator.requestProblems("GET", "/1.0/tokens", nil) == [])
        #expect(validator.requestProblems("GET", "/1.0/tokens", [:]) == ["GET /1.0/tokens takes no body"])
        #expect(validator.requestProblems("POST", "/1.0/leave", ["force": 1]) == ["force: 1 is no boolean"])
        #expect(validator.requestProblems("POST", "/1.0/no", nil) == ["POST /1.0/no is not described"])
        let role: Document = ["role": "auto"]
        #expect(validator.requestProblems("PATCH", "/1.0/members/a", role) == [])
        #expect(validator.requestProblems("PATCH", "/1.0/members/a", ["role": "boss"]).count == 1)
    }

    /// A keyword that the validator would skip is a problem.
    @Test func knowsWhatItDoesNotKnow() {
        let description: Document = [
            "components": [
                "schemas": [
                    "A": ["type": "string", "pattern": "^a$"], "B": ["$ref": "#/components/schemas/None"],
                    "C": ["type": "array", "items": ["$ref": "#/components/schemas/A"]],
                    "D": ["allOf": [["$ref": "#/components/schemas/E"]], "nullable": true],
                    "E": ["type": "integer", "minimum": 2, "maximum": 3],
                ]
            ]
        ]
        let validator = OpenAPIValidator(description)
        #expect(validator.problems("a", schema: "A") == ["the document: the validator does not know 'pattern'"])
        #expect(validator.problems("a", schema: "B").first?.contains("leads nowhere") == true)
        #expect(validator.problems(["a"], schema: "C") == ["[0]: the validator does not know 'pattern'"])
        #expect(validator.problems("a", schema: "Z") == ["there is no schema Z"])
        #expect(validator.problems(nil, schema: "D") == [])
        #expect(validator.problems(2, schema: "D") == [])
        #expect(validator.problems(1, schema: "D") == ["the document: 1 is below 2"])
        #expect(validator.problems(4, schema: "D") == ["the document: 4 is above 3"])
    }

    /// A number that is described without its ends would be calculated with unseen.
    @Test func everyNumberHasItsRange() {
        var count = 0
        func walk(_ document: Document, _ key: String) {
            switch document {
            case .object(let fields):
                let type = document.child("type")
                if type == "integer" || type == "number" {
                    count += 1
                    // Where it is read, the same range holds: nothing else gets a number out of a document.
                    let ranges = NumericField.all.filter { $0.key == key }.map { field in
                        [Document.number(field.range.lowerBound), Document.number(field.range.upperBound)]
                    }
                    let described = [document.child("minimum"), document.child("maximum")]
                    #expect(ranges.contains(described), "\(key): \(described)")
                }
                let parameter = document.child("in") == "query" ? document.child("name") : .null
                for field in fields {
                    if field.key == "schema", case .string(let name) = parameter {
                        walk(field.value, name)
                    } else if field.key == "allOf" {
                        walk(field.value, key)
                    } else {
                        walk(field.value, field.key)
                    }
                }
            case .array(let values):
                for value in values { walk(value, key) }
            default: break
            }
        }
        walk(OpenAPI.document, "")
        #expect(count > 40)
    }
}

extension Document {
    fileprivate func child(_ key: String) -> Document { fields.first { $0.key == key }?.value ?? .null }
}
