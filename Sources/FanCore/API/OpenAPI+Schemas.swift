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

    private static let memberRow: Document = [
        "name": text, "node_id": text, "address": text, "underlay_address": text, "slice": orNull(text), "role": role,
        "pinned_role": orNull(role), "leader": flag, "state": choice(MemberState.self), "message": text,
        "overlay": orNull(choice(Verdict.self)), "version": text, "last_seen_ms": orNull(number(.lastSeen)),
        "clock_offset_ms": orNull(number(.clockOffset)), "failure_domain": text,
        "peers": orNull(object(["total": number(.total), "reachable": number(.reachable)])),
        "warnings": orNull(object(["total": number(.total), "codes": list(text)])),
    ]

    /// One member is what its row is, and all that the row leaves out.
    private static let wholeMember: Document = .object(
        memberRow.fields + [
            Document.Field(key: "member", value: reference("Member")),
            Document.Field(key: "report", value: orNull(reference("Report"))),
        ]
    )

    private static let things: [(name: String, schema: Document)] = [
        (
            "Config",
            object([
                "cluster_id": text, "overlay": text, "underlay": text, "network": text, "vni": number(.vni),
                "port": number(.port),
                "mtu": orNull(number(.mtu)), "forwarder": anyForwarder, "offline_after_s": number(.offlineAfter),
                "voters": number(.voters),
                "standbys": number(.standbys), "token_expiry_s": number(.tokenExpiry), "administrators": text,
            ])
        ),
        (
            "Member",
            object([
                "id": number(.id), "name": text, "node_id": text, "address": text, "underlay_address": text,
                "fingerprint": text, "failure_domain": text, "pinned_role": orNull(role), "version": text,
                "schema_version": number(.schemaVersion), "incarnation": number(.incarnation),
                "joined_at": number(.joinedAt),
            ])
        ),
        ("MemberRow", object(memberRow)),
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
                    "forwarder": orNull(forwarder), "mtu": orNull(number(.reportedMTU)),
                    "vni": orNull(number(.reportedVNI)), "port": orNull(number(.reportedPort)),
                    "counters": orNull(
                        object([
                            "forwarded": number(.forwarded), "spoofed": number(.spoofed), "outside": number(.outside),
                            "unsupported": number(.unsupported),
                        ])
                    ),
                    "peers": list(
                        object([
                            "name": text, "reachable": flag, "rtt_ms": orNull(number(.roundTrip, isWhole: false)),
                            "diagnosis": text,
                        ])
                    ),
                    "warnings": list(reference("Warning")), "version": text, "kernel": text,
                    "generation": number(.generation),
                ]
            )
        ),
        (
            "State",
            answer(
                "state",
                [
                    "generation": number(.generation), "config": reference("Config"),
                    "members": list(reference("Member")),
                ]
            )
        ),
    ]

    private static let answers: [(name: String, schema: Document)] = [
        (
            "API",
            answer(
                "api",
                [
                    "api": choice(["1.0"]), "version": text, "schema_version": number(.schemaVersion),
                    "configured": flag,
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
                    "state": choice(ClusterSnapshot.State.self), "message": text, "generation": number(.generation),
                    "name": orNull(text), "config": orNull(reference("Config")), "members": list(reference("Member")),
                    "quorum": flag, "leader": orNull(text), "agent": flag,
                ]
            )
        ),
        ("Receipt", answer("receipt", ["generation": number(.generation), "stored": flag])),
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
                    "members": number(.members), "voters": list(text), "standbys": list(text), "spares": list(text),
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
                    "members": list(reference("MemberRow")), "leader": orNull(text), "quorum": flag, "stale": flag,
                    "tolerance": text, "warnings": list(reference("Warning")),
                ]
            )
        ),
        ("MemberAnswer", answer("member", wholeMember)),
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
        (
            "Audit",
            answer(
                "audit",
                [
                    "entries": list(
                        object([
                            "at": text, "member": text, "caller": text, "action": text, "subject": text, "detail": text,
                            "outcome": text,
                        ])
                    )
                ]
            )
        ),
        ("Revocation", answer("revocation", ["name": text])),
        (
            "Rotation",
            answer("rotation", ["fingerprint": text, "members": list(text), "revoked_tokens": number(.revokedTokens)])
        ),
        (
            "Dump",
            answer("dump", ["member": text, "digest": text, "bytes": number(.bytes)])
        ),
        ("Empty", object([:])),
    ]

    private static let requests: [(name: String, schema: Document)] = [
        (
            "Init",
            request(
                [
                    "name": text, "address": text, "underlay_address": text, "underlay": text, "overlay": text,
                    "network": text, "vni": number(.vni), "port": number(.port), "mtu": orNull(number(.mtu)),
                    "forwarder": anyForwarder,
                    "failure_domain": text, "offline_after_s": number(.offlineAfter), "voters": number(.voters),
                    "standbys": number(.standbys),
                    "token_expiry_s": number(.tokenExpiry),
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
                "offline_after_s": number(.offlineAfter), "voters": number(.voters), "standbys": number(.standbys),
                "token_expiry_s": number(.tokenExpiry),
                "mtu": orNull(number(.mtu)), "forwarder": anyForwarder, "administrators": text,
            ])
        ),
        (
            "MemberChange",
            request(["failure_domain": text, "role": choice(DatabaseRole.allCases.map(\.rawValue) + ["auto"])])
        ),
        ("TokenRequest", request(["name": text, "expiry_s": orNull(number(.expiry))], required: ["name"])),
    ]

    /// What candidates and members say to each other.
    private static let internals: [(name: String, schema: Document)] = [
        (
            "Candidate",
            request(
                [
                    "name": text, "secret": text, "node_id": text, "address": text, "underlay_address": text,
                    "fingerprint": text, "failure_domain": text, "version": text,
                    "schema_version": number(.schemaVersion),
                    "clock_ms": number(.clock),
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
                ["id": number(.id), "state": reference("State"), "cluster_certificate": text, "cluster_key": text]
            )
        ),
        ("Ticket", answer("ticket", ["ticket": text])),
        ("LeaderAdmission", answer("admission", ["id": number(.id), "state": reference("State")])),
        (
            "Heartbeat",
            object([
                "name": text, "cluster_id": text, "generation": number(.generation),
                "incarnation": number(.incarnation), "version": text,
                "schema_version": number(.schemaVersion), "clock_ms": number(.clock), "wait_ms": number(.heartbeatWait),
                "agent": flag, "joining": flag,
                "run": text, "beats": number(.beats), "former_beats": number(.formerBeats),
                "leads_term": orNull(number(.leadsTerm)),
            ])
        ),
        (
            "HeartbeatAnswer",
            answer(
                "heartbeat",
                [
                    "generation": number(.generation), "leader": orNull(text), "leader_address": text,
                    "leader_run": orNull(text),
                    "leader_beats": number(.leaderBeats), "leader_term": number(.leaderTerm),
                    "voters": list(object(["address": text])),
                ],
                optional: ["leader_address", "leader_run", "leader_beats", "leader_term", "voters"]
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
