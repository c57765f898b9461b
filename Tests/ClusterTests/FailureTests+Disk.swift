import FanCore
import FanHTTP
import FanLab
import FanStore
import FanSystem
import FanTLS
import Glibc
import Testing

extension FailureTests {
    /// Starts a server that sees a small disk of its own under its files; it goes with the server.
    static func startOnSmallDisk(_ lab: FailureLab, _ number: Int) throws {
        let directory = lab.directory(number)
        let script = "mkdir -p \(directory) && mount -t tmpfs -o size=96m,mode=700 none \(directory) && exec \"$@\""
        try lab.cluster.start(
            .server,
            on: number,
            through: ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
        )
    }

    /// Where a server's files are for others than itself.
    static func seen(_ lab: FailureLab, _ number: Int) throws -> String {
        let process = try #require(lab.cluster.process(.server, on: number))
        return "/proc/\(process.id)/root\(lab.directory(number))"
    }

    /// Writes large reports until one is refused, or somebody else leads.
    static func writeUntilItMatters(_ lab: FailureLab, through number: Int, leader: Int) throws -> StoreError? {
        let client = lab.cluster.client(of: number)
        var report = try #require(try lab.cluster.report(of: number, from: number))
        for round in 0..<600 {
            report.warnings = (0..<40).map { line in
                Finding(
                    code: "large",
                    severity: .warning,
                    message: "\(round) \(line) " + String(repeating: "x", count: 1200),
                    remedy: "none"
                )
            }
            do throws(StoreError) {
                try client.call(.reportMember, of: "node\(number)", body: report.document)
            } catch { return error }
            if round % 20 == 19, try lab.leader(from: number) != leader { return nil }
        }
        return nil
    }

    @Test(.timeLimit(.minutes(3))) func aFullDiskLosesNothing() throws {
        let start = { (lab: FailureLab) in
            for number in [1, 2] { try Self.startOnSmallDisk(lab, number) }
            try lab.cluster.start(.server, on: 3)
            for number in lab.numbers { try lab.cluster.start(.agent, on: number) }
            for number in lab.numbers { try lab.cluster.waitUntilReady(number) }
        }
        try FailureLab.run("full", start: start) { lab in
            _ = try Self.write(lab, on: 3, "before")
            for round in 1...2 {
                let leader = try lab.leader()
                // First the leader's disk, then a follower's.
                let full = round == 1 ? leader : leader % 3 + 1 == 3 ? (leader + 1) % 3 + 1 : leader % 3 + 1
                try #require(full != 3, "node3 leads")
                let filler = "\(try Self.seen(lab, full))/filler"
                _ = try RunningProcess(ProcessRequest(["dd", "if=/dev/zero", "of=\(filler)", "bs=64k"])).wait()
                let refusal = try Self.writeUntilItMatters(lab, through: 3, leader: leader)
                // The other two are a quorum with room: either writes go on, or the error says what is full.
                if let refusal {
                    #expect(refusal.refusal?.code == "disk_full", "\(refusal)")
                    #expect(refusal.remedy?.contains("free space") == true, "\(refusal)")
                }
                print(
                    "the disk of node\(full) was full, node\(leader) led: "
                        + "\(refusal.map { "\($0)" } ?? "all writes went on"); now node\(try lab.leader(from: 3)) leads"
                )
                #expect(try lab.tokens(from: 3).contains("before"))
                try lab.run("rm", filler)
                let freed = ContinuousClock.now
                try lab.waitUntilWhole()
                try lab.wait(for: "writes") { try lab.writeToken("after-\(round)", on: full).isSuccess }
                print("node\(full) is back \(freed.duration(to: .now)) after its disk has room")
            }
            #expect(try lab.tokens(from: 2).isSuperset(of: ["before", "after-1", "after-2"]))
            try lab.expectSameData()
        }
    }

    @Test(.timeLimit(.minutes(1))) func aSingleNodeWithAFullDiskSaysSo() throws {
        let start = { (lab: FailureLab) in
            try Self.startOnSmallDisk(lab, 1)
            try lab.cluster.start(.agent, on: 1)
            try lab.cluster.waitUntilReady(1)
        }
        try FailureLab.run("alone", nodes: 1, start: start) { lab in
            _ = try Self.write(lab, on: 1, "before")
            let filler = "\(try Self.seen(lab, 1))/filler"
            _ = try RunningProcess(ProcessRequest(["dd", "if=/dev/zero", "of=\(filler)", "bs=64k"])).wait()
            let refusal = try #require(try Self.writeUntilItMatters(lab, through: 1, leader: 1))
            print("a single node with a full disk: \(refusal)")
            #expect(refusal.refusal?.code == "disk_full", "\(refusal)")
            #expect(refusal.remedy?.contains("free space") == true, "\(refusal)")
            #expect(try lab.cluster.list(from: 1).members.count == 1)
            try lab.run("rm", filler)
            try lab.wait(for: "writes, after the disk has room") { try lab.writeToken("after", on: 1).isSuccess }
            #expect(try lab.tokens(from: 1).isSuperset(of: ["before", "after"]))
        }
    }

