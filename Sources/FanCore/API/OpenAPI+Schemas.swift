extension OpenAPI {
    // MARK: Words of which schemas are made

    static let text: Document = ["type": "string"]
    static let flag: Document = ["type": "boolean"]
    static let real: Document = ["type": "number"]

    static func integer(from minimum: Int) -> Document {
        ["type": "integer", "minimum": .number(minimum)]
    }

    static func reference(_ name: String) -> Document { ["$ref": .string("#/components/schemas/\(name)")] }

    private static let count = integer(from: 0)
    private static let signed: Document = ["type": "integer"]

    /// One of some texts.
    private static func choice(_ values: [String]) -> Document {
        ["type": "string", "enum": .array(values.map { .string($0) })]
    }

    private static func choice<Value: CaseIterable & RawRepresentable>(_ type: Value.Type) -> Document
    where Value.RawValue == String {
        choice(type.allCases.map(\.rawValue))
    }

    private static func list(_ items: Document) -> Document { ["type": "array", "items": items] }

    private static func orNull(_ schema: Document) -> Document {
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
    private static func object(_ properties: Document, optional: Set<String> = []) -> Document {
        let required = properties.fields.map(\.key).filter { !optional.contains($0) }
        var fields: [Document.Field] = [Document.Field(key: "type", value: "object")]
        if !required.isEmpty {
            fields.append(Document.Field(key: "required", value: .array(required.map { .string($0) })))
        }
        fields.append(Document.Field(key: "properties", value: properties))
        fields.append(Document.Field(key: "additionalProperties", value: false))
        return .object(fields)
    }

    /// An object that says what it is by its key `schema`.
    private static func answer(_ name: String, _ properties: Document, optional: Set<String> = []) -> Document {
        let schema = Document.Field(key: "schema", value: choice(["fanmesh.\(name)/v1"]))
        return object(.object([schema] + properties.fields), optional: optional)
    }

    /// An object of a request, in which everything may be missing but the named keys.
    private static func request(_ properties: Document, required: Set<String> = []) -> Document {
        object(properties, optional: Set(properties.fields.map(\.key)).subtracting(required))
    }

    // MARK: The schemas

    /// All schemas by name.
    static let schemas: [(name: String, schema: Document)] =
        things + answers + requests + internals
        + APIErrorCode.statuses.map { status in
            let codes = APIErrorCode.allCases.filter { $0.status == status }.map(\.rawValue)
            return (
                "Error\(status)",
                answer("error", ["code": choice(codes), "message": text, "remedy": text])
            )
        }

    private static let forwarder = choice(ForwarderKind.self)
    private static let anyForwarder = choice(ForwarderChoice.self)
    private static let role = choice(DatabaseRole.self)

    private static let memberStatus: Document = [
        "name": text, "address": text, "underlay_address": text, "slice": orNull(text), "role": role, "leader": flag,
        "state": choice(MemberState.self), "message": text, "overlay": orNull(choice(Verdict.self)), "version": text,
        "last_seen_ms": orNull(count), "failure_domain": text, "member": reference("Member"),
        "report": orNull(reference("Report")),
    ]

    private static let things: [(name: String, schema: Document)] = [
        (
            "Config",
            object([
                "cluster_id": text, "overlay": text, "underlay": text, "network": text, "vni": count, "port": count,
                "mtu": orNull(count), "forwarder": anyForwarder, "offline_after_s": count, "voters": count,
                "standbys": count, "token_expiry_s": count,
            ])
        ),
        (
            "Member",
            object([
                "id": count, "name": text, "node_id": text, "address": text, "underlay_address": text,
                "fingerprint": text, "failure_domain": text, "pinned_role": orNull(role), "version": text,
                "schema_version": count, "incarnation": count, "joined_at": count,
            ])
        ),
        ("MemberStatus", object(memberStatus)),
        ("Warning", object(["code": text, "severity": choice(Verdict.self), "message": text, "remedy": text])),
        (
            "Check",
            object(["check": text, "result": choice(HostCheck.Result.self), "detail": text, "remedy": text])
        ),
        (
            "Report",
            answer(
                "report",
                [
                    "node_id": text, "verdict": choice(Verdict.self), "network": orNull(text), "overlay": orNull(text),
                    "underlay": orNull(text), "underlay_address": orNull(text), "slice": orNull(text),
                    "forwarder": orNull(forwarder), "mtu": orNull(count), "vni": orNull(count), "port": orNull(count),
                    "counters": orNull(
                        object(["forwarded": count, "spoofed": count, "outside": count, "unsupported": count])
                    ),
                    "peers": list(
                        object(["name": text, "reachable": flag, "rtt_ms": orNull(real), "diagnosis": text])
                    ),
                    "warnings": list(reference("Warning")), "version": text, "kernel": text, "generation": count,
                ]
            )
        ),
        (
            "State",
            answer(
                "state",
                ["generation": count, "config": reference("Config"), "members": list(reference("Member"))]
            )
        ),
    ]

    private static let answers: [(name: String, schema: Document)] = [
        (
            "API",
            answer(
                "api",
                [
                    "api": choice(["1.0"]), "version": text, "schema_version": count, "configured": flag,
                    "auth": choice(["local", "member", "untrusted"]),
                ]
            )
        ),
        ("Description", ["type": "object", "required": ["openapi", "info", "paths", "components"]]),
        (
            "Snapshot",
            answer(
                "local",
                [
                    "state": choice(ClusterSnapshot.State.self), "message": text, "generation": count,
                    "name": orNull(text), "config": orNull(reference("Config")), "members": list(reference("Member")),
                    "quorum": flag, "leader": orNull(text), "agent": flag,
                ]
            )
        ),
        ("Receipt", answer("receipt", ["generation": count, "stored": flag])),
        (
            "Rehearsal",
            answer(
                "rehearsal",
                [
                    "name": text, "config": reference("Config"), "members": list(reference("Member")),
                    "checks": list(reference("Check")),
                ]
            )
        ),
        ("Left", answer("leave", ["changes": list(text)])),
        (
            "Cluster",
            answer(
                "cluster-info",
                [
                    "config": reference("Config"), "fingerprint": text, "leader": orNull(text), "quorum": flag,
                    "members": count, "voters": list(text), "standbys": list(text), "spares": list(text),
                    "tolerance": text, "warnings": list(reference("Warning")),
                ]
            )
        ),
        ("ConfigAnswer", answer("config", ["config": reference("Config")])),
        (
            "Members",
            answer(
                "members",
                [
                    "members": list(reference("MemberStatus")), "leader": orNull(text), "quorum": flag, "stale": flag,
                    "tolerance": text, "warnings": list(reference("Warning")),
                ]
            )
        ),
        ("MemberAnswer", answer("member", memberStatus)),
        ("MemberRecord", answer("member-record", ["member": reference("Member")])),
        ("Removal", answer("removal", ["name": text, "message": text, "remedy": text])),
        (
            "IssuedToken",
            answer("token", ["name": text, "token": text, "expires_at": text, "command": text])
        ),
        (
            "Tokens",
            answer(
                "tokens",
                [
                    "tokens": list(
                        object([
                            "name": text, "created_by": text, "created_at": text, "expires_at": text,
                            "state": choice(["valid", "expired", "used", "revoked"]),
                        ])
                    )
                ]
            )
        ),
        ("Revocation", answer("revocation", ["name": text])),
        (
            "Rotation",
            answer("rotation", ["fingerprint": text, "members": list(text), "revoked_tokens": count])
        ),
        (
            "Dump",
            answer("dump", ["member": text, "digest": text, "bytes": count, "text": text], optional: ["text"])
        ),
        ("Empty", object([:])),
    ]

    private static let requests: [(name: String, schema: Document)] = [
        (
            "Init",
            request(
                [
                    "name": text, "address": text, "underlay_address": text, "underlay": text, "overlay": text,
                    "network": text, "vni": count, "port": count, "mtu": orNull(count), "forwarder": anyForwarder,
                    "failure_domain": text, "offline_after_s": count, "voters": count, "standbys": count,
                    "token_expiry_s": count,
                ],
                required: ["name", "address", "underlay", "overlay"]
            )
        ),
        (
            "Join",
            request(
                [
                    "token": text, "name": orNull(text), "address": text, "underlay_address": orNull(text),
                    "failure_domain": orNull(text),
                ],
                required: ["token", "address"]
            )
        ),
        ("Leave", request(["force": flag])),
        (
            "ConfigChange",
            request([
                "offline_after_s": count, "voters": count, "standbys": count, "token_expiry_s": count,
                "mtu": orNull(count), "forwarder": anyForwarder,
            ])
        ),
        (
            "MemberChange",
            request(["failure_domain": text, "role": choice(DatabaseRole.allCases.map(\.rawValue) + ["auto"])])
        ),
        ("TokenRequest", request(["name": text, "expiry_s": orNull(count)], required: ["name"])),
    ]

    /// What candidates and members say to each other.
    private static let internals: [(name: String, schema: Document)] = [
        (
            "Candidate",
            request(
                [
                    "name": text, "secret": text, "node_id": text, "address": text, "underlay_address": text,
                    "fingerprint": text, "failure_domain": text, "version": text, "schema_version": count,
                    "clock_ms": signed,
                ],
                required: [
                    "name", "secret", "node_id", "address", "underlay_address", "version", "schema_version",
                    "clock_ms",
                ]
            )
        ),
        (
            "Admission",
            answer(
                "admission",
                ["id": count, "state": reference("State"), "cluster_certificate": text, "cluster_key": text]
            )
        ),
        ("Ticket", answer("ticket", ["ticket": text])),
        ("LeaderAdmission", answer("admission", ["id": count, "state": reference("State")])),
        (
            "Heartbeat",
            object([
                "name": text, "cluster_id": text, "generation": count, "incarnation": count, "version": text,
                "schema_version": count, "clock_ms": signed, "wait_ms": count, "agent": flag, "joining": flag,
                "run": text, "beats": count, "former_beats": count,
            ])
        ),
        (
            "HeartbeatAnswer",
            answer(
                "heartbeat",
                [
                    "generation": count, "leader": orNull(text), "leader_address": text, "leader_run": orNull(text),
                    "leader_beats": count,
                ],
                optional: ["leader_address", "leader_run", "leader_beats"]
            )
        ),
        (
            "RotationOrder",
            object([
                "cluster_id": text, "step": choice(["accept", "use", "finish"]), "certificate": text, "key": text,
            ])
        ),
        ("RotationStep", answer("rotation", ["fingerprint": text])),
        ("RemovalNotice", object(["cluster_id": text])),
        ("RemovalReceipt", answer("removal", ["name": text])),
    ]
}
