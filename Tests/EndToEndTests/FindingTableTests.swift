import Foundation
import Testing

/// Every code that a finding can have, and where its situation is made and its remedy done.
@Suite struct FindingTableTests {
    /// What is done about a code.
    private enum Trial {
        /// The test in which the finding is produced for real, and its remedy mends it.
        case mended(String)
        /// The test in which the finding is produced, and its remedy is not done, because.
        case produced(String, because: String)
        /// Not tried, because.
        case notTried(because: String)
    }

    private static let remedies = "doingWhatTheRemedySaysMendsIt"
    private static let truth = "noStatusIsHealthyWhileSomethingIsNot"

    private static let table: [String: Trial] = [
        "no-overlay": .mended(remedies),
        "overlay-out-of-shape": .mended(remedies),
        "mtu-too-large": .mended(remedies),
        "underlay-down": .mended(remedies),
        "underlay-address-gone": .mended(remedies),
        "route-overlap": .mended(remedies),
        "forwarding-off": .mended(remedies),
        "arp-ignored": .mended("settingsThatStopGuestsAreNamedWithTheirRemedy"),
        "reverse-path": .mended("settingsThatStopGuestsAreNamedWithTheirRemedy"),
        "no-source-check": .mended(remedies),
        "device-not-ours": .mended(remedies),
        "identity-gone": .mended(remedies),
        "machine-changed": .mended(remedies),
        "disk-full": .mended(remedies),
        "agent-not-running": .mended(truth),
        "server-not-running": .mended(truth),
        "probes-failed": .mended(truth),
        "peers-unreachable": .mended(truth),
        "no-quorum": .mended(truth),
        "memory-unreadable": .mended(truth),
        "forward-dropped": .mended("rulesThatDropGuestsAreNamedWithTheirRemedy"),
        "settings-pinned": .mended("noHostFollowsUntilItsRootSaysSo"),
        "clock-skew": .produced(
            "aClockThatIsOffIsWarnedOf",
            because: "the clock is set right by ending the false one, not by NTP"
        ),
        "server-failed": .produced("damagedFilesAreNamed", because: "its remedy is to look at a list"),
        "overlay-contested": .produced(
            "aFightIsBoundedAndSaid",
            because: "its remedy is to find another program; the fake kernel stops the fight"
        ),
        "overlay-failed": .produced(
            "itsOwnFailuresDoNotKeepItBusy",
            because: "its remedy is to mend whatever the message names"
        ),
        "mtu-conflict": .produced("findsMTUsThatDiffer", because: "the pure core; the edit is tested by itself"),
        "agent-silent": .notTried(because: "it needs an agent that hangs; the watchdog replaces that one"),
        "member-not-online": .notTried(because: "it needs two schema versions, of which there is one"),
        "more-warnings": .notTried(because: "it says to mend what is listed above it"),
        "address-conflict": .notTried(because: "the database refuses it; only the pure core produces it"),
        "slice-conflict": .notTried(because: "the database refuses it; only the pure core produces it"),
        "address-changed": .produced(
            "findsAnAddressThatMoved",
            because: "the pure core; 'fanmesh readdress' is tried by itself"
        ),
        "readdress-refused": .produced(
            "whatTheClusterRefusesIsAFinding",
            because: "its remedy is what the cluster said when it refused"
        ),
        "map-conflict": .notTried(because: "hosts are pinned: only a falsified database has it, see settings-pinned"),
        "vni-conflict": .notTried(because: "hosts are pinned: only a falsified database has it, see settings-pinned"),
        "port-conflict": .notTried(because: "hosts are pinned: only a falsified database has it, see settings-pinned"),
    ]

    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func sources(_ directory: String) throws -> [(path: String, text: String)] {
        let base = root.appending(path: directory)
        let files = try #require(FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil))
        return try files.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }.map {
            ($0.path(), try String(contentsOf: $0, encoding: .utf8))
        }
    }

    /// The codes that stand in the sources: those of findings are words with hyphens, those of the API with underscores.
    private static func codes() throws -> Set<String> {
        var codes: Set<String> = []
        for (path, text) in try sources("Sources") where !path.contains("fanmesh-bench") {
            for match in text.matches(of: #/(Finding|add|Setting)\(\s*code: "([a-z-]+)"/#) {
                codes.insert(String(match.2))
            }
        }
        return codes
    }

    @Test func everyCodeIsInTheTable() throws {
        let codes = try Self.codes()
        #expect(codes.count > 25)
        #expect(codes.subtracting(Self.table.keys).isEmpty, "no situation for \(codes.subtracting(Self.table.keys))")
        #expect(Set(Self.table.keys).subtracting(codes).isEmpty, "gone: \(Set(Self.table.keys).subtracting(codes))")
    }

    @Test func everyTestInTheTableIsThereAndNamesTheCode() throws {
        let tests = try Self.sources("Tests").filter { !$0.path.hasSuffix("/FindingTableTests.swift") }
        var notTried: [String] = []
        for (code, trial) in Self.table.sorted(by: { $0.key < $1.key }) {
            switch trial {
            case .mended(let name), .produced(let name, _):
                let file = tests.first { $0.text.contains("func \(name)(") }
                #expect(file?.text.contains(code) == true, "\(code): \(name)")
            case .notTried(let reason): notTried.append("\(code) (\(reason))")
            }
        }
        print("not tried: \(notTried.joined(separator: "; "))")
    }

    /// Nothing tells an operator to delete a device, and nothing a member's operator to bring its overlay up by hand.
    @Test func noRemedyDestroys() throws {
        for (path, text) in try Self.sources("Sources") {
            guard !path.contains("fanmesh-bench"), !path.contains("FanLab") else { continue }
            #expect(!text.contains("ip link del"), "\(path)")
        }
        let member = try #require(try Self.sources("Sources").first { $0.path.hasSuffix("Finding+Cluster.swift") })
        #expect(!member.text.contains("fanmesh up") && !member.text.contains("cluster re"))
        // Those that a single host has with 'fanmesh up' have another one on a member.
        let status = try #require(try Self.sources("Sources").first { $0.path.hasSuffix("NetworkStatus.swift") })
        let line = #"("[^\n]*"\s*(\+ )?)+"#
        let words = #"code: "([a-z-]+)",\s+severity: [.a-z]+,\s+message:\s*\#(line),?\s+remedy: \#(line)"#
        let pattern = try Regex(words)
        // And all of them are in the list of what a status sees by itself.
        for match in status.text.matches(of: #/code: "([a-z-]+)"/#) {
            #expect(status.text.components(separatedBy: "\"\(match.1)\"").count > 2, "\(match.1) is not in the list")
        }
        let found = status.text.matches(of: pattern)
        #expect(found.count >= 8)
        for match in found {
            let text = status.text[match.range]
            guard let remedy = text.range(of: "remedy:"), text[remedy.upperBound...].contains("fanmesh up") else {
                continue
            }
            let code = try #require(match[1].substring)
            #expect(member.text.contains("case \"\(code)\""), "\(code)")
        }
    }
}
