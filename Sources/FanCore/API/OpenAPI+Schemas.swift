extension OpenAPI {
    // MARK: Words of which schemas are made

    static let text: Document = ["type": "string"]
    static let flag: Document = ["type": "boolean"]

    /// A number with the range outside of which it is refused; there is no other way to describe one.
    static func number(_ field: NumericField, isWhole: Bool = true) -> Document {
        [
            "type": isWhole ? "integer" : "number", "minimum": .number(field.range.lowerBound),
            "maximum": .number(field.range.upperBound),
        ]
    }

    static func reference(_ name: String) -> Document { ["$ref": .string("#/components/schemas/\(name)")] }

    /// One of some texts.
    static func choice(_ values: [String]) -> Document {
        ["type": "string", "enum": .array(values.map { .string($0) })]
    }

    static func choice<Value: CaseIterable & RawRepresentable>(_ type: Value.Type) -> Document
    where Value.RawValue == String {
        choice(type.allCases.map(\.rawValue))
    }

    static func list(_ items: Document) -> Document { ["type": "array", "items": items] }

    static func orNull(_ schema: Document) -> Document {
        // Beside $ref nothing else counts, so it goes inside; an enumeration has to list null as well.
        if schema["$ref"] != .null { return ["allOf": [schema], "nullable": true] }
        return .object(
            schema.fields.map { field in
                guard field.key == "enum", case .array(let values) = field.value else { return field }
                return Document.Field(key: "enum", value: .array(values + [.null]))
            } + [Document.Field(key: "nullable", value: true)]
        )
    }

    /// An object with exactly these keys; those that are named as optional may be missing.
    static func object(_ properties: Document, optional: Set<String> = []) -> Document {
        let required = properties.fields.map(\.key).filter { !optional.contains($0) }
        var fields: [Document.Field] = [Document.Field(key: "type", value: "object")]
        if !required.isEmpty {
            fields.append(Document.Field(key: "required", value: .array(required.map { .string($0) })))
        }
        fields.append(Document.Field(key: "properties", value: properties))
        fields.append(Document.Field(key: "additionalProperties", value: false))
        return .object(fields)
    }

    /// A schema with its name.
    typealias Component = (name: String, schema: Document)

    /// An answer: an object that says what it is by its key `schema`.
    private static func answer(
        _ component: String,
        _ name: String,
        _ properties: Document,
        optional: Set<String> = []
    ) -> Component {
        let schema = Document.Field(key: "schema", value: choice(["fanmesh.\(name)/v1"]))
        return (component, object(.object([schema] + properties.fields), optional: optional))
    }

    /// A request: an object in which everything may be missing but the named keys.
    private static func request(
        _ component: String,
        _ properties: Document,
        required: Set<String> = []
    ) -> Component {
        (component, object(properties, optional: Set(properties.fields.map(\.key)).subtracting(required)))
    }

    /// The schema of a shape.
    private static func shape(_ type: any DocumentShape.Type) -> Component {
        let component = type.component
        return (component.name ?? "\(type)", component.schema)
    }

    // MARK: The schemas

    /// All schemas by name.
    static let schemas: [Component] =
        things + answers + requests + internals
        + APIErrorCode.statuses.map { status in
            let codes = APIErrorCode.allCases.filter { $0.status == status }.map(\.rawValue)
            return answer("Error\(status)", "error", ["code": choice(codes), "message": text, "remedy": text])
        }

    /// What a shape has of some keys.
    private static func some(_ keys: [String], of type: any DocumentShape.Type) -> [Document.Field] {
        type.properties.filter { keys.contains($0.key) }
    }

    private static let things: [Component] = [
        shape(ClusterConfig.self), shape(Member.self), shape(MemberRow.self), shape(Finding.self),
        shape(HostCheck.self), shape(NodeReport.self), shape(ClusterState.self),
    ]

    private static let answers: [Component] = [
        answer(
            "API",
            "api",
            [
                "api": choice(["1.0"]), "version": text, "schema_version": number(.schemaVersion),
                "configured": flag,
                "auth": choice(["local", "member", "untrusted"]),
            ]
        ),
        ("Description", ["type": "object", "required": ["openapi", "info", "paths", "components"]]),
        shape(ClusterSnapshot.self),
        answer("Receipt", "receipt", ["generation": number(.generation), "stored": flag]),
        answer("Messages", "messages", ["messages": list(AgentMessage.apiSchema)]),
        shape(RehearsalAnswer.self),
        answer("Left", "leave", ["changes": list(text)]),
        answer(
            "Cluster",
            "cluster-info",
            [
                "config": reference("Config"), "fingerprint": text, "leader": orNull(text), "quorum": flag,
                "members": number(.members), "voters": list(text), "standbys": list(text), "spares": list(text),
                "tolerance": text, "warnings": list(reference("Warning")),
            ]
        ),
        answer("ConfigAnswer", "config", ["config": reference("Config")]),
        shape(MemberList.self),
        // One member is what its row is, and all that the row leaves out.
        answer(
            "MemberAnswer",
            "member",
            .object(
                MemberRow.properties + [
                    Document.Field(key: "member", value: reference("Member")),
                    Document.Field(key: "report", value: orNull(reference("Report"))),
                ]
            )
        ),
        answer("MemberRecord", "member-record", ["member": reference("Member")]),
        answer("Removal", "removal", ["name": text, "message": text, "remedy": text]),
        answer("IssuedToken", "token", ["name": text, "token": text, "expires_at": text, "command": text]),
        answer("Tokens", "tokens", ["tokens": list(TokenRow.apiSchema)]),
        answer("Audit", "audit", ["entries": list(AuditEntry.apiSchema)]),
        answer("Revocation", "revocation", ["name": text]),
        answer(
            "Rotation",
            "rotation",
            ["fingerprint": text, "members": list(text), "revoked_tokens": number(.revokedTokens)]
        ),
        answer("Dump", "dump", ["member": text, "digest": text, "bytes": number(.bytes)]),
        ("Empty", object([:])),
    ]

    private static let requests: [Component] = [
        request(
            "Init",
            .object(
                Preseed.properties.filter { !Preseed.unservedKeys.union(["mtu"]).contains($0.key) }
                    + some(["mtu", "token_expiry_s"], of: ClusterConfig.self)
                    + some(["underlay_address"], of: Member.self)
            ),
            required: ["name", "address", "underlay", "overlay"]
        ),
        shape(JoinRequest.self), shape(MemberPlace.self),
        request("Leave", ["force": flag]),
        request("OutgoingMessage", ["to": text, "text": text], required: ["to", "text"]),
        request("ConfigChange", .object(some(ClusterConfig.editable, of: ClusterConfig.self))),
        request(
            "MemberChange",
            ["failure_domain": text, "role": choice(DatabaseRole.allCases.map(\.rawValue) + ["auto"])]
        ),
        request("TokenRequest", ["name": text, "expiry_s": orNull(number(.expiry))], required: ["name"]),
    ]

    /// What candidates and members say to each other.
    private static let internals: [Component] = [
        shape(Candidate.self), shape(Heartbeat.self),
        answer(
            "Admission",
            "admission",
            ["id": number(.id), "state": reference("State"), "cluster_certificate": text, "cluster_key": text]
        ),
        answer("Ticket", "ticket", ["ticket": text]),
        answer("LeaderAdmission", "admission", ["id": number(.id), "state": reference("State")]),
        answer(
            "HeartbeatAnswer",
            "heartbeat",
            [
                "generation": number(.generation), "leader": orNull(text), "leader_address": text,
                "leader_run": orNull(text),
                "leader_beats": number(.leaderBeats), "leader_term": number(.leaderTerm),
                "voters": list(object(["address": text])),
            ],
            optional: ["leader_address", "leader_run", "leader_beats", "leader_term", "voters"]
        ),
        (
            "RotationOrder",
            object([
                "cluster_id": text, "step": choice(["accept", "use", "finish"]), "certificate": text, "key": text,
            ])
        ),
        answer("RotationStep", "rotation", ["fingerprint": text]),
        ("Message", object(["text": text])),
        ("RemovalNotice", object(["cluster_id": text])),
        answer("RemovalReceipt", "removal", ["name": text]),
    ]
}
