import Testing

@testable import FanCommand

@Suite struct CompletionTests {
    /// Asks bash itself what it would offer for words, the last of them under the cursor.
    private func bash(_ words: [String], root: Command = .fixture) throws -> [String] {
        let script = Shell.bash.completion(of: root)
        let program = """
            set -eu
            \(script)
            complete -p \(root.name) | grep -q -- '-F _\(root.name) '
            compopt() { :; }
            COMP_WORDS=(\(words.map(Shell.quoted).joined(separator: " ")))
            COMP_CWORD=\(words.count - 1)
            _\(root.name)
            printf '%s\\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"}
            """
        let result = try runProgram(["bash", "--norc", "-c", program])
        #expect(result.error == "" && result.status == 0)
        return result.output.split(separator: "\n").map(String.init)
    }

    @Test(arguments: [
        (["tool", ""], ["send", "cluster"]),
        (["tool", "s"], ["send"]),
        (["tool", "x"], []),
        (["tool", "cluster", ""], ["list", "exec", "role"]),
        (["tool", "cluster", "--dry-run", "l"], ["list"]),
        (["tool", "--state-dir", "cluster", "s"], ["send"]),
        (["tool", "--state-dir", "=", "cluster", "s"], ["send"]),
        (["tool", "-q", "cluster", "r"], ["role"]),
        (["tool", "send", ""], []),
        (["tool", "send", "--m"], ["--mode"]),
        (["tool", "tx", "--m"], ["--mode"]),
        (["tool", "send", "--co"], ["--count", "--colour", "--config"]),
        (["tool", "send", "--no"], ["--no-colour"]),
        (["tool", "send", "-n", "2", "--verb"], ["--verbose"]),
        (["tool", "send", "--mode", ""], ["fast", "slow"]),
        (["tool", "send", "--mode", "s"], ["slow"]),
        (["tool", "send", "--mode", "="], ["fast", "slow"]),
        (["tool", "send", "--mode", "=", "f"], ["fast"]),
        (["tool", "send", "--mode=f"], ["--mode=fast"]),
        (["tool", "send", "--count", "-"], []),
        (["tool", "send", "-n", ""], []),
        (["tool", "send", "--", "--m"], []),
        (["tool", "--format", "c"], ["compact", "csv"]),
        (["tool", "send", "a", "--format", "j"], ["json"]),
        (["tool", "cluster", "role", ""], []),
        (["tool", "cluster", "role", "n", ""], ["voter", "spare"]),
        (["tool", "cluster", "role", "-q", "n", "v"], ["voter"]),
        (["tool", "cluster", "ls", "--dry"], ["--dry-run"]),
        (["tool", "cluster", "exec", "n", "--", "-"], []),
        (["tool", "send", "--config", "/etc/host"], ["/etc/hostname", "/etc/hosts"]),
        (["tool", "--state-dir", "/usr/lib/os-"], []),
        (["tool", "--state-dir", "/us"], ["/usr"]),
    ])
    func bashOffers(words: [String], expected: [String]) throws {
        let offered = try bash(words)
        if words.contains("--config") {
            #expect(Set(offered).isSuperset(of: expected))
        } else {
            #expect(offered == expected)
        }
    }

    @Test func bashOffersTheCommandsOfThisProgram() throws {
        let names = Command.fanmesh.subcommands.map(\.name)
        #expect(try bash(["fanmesh", ""], root: .fanmesh) == names)
        #expect(try bash(["fanmesh", "completion", ""], root: .fanmesh) == ["bash", "zsh", "fish"])
        #expect(try bash(["fanmesh", "map", "--underlay-r"], root: .fanmesh) == ["--underlay-round"])
    }

    /// Every shell, which `.ci/setup` installs, accepts the scripts.
    @Test(arguments: Shell.allCases)
    func scriptsAreWellFormed(shell: Shell) throws {
        for root in [Command.fanmesh, .fixture, Self.small] {
            let result = try runProgram([shell.rawValue, "-n", "/dev/stdin"], input: shell.completion(of: root))
            #expect(result.status == 0 && result.error == "")
        }
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func isPrintedByItsCommand(shell: String) {
        let outcome = run("completion \(shell)")
        #expect(outcome.code == .success && outcome.error.isEmpty)
        #expect(outcome.output == Shell(rawValue: shell)?.completion(of: .fanmesh))
        #expect(run("completion \(shell) -q") == outcome)
    }

    @Test func refusesOtherShells() {
        #expect(run("completion tcsh").error.hasPrefix("Error: SHELL cannot be 'tcsh': bash, zsh or fish\n"))
        #expect(run("completion").error.hasPrefix("Error: missing argument SHELL: bash, zsh or fish\n"))
    }

    /// Small enough to read its scripts.
    static let small = Command(
        name: "tool",
        summary: "a tool",
        options: [GlobalOptions.stateDirectory],
        subcommands: [
            Command(
                name: "send",
                aliases: ["tx"],
                summary: "send [it]: it's done",
                options: [Fixture.peer, Fixture.colour, Fixture.mode],
                arguments: [
                    Fixture.node, CommandArgument(name: "ROLE", arity: .optional, help: "a role", choices: ["a", "b"]),
                ],
                handler: Fixture.show
            ),
            Command(
                name: "node",
                summary: "nodes",
                subcommands: [
                    Command(
                        name: "exec",
                        summary: "run a program",
                        arguments: [Fixture.node, CommandArgument(name: "PROGRAM", arity: .rest, help: "the program")],
                        handler: Fixture.show
                    )
                ]
            ),
        ]
    )

    @Test func writesZsh() {
        #expect(Shell.zsh.completion(of: Self.small) == GoldenScripts.zsh)
    }

    @Test func writesFish() {
        #expect(Shell.fish.completion(of: Self.small) == GoldenScripts.fish)
    }
}
