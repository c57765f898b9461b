internal import FanCore
internal import FanStore

/// `fanmesh cluster add`: a join token, and the command to run on the new member.
enum ClusterAddVerb {
    static let name = CommandArgument(
        name: "NAME",
        help: "what the new member shall be called: 1 to 63 of a-z, 0-9 and -"
    )
    static let expiry = CommandOption(
        long: "expiry",
        kind: .value("DURATION"),
        help: "how long the token is valid; without it the cluster's setting, 3h at first"
    )

    static let command = Command(
        name: "add",
        summary: "make a token with which a node joins",
        discussion: [
            "Prints the command to run on the new node; with --quiet the token alone. A token is good for one node of "
                + "that name, once, at any member. A new token for a name voids the one before it, so that it is safe to "
                + "repeat the command when its outcome is not known.",
            "Whoever has the token can join: hand it over as you would a password.",
        ],
        options: [expiry],
        arguments: [name],
        examples: [
            Example("fanmesh cluster add node4", "then run what it prints on node4"),
            Example("fanmesh cluster add node4 -q | ssh node4 fanmesh join -", "both in one line"),
        ],
        exitNotes: [ExitNote(.success, "the token was made")] + ClusterVerb.exitNotes,
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let name = try invocation.memberName(name)
        let lifetime = try invocation.duration(expiry)
        if let lifetime, lifetime < .seconds(1) { throw CommandFailure.badInput("--expiry: at least 1s is needed") }
        let issued = try invocation.administration().addToken(for: name, lifetime: lifetime)
        if invocation.isQuiet {
            invocation.output.print(issued.token)
        } else {
            invocation.show(report(name, issued.token, issued.expiresAt, now: invocation.environment.now()))
        }
        return .success
    }

    private static func report(_ name: String, _ token: String, _ expiry: Timestamp, now: Timestamp) -> Report {
        let left = Duration.seconds(expiry.secondsSince1970 - now.secondsSince1970)
        let command = "fanmesh join \(token)"
        let whole: Document = [
            "schema": "fanmesh.token/v1",
            "name": .string(name),
            "token": .string(token),
            "expires_at": .text(expiry),
            "command": .string(command),
        ]
        let lines = [
            Report.Line("\(name) may join within \(TimeText.length(left)), until \(expiry). On \(name), as root, run:"),
            Report.Line(""),
            Report.Line("  \(command)"),
        ]
        return Report(whole, sections: [.lines(lines)])
    }
}
