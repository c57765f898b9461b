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

    /// Who may call an operation.
    enum Access: String {
        case anyone = "Anybody, with any client certificate."
        case members = "Members, and the local socket."
        case peers = "Other members only."
        case local = "The local socket only."
    }

    /// One method of one path.
    struct Operation {
        var method: String
        var path: String
        var name: String
        var summary: String
        var access: Access
        var query: [(name: String, schema: Document, help: String)] = []
        /// Fields of the request's head.
        var headers: [(name: String, help: String)] = []
        var request: String?
        var response: String
        /// Beside those that any operation may give.
        var errors: [APIErrorCode] = []
    }

    private static let leaderErrors: [APIErrorCode] = [
        .notConfigured, .noQuorum, .notLeader, .unavailable, .wrongCluster,
    ]
    private static let writeErrors =
        leaderErrors + [
            .blocked, .conflict, .preconditionFailed, .notAdministrator, .unknown, .diskFull,
        ]
    /// What every request to change something may say about itself.
    private static let changeHeaders = [
        (
            name: "Idempotency-Key",
            help: "16 to 128 visible characters that nobody else uses: a second request with the same ones is answered "
                + "as the first one was, and changes nothing more."
        )
    ]
    private static let editHeaders =
        changeHeaders + [
            (name: "If-Match", help: "The ETag that came with the document; 412 when it was changed since.")
        ]
    private static let tokenErrors: [APIErrorCode] = [
        .tokenMalformed, .tokenExpired, .tokenUsed, .tokenRevoked, .tokenUnknown, .wrongCluster,
    ]
    private static let joinErrors =
        writeErrors + tokenErrors + [.alreadyConfigured, .agentMissing, .rehearsalFailed]

    static let operations: [Operation] = [
        Operation(
            method: "get",
            path: "/1.0",
            name: "greet",
            summary: "Says what this is and who is asking.",
            access: .anyone,
            response: "API"
        ),
        Operation(
            method: "get",
            path: "/1.0/openapi.json",
            name: "describe",
            summary: "This description.",
            access: .members,
            response: "Description"
        ),
        Operation(
            method: "get",
            path: "/1.0/local",
            name: "watchLocal",
            summary: "What this node knows of its cluster; with a generation, as soon as it differs.",
            access: .local,
            query: [
                ("generation", number(.generation), "Answer when the generation is another one."),
                ("wait", number(.wait), "Answer after this many seconds at the latest."),
                ("agent", text, "The agent's node id: marks that an agent is connected."),
            ],
            response: "Snapshot"
        ),
        Operation(
            method: "put",
            path: "/1.0/local/report",
            name: "reportLocal",
            summary: "Takes this node's report.",
            access: .local,
            request: "Report",
            response: "Receipt",
            errors: writeErrors + [.notFound]
        ),
        Operation(
            method: "post",
            path: "/1.0/init",
            name: "init",
            summary: "Makes a cluster of this one node.",
            access: .local,
            request: "Init",
            response: "Snapshot",
            errors: [.alreadyConfigured, .agentMissing, .conflict, .diskFull]
        ),
        Operation(
            method: "post",
            path: "/1.0/rehearse",
            name: "rehearse",
            summary: "Tries whether this node could join; nothing is kept on either side.",
            access: .local,
            request: "Join",
            response: "Rehearsal",
            errors: joinErrors
        ),
        Operation(
            method: "post",
            path: "/1.0/join",
            name: "join",
            summary: "Joins a cluster with a token.",
            access: .local,
            request: "Join",
            response: "Snapshot",
            errors: joinErrors
        ),
        Operation(
            method: "post",
            path: "/1.0/leave",
            name: "leave",
            summary: "Hands the roles over, leaves the cluster and forgets it.",
            access: .local,
            request: "Leave",
            response: "Left",
            errors: writeErrors
        ),
        Operation(
            method: "get",
            path: "/1.0/cluster",
            name: "showCluster",
            summary: "The cluster as a whole.",
            access: .members,
            response: "Cluster",
            errors: leaderErrors
        ),
        Operation(
            method: "patch",
            path: "/1.0/cluster",
            name: "editCluster",
            summary: "Changes what the members agree on.",
            access: .members,
            headers: editHeaders,
            request: "ConfigChange",
            response: "ConfigAnswer",
            errors: writeErrors
        ),
        Operation(
            method: "post",
            path: "/1.0/cluster/rotate",
            name: "rotate",
            summary: "Replaces the certificate that the members share.",
            access: .members,
            headers: changeHeaders,
            request: "Empty",
            response: "Rotation",
            errors: writeErrors
        ),
        Operation(
            method: "get",
            path: "/1.0/members",
            name: "listMembers",
            summary: """
                All members and how they stand, less than 8 MiB for 10,000 of them: a row counts the peers and names \
                the codes of the warnings that a member has reported, and a long message is cut in a large cluster; \
                the report and the whole message are at /1.0/members/{name}. Without a quorum what was last known.
                """,
            access: .members,
            response: "Members",
            errors: leaderErrors
        ),
        Operation(
            method: "get",
            path: "/1.0/members/{name}",
            name: "showMember",
            summary: "One member with its record and its whole report.",
            access: .members,
            response: "MemberAnswer",
            errors: leaderErrors + [.notFound]
        ),
        Operation(
            method: "patch",
            path: "/1.0/members/{name}",
            name: "editMember",
            summary: "Changes a member's failure domain or pins its role.",
            access: .members,
            headers: editHeaders,
            request: "MemberChange",
            response: "MemberRecord",
            errors: writeErrors + [.notFound]
        ),
        Operation(
            method: "delete",
            path: "/1.0/members/{name}",
            name: "removeMember",
            summary: "Takes a member out of the cluster; its certificate is refused from then on.",
            access: .members,
            query: [
                ("force", text, "1 removes one that is OFFLINE."), ("leaving", text, "1 when the member asks itself."),
            ],
            headers: changeHeaders,
            response: "Removal",
            errors: writeErrors + [.notFound]
        ),
        Operation(
            method: "put",
            path: "/1.0/members/{name}/report",
            name: "reportMember",
            summary: "Takes a member's report, from any member.",
            access: .members,
            request: "Report",
            response: "Receipt",
            errors: writeErrors + [.notFound]
        ),
        Operation(
            method: "post",
            path: "/1.0/tokens",
            name: "addToken",
            summary: "Makes a join token; an earlier one for the name is void.",
            access: .members,
            headers: changeHeaders,
            request: "TokenRequest",
            response: "IssuedToken",
            errors: writeErrors
        ),
        Operation(
            method: "get",
            path: "/1.0/tokens",
            name: "listTokens",
            summary: "The tokens, without their secrets.",
            access: .members,
            response: "Tokens",
            errors: leaderErrors
        ),
        Operation(
            method: "delete",
            path: "/1.0/tokens/{name}",
            name: "revokeToken",
            summary: "Makes a token void.",
            access: .members,
            headers: changeHeaders,
            response: "Revocation",
            errors: writeErrors + [.notFound]
        ),
        Operation(
            method: "get",
            path: "/1.0/audit",
            name: "listAudit",
            summary: "Who administered the cluster, from where, and what came of it; the newest is the last.",
            access: .members,
            query: [("limit", text, "How many at most, 1 to 1000; 100 unless told.")],
            response: "Audit",
            errors: leaderErrors
        ),
        Operation(
            method: "get",
            path: "/1.0/database/dump",
            name: "dumpDatabase",
            summary: "What the database holds, so that members can be compared.",
            access: .members,
            query: [("local", text, "1 for this node's own copy instead of the leader's.")],
            response: "Dump",
            errors: leaderErrors
        ),
        Operation(
            method: "post",
            path: "/1.0/join/rehearsal",
            name: "knock",
            summary: "A candidate with a token's secret asks whether it could join.",
            access: .anyone,
            request: "Candidate",
            response: "Rehearsal",
            errors: writeErrors + tokenErrors
        ),
        Operation(
            method: "post",
            path: "/1.0/join/redemption",
            name: "redeem",
            summary: "A candidate becomes a member, and the token is used.",
            access: .anyone,
            request: "Candidate",
            response: "Admission",
            errors: writeErrors + tokenErrors + [.rehearsalFailed]
        ),
        Operation(
            method: "post",
            path: "/1.0/internal/rehearsal",
            name: "judge",
            summary: "A member sends a candidate's question on to the leader.",
            access: .peers,
            request: "Candidate",
            response: "Rehearsal",
            errors: writeErrors + tokenErrors
        ),
        Operation(
            method: "post",
            path: "/1.0/internal/redemption",
            name: "admit",
            summary: "A member sends a candidate's redemption on to the leader.",
            access: .peers,
            request: "Candidate",
            response: "LeaderAdmission",
            errors: writeErrors + tokenErrors + [.rehearsalFailed]
        ),
        Operation(
            method: "post",
            path: "/1.0/internal/heartbeat",
            name: "heartbeat",
            summary: "A member says that it is there; answered at once, or when the state changes.",
            access: .peers,
            request: "Heartbeat",
            response: "HeartbeatAnswer",
            errors: leaderErrors + [.notFound, .conflict]
        ),
        Operation(
            method: "get",
            path: "/1.0/internal/ticket",
            name: "ticket",
            summary: "What a member sends along with a change: the leader refuses one that is on its way for too long.",
            access: .peers,
            response: "Ticket",
            errors: leaderErrors
        ),
        Operation(
            method: "get",
            path: "/1.0/internal/state",
            name: "state",
            summary: "The configuration and the members.",
            access: .peers,
            response: "State",
            errors: leaderErrors
        ),
        Operation(
            method: "get",
            path: "/1.0/internal/database",
            name: "openDatabase",
            summary: "Becomes the database's connection by Upgrade: fanmesh-database, answered with 101.",
            access: .peers,
            response: "Empty",
            errors: leaderErrors
        ),
        Operation(
            method: "post",
            path: "/1.0/internal/certificate",
            name: "takeCertificate",
            summary: "The leader tells which step of a rotation to take.",
            access: .peers,
            request: "RotationOrder",
            response: "RotationStep",
            errors: leaderErrors + [.diskFull]
        ),
        Operation(
            method: "post",
            path: "/1.0/internal/removed",
            name: "beRemoved",
            summary: "Tells a former member that it was removed.",
            access: .peers,
            request: "RemovalNotice",
            response: "RemovalReceipt",
            errors: leaderErrors + [.conflict]
        ),
    ]

    /// What any operation may be refused with.
    private static let commonErrors: [APIErrorCode] = [
        .badRequest, .notAuthorized, .tooLarge, .rateLimited, .failed, .timeout,
    ]

    private static let paths: Document = {
        var paths: [Document.Field] = []
        for operation in operations {
            let method = Document.Field(key: operation.method, value: describe(operation))
            if let index = paths.firstIndex(where: { $0.key == operation.path }) {
                paths[index].value = .object(paths[index].value.fields + [method])
            } else {
                paths.append(Document.Field(key: operation.path, value: .object([method])))
            }
        }
        return .object(paths)
    }()

    private static func describe(_ operation: Operation) -> Document {
        var parameters: [Document] = operation.query.map {
            [
                "name": .string($0.name), "in": "query", "required": false, "description": .string($0.help),
                "schema": $0.schema,
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
            Document.Field(key: "operationId", value: .string(operation.name)),
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

    private static func responses(_ operation: Operation) -> Document {
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
