import FanLab
import FanSystem
import Foundation
import TestSupport
import Testing

/// Root's own files against the user that the server runs as, who owns `server/` and all below it.
@Suite(.enabled(if: geteuid() == 0)) struct RootPathTests {
    /// Where a trap is put: the server's own directory, or one of those in it.
    enum Place: String, CaseIterable, Sendable {
        case own = "server"
        case database = "server/database"
        case backup = "server/backup-1"
        case deeper = "server/database/a/b"
    }

    /// What is put there.
    enum Trap: String, CaseIterable, Sendable {
        case link = "a symbolic link to a file of root's"
        case directoryLink = "a symbolic link to a directory of root's"
        case hardLink = "a hard link of a file of root's"
        case pipe = "a named pipe"
        case socket = "a socket"
        case depth = "directories without end"
    }

    static let cases = Place.allCases.flatMap { place in Trap.allCases.map { (place, $0) } }

    /// A trap under an innocent name and under each that the server itself uses.
    @Test(.timeLimit(.minutes(1)), arguments: cases) func aTrapHandsNothingOver(_ place: Place, _ trap: Trap) throws {
        let names = place == .own ? ["innocent", "membership", "members.new", "lock"] : ["innocent"]
        for name in names {
            let bench = try TrapBench()
            try bench.asUser("mkdir -p '\(bench.path(place.rawValue))'")
            try bench.set(trap, at: bench.path("\(place.rawValue)/\(name)"))
            let end = try bench.runServer()
            try bench.expectUntouched("\(trap.rawValue) at \(place.rawValue)/\(name)")
            // What no server made is named, with what to do about it.
            let says = end.errorOutput
            #expect(end.ending == .exited(1), "\(trap.rawValue) at \(place.rawValue)/\(name): \(end.explanation)")
            #expect(says.contains("'\(bench.path(place.rawValue))/\(name)"), "\(says)")
            #expect(says.contains("remove it") || says.contains("chown"), "\(says)")
            // No recovery follows it either.
            let recovery = try bench.server(["recover"])
            #expect(!recovery.isSuccess, "\(trap.rawValue): \(recovery)")
            try bench.expectUntouched("recover with \(trap.rawValue) at \(place.rawValue)/\(name)")
        }
    }

    /// The same where the whole directory is replaced by something else.
    @Test(arguments: ["server", "server/database"]) func aReplacedDirectoryIsNotFollowed(_ name: String) throws {
        for trap in Trap.allCases where trap != .depth {
            let bench = try TrapBench()
            let path = bench.path(name)
            // The directory above is the user's only in the second case; in the first root must have been careless.
            try name == "server" ? bench.asRoot("rmdir '\(path)'") : bench.asUser("true")
            try bench.set(trap, at: path)
            let end = try bench.runServer()
            try bench.expectUntouched("\(trap.rawValue) as \(name)")
            #expect(end.ending == .exited(1) && end.errorOutput.contains("'\(path)'"), "\(trap): \(end.explanation)")
        }
    }

    /// What an earlier server left as root is given to the user, once, and only what is root's alone.
    @Test func whatRootLeftIsHandedOver() throws {
        let bench = try TrapBench()
        let own = bench.path("server")
        try bench.asRoot(
            "rm -r '\(own)'; mkdir -p -m 700 '\(own)/database' && touch '\(own)/incarnation' '\(own)/database/x'"
        )
        try bench.expectWorks()
        for name in ["", "/incarnation", "/database", "/database/x"] {
            #expect(try bench.owner(own + name) == TrapBench.user, "\(own)\(name)")
        }
        try bench.expectUntouched("a directory of root's")
        // A file with another name elsewhere is not root's alone.
        try bench.asRoot("chown 0 '\(own)' && ln '\(bench.victim)' '\(own)/hard'")
        let refused = try bench.runServer()
        #expect(refused.ending == .exited(1) && refused.errorOutput.contains("'\(own)/hard'"), "\(refused)")
        try bench.expectUntouched("a hard link in a directory of root's")
    }

    /// A server that stays root does not work on what a lesser user can change.
    @Test func aServerOfRootsRefusesAnothersDirectory() throws {
        let bench = try TrapBench()
        try bench.asUser("ln -s '\(bench.victim)' '\(bench.path("server/members.new"))'")
        let end = try bench.runServer(user: nil)
        #expect(end.ending == .exited(1) && end.errorOutput.contains("--user"), "\(end)")
        try bench.expectUntouched("a server of root's")
    }

    /// State and runtime directories below a directory that a lesser user can change.
    @Test(arguments: ["server", "agent", "up"]) func nothingIsMadeWhereOthersRule(_ verb: String) throws {
        for option in ["--state-dir", "--runtime-dir"] where verb != "up" || option == "--state-dir" {
            let bench = try TrapBench()
            let base = bench.path("theirs")
            try bench.asRoot("install -d -o \(TrapBench.user) '\(base)'")
            try bench.asUser("ln -s '\(bench.vault)' '\(base)/link'; mkdir '\(base)/real'; chmod 777 '\(base)/real'")
            for (name, culprit) in [("link", base), ("real", base), ("new/deep", base)] {
                let end = try bench.fanmesh([option, "\(base)/\(name)", verb])
                #expect(!end.isSuccess, "\(verb) \(option) \(name): \(end.explanation)")
                #expect(end.errorOutput.contains("use '\(culprit)'"), "\(verb) \(option) \(name): \(end)")
                #expect(end.errorOutput.contains("chown root"), "\(end)")
                try bench.expectUntouched("\(verb) \(option) \(name)")
            }
            // A directory of root's that everybody may write to.
            let open = bench.path("open")
            try bench.asRoot("install -d -m 777 '\(open)'")
            let end = try bench.fanmesh([option, open, verb])
            #expect(!end.isSuccess && end.errorOutput.contains("chmod go-w '\(open)'"), "\(verb) \(option): \(end)")
        }
    }

    /// Where only root could put names, links of root's are followed as ever, and /tmp is no obstacle.
    @Test func rootsOwnLinksAreFollowed() throws {
        let bench = try TrapBench()
        let target = bench.path("target")
        try bench.asRoot("mkdir '\(target)' && ln -s target '\(bench.path("alias"))'")
        try bench.expectWorks(state: bench.path("alias"))
        #expect(try bench.owner("\(target)/server") == TrapBench.user)
    }
}

