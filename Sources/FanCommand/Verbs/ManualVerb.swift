/// `fanmesh manual`: the manual page on standard output.
enum ManualVerb {
    static let command = Command(
        name: "manual",
        summary: "print the manual page",
        examples: [
            Example("fanmesh manual | man -l -", "read it"),
            Example("fanmesh manual > /usr/local/share/man/man8/fanmesh.8", "install it"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        invocation.output.write(ManualPage(root: invocation.root).render())
        return .success
    }
}
