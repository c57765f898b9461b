import FanCore
import Testing

@testable import FanCommand

@Suite struct ManualTests {
    @Test func describesEveryCommandAndOption() {
        let page = run("manual").output
        #expect(
            page.hasPrefix(".TH \"FANMESH\" \"8\" \"\" \"fanmesh \(FanmeshVersion.text)\" \"System Administration\"\n")
        )
        let sections = page.split(separator: "\n").filter { $0.hasPrefix(".SH ") }.map { $0.dropFirst(4) }
        #expect(
            sections == [
                "\"NAME\"", "\"SYNOPSIS\"", "\"DESCRIPTION\"", "\"OPTIONS\"", "\"COMMANDS\"", "\"EXIT STATUS\"",
                "\"ENVIRONMENT\"", "\"EXAMPLES\"",
            ]
        )
        for path in Command.fanmesh.walk() where path.count > 1 {
            #expect(page.contains(".SS \"\(path.dropFirst().map(\.name).joined(separator: " "))\"\n"))
        }
        for option in Command.fanmesh.walk().flatMap({ $0.last?.options ?? [] }) {
            let escaped = "--\(option.long)".split(separator: "-", omittingEmptySubsequences: false).joined(
                separator: "\\-"
            )
            #expect(page.contains("\\fB\(escaped)\\fP"))
        }
        #expect(page.contains("\\fBFANMESH_STATE_DIR\\fP\nStands in for \\-\\-state\\-dir.\n"))
        #expect(!page.contains("\n\n"))
    }

    @Test func escapesWhatRoffWouldRead() {
        let hostile = Command(
            name: "tool",
            summary: ".so a 'b' \\n \"c\" é — `d` ~ ^",
            discussion: [".SH not a section", "'br neither"],
            options: [GlobalOptions.help],
            subcommands: [Command(name: "go", summary: "go", handler: Fixture.show)]
        )
        let page = ManualPage(root: hostile).render()
        #expect(
            page.contains("\ntool \\- .so a \\(aqb\\(aq \\en \\(dqc\\(dq \\[u00E9] \\[u2014] \\(gad\\(ga \\(ti \\(ha\n")
        )
        #expect(page.contains("\n\\&.SH not a section\n.PP\n\\(aqbr neither\n"))
    }

    /// The formatters, which `.ci/setup` installs, say nothing.
    @Test(arguments: [["groff", "-man", "-Tutf8", "-ww", "-z"], ["man", "--warnings", "-l", "-"]])
    func formatsWithoutWarnings(formatter: [String]) throws {
        for root in [Command.fanmesh, .fixture, CompletionTests.small] {
            let words = ["env", "MANWIDTH=80", "MANPAGER=cat"] + formatter
            let result = try runProgram(words, input: ManualPage(root: root).render())
            #expect(result.status == 0)
            #expect(result.error == "")
            if formatter[0] == "man" {
                #expect(result.output.contains("-q, --quiet") == (root.options.count > 1))
            }
        }
    }
}