/// A node's directories, a file of root's to be coveted, and processes of the user that the server runs as.
final class TrapBench {
    static let user: uid_t = 65534

    private let root: String
    let vault: String
    let victim: String
    private let before: String

    func path(_ name: String) -> String { "\(root)/state/\(name)" }

    init() throws {
        root = "/tmp/fanmesh-trap-\(UUID().uuidString.prefix(8))"
        vault = "\(root)/vault"
        victim = "\(vault)/secret"
        before = try Self.shell(
            "mkdir -m 711 -p '\(root)/state' '\(vault)' && install -d -m 700 -o \(Self.user) '\(root)/state/server' "
                + "&& echo secret >'\(victim)' && chmod 600 '\(victim)' && mkdir -m 700 '\(vault)/inner' "
                + "&& touch '\(vault)/inner/file'; \(Self.picture(vault))"
        )
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    private static var directory: String { Programs.directory + "/" }

    @discardableResult
    private static func shell(_ script: String, _ prefix: [String] = []) throws -> String {
        let result = try RunningProcess(ProcessRequest(prefix + ["sh", "-c", script])).wait()
        try #require(result.isSuccess, "\(script): \(result.explanation)")
        return result.output
    }

    /// Owner, mode, content and names of what is root's.
    private static func picture(_ vault: String) -> String {
        "cd '\(vault)' && find . -printf '%p %U %G %m %y %s\\n' | sort && cat secret"
    }

    func asRoot(_ script: String) throws { try Self.shell(script) }

    func asUser(_ script: String) throws {
        try Self.shell(script, ["setpriv", "--reuid=\(Self.user)", "--regid=\(Self.user)", "--clear-groups"])
    }

    func owner(_ path: String) throws -> uid_t {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.ownerAccountID] as? NSNumber).uint32Value
    }

    /// Sets a trap with the user's own means, where the user has them.
    func set(_ trap: RootPathTests.Trap, at path: String) throws {
        let theirs = { [self] (script: String) in
            // In a directory of root's only root can, and what it makes is given to the user.
            let isTheirs = try owner(String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)])) == Self.user
            try isTheirs ? asUser(script) : asRoot("\(script); chown -h \(Self.user) '\(path)'")
        }
        switch trap {
        case .link: try theirs("ln -s '\(victim)' '\(path)'")
        case .directoryLink: try theirs("ln -s '\(vault)' '\(path)'")
        // fs.protected_hardlinks is off unless a distribution turns it on; then only root can show what it prevents.
        case .hardLink: try asRoot("ln '\(victim)' '\(path)'")
        case .pipe: try theirs("mkfifo '\(path)'")
        case .socket:
            try theirs(
                "cd \"$(dirname '\(path)')\" && python3 -c \"import socket as s; s.socket(1).bind('\(name(path))')\""
            )
        case .depth:
            try theirs("mkdir '\(path)' && cd '\(path)' && for i in $(seq 200); do mkdir d && cd d || exit 1; done")
        }
    }

    private func name(_ path: String) -> Substring { path.split(separator: "/").last ?? "" }

    private func arguments(_ user: String?, state: String? = nil) -> [String] {
        ["--state-dir", state ?? "\(root)/state", "--runtime-dir", "\(root)/run"] + (user.map { ["--user", $0] } ?? [])
    }

    /// Runs the server's own program to its end, or for as long as a refusal may take.
    func server(_ verb: [String], user: String? = nil) throws -> ProcessResult {
        let request = ProcessRequest(
            [Self.directory + "fanmesh-server"] + arguments(user) + verb,
            timeout: .seconds(5)
        )
        return try RunningProcess(request).wait()
    }

    func runServer(user: String? = "nobody") throws -> ProcessResult { try server([], user: user) }

    /// Runs fanmesh, which is ended when it does not end by itself.
    func fanmesh(_ words: [String]) throws -> ProcessResult {
        let places = ["--state-dir", "\(root)/state", "--runtime-dir", "\(root)/run"]
        let variables = ["FANMESH_STATE_DIR": places[1], "FANMESH_RUNTIME_DIR": places[3]]
        let command =
            [Self.directory + "fanmesh"] + words + (words.last == "up" ? ["--underlay", "172.31.16.0/20"] : [])
        // In a network of its own, where nothing can come to harm.
        let network = "ip link add u0 type veth peer name u1 && ip addr add 172.31.21.5/20 dev u0 && ip link set u0 up"
        let wrapper = ["unshare", "--net", "sh", "-c", "\(network); exec \"$@\"", "sh"]
        return try RunningProcess(
            ProcessRequest(wrapper + command, environment: variables, timeout: .seconds(5))
        ).wait()
    }

    /// Starts the server, which must come to listen as the user, and ends it.
    func expectWorks(state: String? = nil) throws {
        let request = ProcessRequest([Self.directory + "fanmesh-server"] + arguments("nobody", state: state))
        let process = try RunningProcess(request)
        let lock = "\(state ?? "\(root)/state")/server/lock"
        let isThere = eventually(within: .seconds(10)) { FileManager.default.fileExists(atPath: lock) }
        #expect(isThere && process.isRunning)
        let status = try String(contentsOfFile: "/proc/\(process.id)/status", encoding: .utf8)
        #expect(status.contains("\nUid:" + String(repeating: "\t\(Self.user)", count: 4)), "\(status)")
        process.signal(SIGTERM)
        let end = try process.wait()
        #expect(end.isSuccess, "\(end.explanation)")
    }

    func expectUntouched(_ what: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let after = try Self.shell(Self.picture(vault))
        #expect(after == before, "\(what)", sourceLocation: sourceLocation)
    }
}
