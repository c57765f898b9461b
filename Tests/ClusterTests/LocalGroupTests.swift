import FanCore
import FanLab
import TestSupport
import Testing

/// README's threat model, on one host: the local group, and the server that was broken into.
@Suite(.serialized, .enabled(if: isRoot))
struct LocalGroupTests {
    /// A user of the group may administer, and the audit trail says which; another may not even read.
    @Test(.timeLimit(.minutes(2))) func theGroupAdministersAndIsNamed() throws {
        try FormationBench.run("group", nodes: 2, { $0.serverArguments = ["--group", "games"] }) { bench in
            let node = bench.cluster.node(1)
            func fanmesh(as user: Int, group: String, _ words: String...) throws -> ProcessResult {
                try node.namespace.run(
                    ProcessRequest(
                        ["setpriv", "--reuid=\(user)", "--regid=\(user)", "--groups=\(group)", Programs.fanmesh]
                            + ["--state-dir", node.stateDirectory, "--runtime-dir", node.runtimeDirectory] + words
                    )
                )
            }
            let members = try fanmesh(as: 4242, group: "games", "cluster", "list")
            #expect(members.isSuccess && members.output.contains("node2"), "\(members.explanation)")
            let edited = try fanmesh(as: 4242, group: "games", "cluster", "edit", "offline_after_s=9")
            #expect(edited.isSuccess, "\(edited.explanation)")
            let audit = try bench.cluster.require(on: 2, ["cluster", "audit"])
            #expect(audit.contains("4242") && audit.contains("node1"), "\(audit)")
            // It is not root on the host for that: its kernel and its pin are not the group's.
            for words in [["accept", "--yes"], ["down"]] {
                let refused = try fanmesh(as: 4242, group: "games", words[0], words.count > 1 ? words[1] : "--no-color")
                #expect(!refused.isSuccess, "\(words): \(refused.explanation)")
            }
            #expect(try node.namespace.run("ip", "link", "show", "fan0").isSuccess)
            let outsideGroup = try fanmesh(as: 4243, group: "4243", "cluster", "list")
            #expect(
                outsideGroup.ending == .exited(1) && outsideGroup.errorOutput.contains("may not use"),
                "\(outsideGroup)"
            )
        }
    }
}
