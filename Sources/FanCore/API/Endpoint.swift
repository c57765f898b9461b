/// Everything that can be asked of a server: one method of one path each, by the name that the description gives it.
///
/// What an endpoint is, ``description`` says once: the server routes, forwards and refuses by it, commands and other
/// servers call by it, and ``OpenAPI`` is made of it.
public enum Endpoint: String, CaseIterable, Sendable {
    // This node.
    case greet, describe, watchLocal, reportLocal, sendMessage, takeMessages
    case bootstrap = "init"
    case rehearse, join, leave, readdress
    // The cluster.
    case showCluster, editCluster, rotate, listMembers, showMember, editMember, removeMember, reportMember, moveMember
    case addToken, listTokens, revokeToken, listAudit, dumpDatabase
    // Candidates: whoever has the secret of a token.
    case askAdmission = "knock"
    case redeem
    // Members among themselves.
    case judge, admit, heartbeat, ticket, state, openDatabase, takeCertificate, beRemoved, deliverMessage

    /// Who may call.
    public enum Access: String, Sendable {
        /// Anybody with a certificate, and the local socket.
        case anyone = "Anybody, with any client certificate."
        /// Members, and the local socket.
        case members = "Members, and the local socket."
        /// Other members only.
        case peers = "Other members only."
        /// The local socket only.
        case local = "The local socket only."
    }

    /// Where a request is answered.
    public enum Place: Hashable, Sendable {
        /// By the server that gets it.
        case here
        /// By the leader's server, to which the one that gets it sends it on.
        case leader
        /// By the leader's server, which changes something, once.
        case change(ChangeHints)
    }

    /// What is said to whoever does not learn what became of a change.
    public struct ChangeHints: Hashable, Sendable {
        /// How to find out.
        public var lookup: String
        /// How long the leader may take, once it has the request; nil when it is soon done.
        public var time: Duration?

        static let settings = ChangeHints(lookup: "'fanmesh cluster edit' without arguments shows the settings")
        static let member = ChangeHints(lookup: "'fanmesh cluster show NAME' shows the member")
        /// Its roles go to others first.
        static let removal = ChangeHints(
            lookup: "'fanmesh cluster list' shows whether it is there",
            time: .seconds(20)
        )
        /// A new token voids the one that was perhaps made.
        static let token = ChangeHints(lookup: "'fanmesh cluster tokens' shows the tokens")
        /// All members are asked three times.
        static let rotation = ChangeHints(lookup: "see the log of the leader", time: .seconds(100))
    }

    /// Something that a request may say in its query.
    public struct Parameter: Hashable, Sendable {
        /// Its name.
        public let name: String
        /// Its range, when it is a number.
        public let number: NumericField?
        let help: String

        private init(_ name: String, _ help: String) {
            self.name = name
            self.help = help
            number = nil
        }

        private init(_ field: NumericField, _ help: String) {
            name = field.key
            self.help = help
            number = field
        }

        /// The generation that the caller knows.
        public static let generation = Parameter(.generation, "Answer when the generation is another one.")
        /// How many seconds an answer may be held back.
        public static let wait = Parameter(.wait, "Answer after this many seconds at the latest.")
        /// Whose agent calls.
        public static let agent = Parameter("agent", "The agent's node id: marks that an agent is connected.")
        /// Whether to remove a member that cannot be asked.
        public static let force = Parameter("force", "1 removes one that is OFFLINE.")
        /// Whether a member takes itself out.
        public static let leaving = Parameter("leaving", "1 when the member asks itself.")
        /// How many entries are wanted.
        public static let limit = Parameter(.limit, "How many at most; 100 unless told.")
    }

    /// Something that a request may say in its head.
    public struct Header: Hashable, Sendable {
        /// Its name.
        public let name: String
        let help: String