    /// A member's clock is an hour off, as its heartbeats say.
    @Test(.timeLimit(.minutes(1))) func aClockThatIsOffIsWarnedOf() throws {
        try FailureLab.run("clock") { lab in
            let leader = try lab.leader()
            let off = leader % 3 + 1
            let node = lab.cluster.node(off)
            let snapshot = try ClusterSnapshot(try lab.cluster.client(of: off).call(.watchLocal))
            let incarnation = try File.read("\(lab.directory(off))/incarnation").flatMap {
                Int($0.prefix { $0 != "\n" })
            }
            let api = try lab.cluster.client(of: off).call(.greet)
            let schema: Int = try api.integer(.schemaVersion)
            // Its own heartbeats would say otherwise.
            lab.cluster.process(.server, on: off)?.pause()
            defer { lab.cluster.process(.server, on: off)?.resume() }
            let identity = try lab.identity("node", of: off)
            let trusted = try lab.identity("cluster", of: off).fingerprint
            let heartbeat: Document = [
                "name": .string(node.name), "cluster_id": .string(try #require(snapshot.config).clusterID),
                "generation": .number(snapshot.generation), "incarnation": .number(try #require(incarnation)),
                "version": .string(try api.text("version")), "schema_version": .number(schema),
                "clock_ms": .number(Int64(time(nil)) * 1000 + 3_600_000), "wait_ms": .number(0), "agent": .bool(true),
                "joining": .bool(false),
                "run": .string("clock"), "beats": .number(0), "former_beats": .number(1_000_000),
            ]
            let leaderAddress = SocketAddress(lab.cluster.node(leader).address)
            let status = try node.namespace.run {
                let connection = try HTTPConnection.tls(
                    to: leaderAddress,
                    identity: identity,
                    trusting: [trusted],
                    timeout: .seconds(5)
                )
                defer { connection.close() }
                return try connection.request(
                    "POST",
                    "/1.0/internal/heartbeat",
                    body: heartbeat.compactJSON,
                    timeout: .seconds(5)
                ).status
            }
            #expect(status == 200)
            let list = try lab.cluster.fanmesh(on: leader, ["cluster", "list"])
            #expect(list.output.contains("clock-skew"), "\(list)")
            #expect(list.output.contains("ahead of that of node\(leader)"), "\(list)")
            _ = try Self.write(lab, on: leader, "an-hour-off")
            #expect(try lab.tokens(from: leader).contains("an-hour-off"))
            lab.cluster.process(.server, on: off)?.resume()
            try lab.waitUntilWhole()
            try lab.wait(on: leader, ["cluster", "list"]) { !$0.output.contains("clock-skew") }
        }
    }

    /// One file after the other is damaged, on one node.
    @Test(.timeLimit(.minutes(3))) func damagedFilesAreNamed() throws {
        try FailureLab.run("damage") { lab in
            let cluster = lab.cluster
            let directory = lab.directory(3)
            let agent = try #require(cluster.process(.agent, on: 3))
            let database = try File.names(in: "\(directory)/database")
            for name in ["membership", "members", "node.key", "incarnation", "database"] {
                try cluster.process(.server, on: 3)?.stop()
                try lab.run("cp", "-a", directory, "\(directory).good")
                var damaged = "\(directory)/\(name)"
                if name == "database" {
                    // A record of the log in the middle of the oldest file that has one.
                    let names = try File.names(in: damaged).filter { $0.contains("-") && !$0.contains("snapshot") }
                    damaged += "/" + (try #require(names.sorted().first, "\(database)"))
                    try lab.run("dd", "if=/dev/urandom", "of=\(damaged)", "bs=1k", "seek=1", "count=64", "conv=notrunc")
                } else {
                    try lab.run("truncate", "-s", name == "incarnation" ? "0" : "20", damaged)
                }
                try cluster.start(.server, on: 3)
                let told = try lab.wait(on: 3, ["cluster", "list"]) { $0.ending == .exited(1) }
                #expect(told.errorOutput.contains(name == "database" ? "/database" : name), "\(name): \(told)")
                #expect(told.errorOutput.contains("leave --force") || name == "database", "\(name): \(told)")
                print("\(name): \(told.errorOutput)")
                let status = try lab.wait(on: 3, ["status"]) { $0.output.contains("server-failed") }
                #expect(status.isSuccess, "\(status)")
                _ = try Self.write(lab, on: 1, "with-bad-\(name.filter { $0 != "." })")
                if name != "database" {
                    // The first way out: the file itself, while the server runs.
                    try lab.run("cp", "-a", "\(directory).good/\(name)", damaged)
                    try lab.run("rm", "-rf", "\(directory).good")
                    try lab.waitUntilWhole()
                }
            }
            // The other one: a new member.
            try cluster.require(on: 3, ["leave", "--force", "--yes"])
            try cluster.require(on: 1, ["cluster", "remove", "node3", "--force", "--yes"])
            try cluster.join([3])
            try lab.waitUntilWhole()
            #expect(agent.isRunning)
            try lab.expectSameData()
            try Self.expectOldCopyRefused(lab)
        }
    }

    /// A node comes back from a copy of its files, while the cluster went on.
    private static func expectOldCopyRefused(_ lab: FailureLab) throws {
        let cluster = lab.cluster
        let old = 2
        let directory = lab.directory(old)
        try lab.run("rm", "-rf", "\(lab.directory(3)).good")
        try lab.run("cp", "-a", directory, "\(directory).old")
        for number in 1...3 { _ = try write(lab, on: number, "newer-\(number)") }
        // Its heartbeats went on as well.
        usleep(3_000_000)
        try cluster.process(.server, on: old)?.kill()
        try lab.wait(for: "a write without it") { try lab.writeToken("newest", on: 1).isSuccess }
        try lab.run("rm", "-rf", directory)
        try lab.run("mv", "\(directory).old", directory)
        try cluster.start(.server, on: old)
        let told = try lab.wait(on: old, ["cluster", "list"]) { $0.ending == .exited(1) }
        #expect(told.errorOutput.contains("restored from an old copy"), "\(told)")
        #expect(told.errorOutput.contains("leave --force"), "\(told)")
        #expect(try lab.writeToken("from-the-past", on: old).ending == .exited(1))
        // It stays so, also when it starts once more.
        try cluster.process(.server, on: old)?.kill()
        try cluster.start(.server, on: old)
        try lab.wait(on: old, ["cluster", "list"]) { $0.errorOutput.contains("restored from an old copy") }
        _ = try write(lab, on: 1, "unharmed")
        try cluster.require(on: old, ["leave", "--force", "--yes"])
        try cluster.require(on: 1, ["cluster", "remove", "node\(old)", "--force", "--yes"])
        try cluster.join([old], issuer: 1)
        try lab.waitUntilWhole()
        let tokens = try lab.tokens(from: old)
        #expect(tokens.isSuperset(of: ["newer-1", "newer-2", "newer-3", "newest", "unharmed"]))
        try lab.expectSameData()
    }

    /// The files cannot be written: at the start, and later.
    @Test(.timeLimit(.minutes(2))) func aReadOnlyDirectoryIsNamed() throws {
        try FailureLab.run("readonly") { lab in
            let cluster = lab.cluster
            let directory = lab.directory(3)
            try cluster.process(.server, on: 3)?.stop()
            let bind = "mount --bind \(directory) \(directory)"
            let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
            let atStart = try cluster.start(
                .server,
                on: 3,
                through: wrapper + ["\(bind) && mount -o remount,bind,ro \(directory) && exec \"$@\"", "sh"]
            )
            #expect(atStart.waitForEnd(atMost: .seconds(20)))
            #expect(atStart.explanation == "exited with 1")
            #expect(atStart.log().contains(directory) && atStart.log().contains("EROFS"), "\(atStart.log())")
            _ = try Self.write(lab, on: 1, "meanwhile")

            try cluster.start(.server, on: 3, through: wrapper + ["\(bind) && exec \"$@\"", "sh"])
            try cluster.waitUntilReady(3)
            try lab.waitUntilWhole()
            let process = try #require(cluster.process(.server, on: 3))
            // What is open stays writable; all else is not. Made read-only before it covers the directory: a file
            // that the server opens through it in between would refuse that (EBUSY).
            let inside = ["nsenter", "-t", "\(process.id)", "-m", "sh", "-c"]
            let cover = """
                place=$(mktemp -d) && mount --bind \(directory) $place && mount -o remount,bind,ro $place \
                && mount --move $place \(directory) && rmdir $place
                """
            let covered = try RunningProcess(ProcessRequest(inside + [cover])).wait()
            try #require(covered.isSuccess, "\(covered)")
            try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=3"])
            try lab.wait(for: "node3 to log it") {
                process.log().contains("state-not-saved") && process.log().contains("EROFS")
            }
            for round in 1...5 {
                try lab.wait(for: "write \(round)") { try lab.writeToken("ro-\(round)", on: 1).isSuccess }
            }
            let uncovered = try RunningProcess(ProcessRequest(inside + ["umount \(directory)"])).wait()
            try #require(uncovered.isSuccess, "\(uncovered)")
            try lab.waitUntilWhole()
            try lab.expectSameData()
        }
    }
}
