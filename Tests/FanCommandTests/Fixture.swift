@testable import FanCommand

extension Command {
    /// A small table with every kind of option, argument and nesting.
    static let fixture = Command(
        name: "tool",
        summary: "a tool that's for tests",
        options: GlobalOptions.all,
        subcommands: [
            Command(
                name: "send",
                aliases: ["tx"],
                summary: "send [things]: quickly",
                discussion: ["It sends things with a back\\slash and 'quotes'."],
                options: Fixture.sendOptions,
                arguments: [Fixture.node, Fixture.extra],
                examples: [Example("tool send a -n 2", "send two")],
                exitNotes: [ExitNote(.success, "sent"), ExitNote(.problem)],
                handler: Fixture.show
            ),
            Command(
                name: "cluster",
                summary: "look after the cluster",
                options: [Fixture.dryRun],
                subcommands: [
                    Command(
                        name: "list",
                        aliases: ["ls"],
                        summary: "list members",
                        arguments: [CommandArgument(name: "NAME", arity: .variadic, help: "only these")],
                        handler: Fixture.show
                    ),
                    Command(
                        name: "exec",
                        summary: "run a program on a member",
                        arguments: [Fixture.node, CommandArgument(name: "PROGRAM", arity: .rest, help: "the program")],
                        handler: Fixture.show
                    ),
                    Command(
                        name: "role",
                        summary: "set a role",
                        arguments: [
                            Fixture.node, CommandArgument(name: "ROLE", help: "the role", choices: ["voter", "spare"]),
                        ],
                        handler: Fixture.show
                    ),
                ]
            ),
        ]
    )
}

enum Fixture {
    static let count = CommandOption(long: "count", short: "n", kind: .value("N"), help: "how many", defaultValue: "1")
    static let peer = CommandOption(long: "peer", short: "p", kind: .value("ADDR"), help: "a peer", isRepeatable: true)
    static let verbose = CommandOption.flag("verbose", short: "v", help: "say more")
    static let all = CommandOption.flag("all", short: "a", help: "all of them")
    static let colour = CommandOption(long: "colour", kind: .negatable, help: "use colours", defaultValue: "true")
    static let mode = CommandOption(long: "mode", kind: .value("MODE"), help: "how", choices: ["fast", "slow"])
    static let config = CommandOption(long: "config", kind: .value("FILE"), help: "settings", completion: .files)
    static let wait = CommandOption(long: "wait", kind: .value("TIME"), help: "how long", variable: "TOOL_WAIT")
    static let dryRun = CommandOption.flag("dry-run", help: "change nothing")
    static let node = CommandArgument(name: "NODE", help: "a node")
    static let extra = CommandArgument(name: "EXTRA", arity: .optional, help: "more")

    static let sendOptions = [count, peer, verbose, all, colour, mode, config, wait]

    /// Prints what was given, in a fixed order.
    @Sendable static func show(_ invocation: Invocation) throws(CommandFailure) -> ExitCode {
        let selection = invocation.selection
        let options = selection.options.sorted { $0.key < $1.key }.map { "\($0)=\($1.joined(separator: ","))" }
        let arguments = (selection.path.last?.arguments ?? []).map { argument in
            "\(argument.name)=\(invocation.arguments(argument).joined(separator: ","))"
        }
        invocation.output.print(([selection.path.words] + options + arguments).joined(separator: " "))
        return .success
    }
}
