internal import FanCore
internal import FanTLS

/// The tag of a document that several may edit: the same for the same content, on every member.
///
/// It holds a digest of each field, so that who comes with an older one can be told which fields changed since.
struct EntityTag: Equatable {
    /// How many hexadecimal digits a field has in the tag.
    private static let digits = 12

    /// The fields in their order, each with its digest.
    private let fields: [(name: String, digest: String)]

    /// The tag of the cluster's settings.
    init(_ config: ClusterConfig) {
        self.init(fields: config.document.fields)
    }

    /// The tag of what may be edited of a member; its number tells it from a later one of its name.
    init(_ member: Member) {
        self.init(member: member.document)
    }

    private init(member document: Document) {
        self.init(fields: document.fields.filter { ["id", "failure_domain", "pinned_role"].contains($0.key) })
    }

    private init(fields: [Document.Field]) {
        self.fields = fields.map { field in
            let text = Document.object([field]).compactJSON
            return (field.key, String(sha256Hex(text).prefix(Self.digits)))
        }
    }

    /// The tag of what an answer shows; nil when it is nothing that is edited.
    init?(answer: Document) {
        switch answer["schema"] {
        case "fanmesh.cluster-info/v1", "fanmesh.config/v1": self.init(fields: answer["config"].fields)
        case "fanmesh.member/v1", "fanmesh.member-record/v1": self.init(member: answer["member"])
        default: return nil
        }
    }

    /// The tag as `ETag` and `If-Match` have it.
    var text: String { "\"\(fields.map(\.digest).joined())\"" }

    static func == (a: EntityTag, b: EntityTag) -> Bool { a.text == b.text }

    /// Which fields changed since a tag was given out.
    ///
    /// - Parameter condition: the value of `If-Match`: tags with commas between them, or `*` for any.
    /// - Returns: nil when none did; empty when it cannot be told which, as with a tag of something else.
    func changes(since condition: String) -> [String]? {
        let tags = condition.split(separator: ",").map { $0.filter { $0 != " " } }
        guard !tags.contains("*"), !tags.contains(text) else { return nil }
        guard let tag = tags.first, tag.utf8.count == text.utf8.count, tag.hasPrefix("\""), tag.hasSuffix("\"") else {
            return []
        }
        let former = Array(tag.utf8.dropFirst().dropLast())
        return fields.indices.filter { index in
            let start = index * Self.digits
            return !fields[index].digest.utf8.elementsEqual(former[start..<(start + Self.digits)])
        }.map { fields[$0].name }
    }
}
