import Foundation
import Testing

@testable import FanCommand

/// The executable itself, as a shell runs it.
@Suite struct ProgramTests {
    /// The program lies beside the test bundle.
    private var program: String {
        get throws {
            let tests = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
            let path = tests.deletingLastPathComponent().appendingPathComponent("fanmesh").path
            try #require(FileManager.default.isExecutableFile(atPath: path), "no program at \(path)")
            return path
        }
    }

    private func shell(_ script: String) throws -> (status: Int32, output: String, error: String) {
        try runProgram(["env", "-u", "NO_COLOR", "bash", "-c", "fanmesh=\(Shell.quoted(try program))\n\(script)"])
    }

    @Test func printsAndExits() throws {
        let result = try shell("$fanmesh map 172.31.21.5 -u 172.31.16.0/20 --format compact")
        #expect(result.status == 0 && result.error == "")
        #expect(result.output.contains("bridge_address: 240.80.80.1/8\n"))
        #expect(!result.output.contains("\u{1b}"))
    }

    @Test(arguments: [
        ("$fanmesh map -u 10.0.0.1/8", 2), ("$fanmesh mpa", 2), ("$fanmesh", 2),
        ("$fanmesh --version", 0), ("$fanmesh map x -u 10.0.0.0/8", 2),
    ])
    func exitsWithItsCode(script: String, status: Int32) throws {
        #expect(try shell(script).status == status)
    }

    /// With SIGPIPE at its default and ignored, as systemd leaves it.
    @Test(arguments: ["", "trap '' PIPE;"])
    func endsQuietlyWhenTheReaderHasGone(setUp: String) throws {
        let result = try shell("\(setUp) { sleep 0.2; $fanmesh manual; echo status $? >&2; } | true")
        #expect(result.error == "status 0\n")
    }

    @Test func saysThatOutputWasLost() throws {
        let result = try shell("$fanmesh manual > /dev/full")
        #expect(result.status == 1)
        #expect(result.error == "Error: write standard output: no space left on device (ENOSPC)\n")
    }

    @Test func writesAllToASlowReader() throws {
        let result = try shell("$fanmesh manual | (sleep 0.1; cat) | cksum; $fanmesh manual | cksum")
        let sums = result.output.split(separator: "\n")
        #expect(sums.count == 2 && sums.first == sums.last)
    }

    /// `fanmesh server` becomes the fanmesh-server beside it, wherever it is called from.
    @Test func becomesTheServerBesideIt() throws {
        let result = try shell(
            """
            set -e
            directory=$(mktemp -d /tmp/fan-verbs-XXXXXX)
            trap 'rm -rf "$directory"' EXIT
            cp "$fanmesh" "$directory/fanmesh"
            status=0
            PATH=/usr/bin:/bin "$directory/fanmesh" server 2>&1 || status=$?
            echo "status $status"
            printf '#!/bin/sh\\necho "$0" "$@"; exit 7\\n' > "$directory/fanmesh-server"
            chmod +x "$directory/fanmesh-server"
            ln -s "$directory/fanmesh" "$directory/link"
            cd /
            status=0
            "$directory/link" --state-dir /s --runtime-dir /r server --user me -- 'a b' --log || status=$?
            echo "status $status" "$directory"
            """
        )
        let lines = result.output.split(separator: "\n").map(String.init)
        try #require(lines.count == 5, "\(result)")
        #expect(lines[0].hasPrefix("Error: the program fanmesh-server is missing: it is neither in /tmp/fan-verbs-"))
        #expect(lines[2] == "status 1")
        let directory = lines[4].replacing("status 7 ", with: "")
        #expect(lines[3] == "\(directory)/fanmesh-server --state-dir /s --runtime-dir /r --user me a b --log")
        #expect(lines[4].hasPrefix("status 7 "))
    }

    @Test func survivesWordsThatAreNoText() throws {
        let result = try shell("$fanmesh $'\\xff\\xfe' 2>&1")
        #expect(result.status == 2)
        #expect(result.output.hasPrefix("Error: unknown command '"))
    }
}
