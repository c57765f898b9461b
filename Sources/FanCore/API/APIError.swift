/// Why a request was refused, or failed, as every API answers it: `fanmesh.error/v1`, an object of `code`, `message` and
/// `remedy`.
@dynamicMemberLookup
public struct APIError: Error, Hashable, Sendable {
    /// The HTTP status.
    public var status: Int
    /// The stable code, such as `no_quorum`, what happened and what to do about it.
    public var finding: Finding

    /// Describes an error.
    public init(status: Int, code: String, _ message: String, remedy: String = "") {
        self.status = status
        finding = Finding(code: code, severity: .error, message: message, remedy: remedy)
    }

    /// Describes an error under one of the server's codes.
    public init(_ code: APIErrorCode, _ message: String, remedy: String = "") {
        self.init(status: code.status, code: code.rawValue, message, remedy: remedy)
    }

    /// Reads an answer.
    ///
    /// - Parameters:
    ///   - status: its HTTP status.
    ///   - document: its body, nil when that is no document.
    ///   - message: what to say when it says nothing.
    public init(status: Int, _ document: Document?, or message: String) {
        let text = { (key: String) in document.flatMap { try? $0.optionalText(key) } }
        self.init(
            status: status,
            code: text("code") ?? "failed",
            text("message") ?? message,
            remedy: text("remedy") ?? ""
        )
    }

    /// A request that cannot be understood.
    public static func badRequest(_ message: String, remedy: String = "") -> APIError {
        APIError(status: 400, code: "bad_request", message, remedy: remedy)
    }

    /// The answer's body.
    public var document: Document {
        [
            "schema": "fanmesh.error/v1", "code": .string(finding.code), "message": .string(finding.message),
            "remedy": .string(finding.remedy),
        ]
    }

    /// A part of the finding.
    public subscript<Value>(dynamicMember path: KeyPath<Finding, Value>) -> Value { finding[keyPath: path] }
}