        /// What every request to change something may say about itself.
        public static let idempotencyKey = Header(
            name: "Idempotency-Key",
            help: "16 to 128 visible characters that nobody else uses: a second request with the same ones is answered "
                + "as the first one was, and changes nothing more."
        )
        /// Which version of a document the caller saw.
        public static let ifMatch = Header(
            name: "If-Match",
            help: "The ETag that came with the document; 412 when it was changed since."
        )
        /// Which of a member's reports it is.
        public static let report = Header(
            name: "Fanmesh-Report",
            help: "From the member's own server: the number of its start and of the report since then, as 3.17; a "
                + "report that a later one has overtaken is not stored."
        )
        /// The cluster whose database is meant.
        public static let cluster = Header(name: "Fanmesh-Cluster", help: "The cluster_id; 403 when it is another.")
        /// What the connection becomes.
        public static let upgrade = Header(name: "Upgrade", help: "Only fanmesh-database.")
    }

    /// What there is to know about an endpoint.
    public struct Description: Sendable {
        /// The method in capital letters.
        public let method: String
        /// The path, with `{name}` for a member's or a token's.
        public let path: String
        private(set) var summary = ""
        /// Who may call.
        public let access: Access
        /// Where it is answered.
        public let place: Place
        /// What it administers, in a word for the audit trail; nil when it does not.
        public private(set) var action: String?
        /// What may be in the query.
        public private(set) var query: [Parameter] = []
        /// What may be in the head, beside what servers say when they send a request on.
        public private(set) var headers: [Header] = []
        /// The schema of the body; nil when there is none.
        let request: String?
        /// The schema of the answer.
        let response: String
        /// What it may be refused with, beside what any request may.
        private(set) var errors: [APIErrorCode] = []

        /// The parts of the path.
        public let parts: [Substring]

        init(
            _ method: String,
            _ path: String,
            _ access: Access,
            _ place: Place = .here,
            takes request: String? = nil,
            gives response: String
        ) {
            (self.method, self.path, self.access, self.place) = (method, path, access, place)
            (self.request, self.response) = (request, response)
            parts = path.split(separator: "/")
        }

        /// The same with a summary.
        func doing(_ summary: String) -> Description {
            var description = self
            description.summary = summary
            return description
        }

        /// The same with what it may be refused with.
        func refusing(_ errors: [APIErrorCode]) -> Description {
            var description = self
            description.errors = errors
            return description
        }

        /// The same with what its request may say beside the body, and what it is in the audit trail.
        func saying(action: String? = nil, query: [Parameter] = [], headers: [Header] = []) -> Description {
            var description = self
            (description.action, description.query, description.headers) = (action, query, headers)
            return description
        }

        /// The names in a path that this is for, nil when it is for others.
        public func match(_ parts: [Substring]) -> [String]? {
            guard parts.count == self.parts.count else { return nil }
            var names: [String] = []
            for (pattern, part) in zip(self.parts, parts) {
                if pattern == "{name}" { names.append(String(part)) } else if pattern != part { return nil }
            }
            return names
        }
    }

    /// All endpoints with what there is to know about them.
    public static let all: [(endpoint: Endpoint, description: Description)] = allCases.map { ($0, $0.described) }

    /// What there is to know about it.
    public var description: Description { Self.descriptions[self] ?? described }

    private static let descriptions = Dictionary(uniqueKeysWithValues: all.map { ($0.endpoint, $0.description) })

    /// The method, such as `GET`.
    public var method: String { description.method }

    /// The target of a request.
    ///
    /// - Parameters:
    ///   - name: what stands in the place of `{name}`, escaped.
    ///   - query: the query; its values escaped.
    /// - Returns: such as `/1.0/members/node2?force=1`.
    public func target(_ name: String = "", query: [(Parameter, String)] = []) -> String {
        let path = description.parts.map { "/\($0 == "{name}" ? name[...] : $0)" }.joined()
        guard !query.isEmpty else { return path }
        return path + "?" + query.map { "\($0.name)=\($1)" }.joined(separator: "&")
    }
}
