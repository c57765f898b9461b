internal import FanCore
internal import FanStore

/// `fanmesh cluster rotate`: a new cluster certificate on all members.
enum ClusterRotateVerb {
    static let command = Command(
        name: "rotate",
        summary: "replace the cluster's certificate and key on all members",
        discussion: [
            "A removed node still knows the old key. The members take the new one over without an interruption. "
                + "Join tokens that were made before pin the old certificate: make new ones."
        ],
        examples: [Example("fanmesh cluster rotate", "after 'fanmesh cluster remove'")],
        exitNotes: [ExitNote(.success, "replaced")] + ClusterVerb.exitNotes,
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        invocation.progress("replacing the cluster certificate")
        let new = try invocation.administration().rotate()
        let names = Document.array(new.members.map { .string($0) }).plainText
        invocation.show(
            .changes(
                ["the cluster certificate is replaced on \(names); fingerprint \(new.fingerprint)"],
                advice: ["make new tokens for nodes that have not joined yet: fanmesh cluster add NAME"]
            )
        )
        return .success
    }
}
