import FanCore
import TestSupport
import Testing

/// A row of the members' list is small whatever a member has reported.
@Suite struct MemberRowTests {
    private func status(_ member: Member, _ message: String, _ report: NodeReport?) -> MemberStatus {
        MemberStatus(
            member: member,
            role: .standby,
            state: .offline,
            message: message,
            lastSeen: .milliseconds(86_400_000),
            clockOffset: .milliseconds(-12_345),
            report: report
        )
    }

    @Test func doesNotGrowWithTheReport() throws {
        let mapping = try ClusterFixture.config().mapping
        let member = ClusterFixture.member(7)
        let report = try ClusterFixture.report(of: member).failing(peers: 4000)
        let message = try #require(report.worstWarning.map { "the overlay is broken: \($0.message); \($0.remedy)" })
        let large = status(member, message, report)
        let row = MemberRow(large, mapping: mapping, members: 10_000)
        let bytes = row.document.compactJSON.count
        let whole = large.document(mapping).compactJSON.count
        print("a row: \(bytes) bytes; the whole member: \(whole) bytes")
        #expect(bytes < 600)
        #expect(whole > 100_000)
        #expect(row.peers == MemberRow.Peers(total: 4000, reachable: 3000))
        // The worst first, each once, and no more than there is room for.
        #expect(row.warnings?.total == 100)
        #expect(row.warnings?.codes == ["peer-unreachable", "warning-1", "warning-2"])
        // What is not cut is what the table shows.
        #expect(MemberRow(large, mapping: mapping, members: 100).message == message)
        #expect(row.message.hasSuffix("…") && message.hasPrefix(row.message.dropLast()))
    }

    /// Names, addresses and texts as long as they may be: 10,000 of them still fit.
    @Test(arguments: ["x", "\"", "\u{1b}", "é", "𝕏", "🇪🇺"])
    func theLongestRowsFit(letter: String) throws {
        let name = String(repeating: "n", count: 63)
        let address = IPv4Address(172, 131, 116, 105)
        let member = Member(
            id: (1 << 53) - 1,
            name: name,
            nodeID: String(repeating: "f", count: 32),
            address: SocketAddress(address, port: 65_535),
            underlayAddress: address,
            fingerprint: String(repeating: "f", count: 64),
            failureDomain: name,
            pinnedRole: .standby,
            version: String(repeating: "9", count: 64),
            schema: 1,
            joinedAt: 1_795_230_227
        )
        var report = try ClusterFixture.report(of: ClusterFixture.member(7)).failing(peers: 4000)
        report.warnings = (0..<1000).map { number in
            Finding(code: "\(letter)\(number)", severity: .error, message: "", remedy: "")
        }
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "172.128.0.0/10")
        )
        let status = status(member, String(repeating: letter, count: 5000), report)
        for members in [1, 100, 5000, 7000, 10_000] {
            let row = MemberRow(status, mapping: mapping, members: members)
            let rows = (row.document.compactJSON.count + 1) * members
            #expect(rows < MemberRow.maximumListBytes - 100_000, "\(members)")
            #expect(row.message.hasSuffix("…"))
            #expect(row.warnings?.codes.isEmpty == false)
            #expect(try MemberRow(Document(json: row.document.compactJSON)) == row)
        }
        #expect(MemberRow(status, mapping: mapping, members: 1).document.compactJSON.count < 2000)
    }

    @Test func aShortMessageIsNotCut() throws {
        for message in ["", "fully operational", String(repeating: "x", count: 128), String(repeating: "é", count: 64)]
        {
            let status = status(ClusterFixture.member(1), message, nil)
            #expect(MemberRow(status, mapping: nil, members: 10_000).message == message)
        }
        let status = status(ClusterFixture.member(1), String(repeating: "é", count: 65), nil)
        #expect(
            MemberRow(status, mapping: nil, members: 10_000).message == String(repeating: "é", count: 62) + "…"
        )
    }

    /// What is wrong with every member is not said 10,000 times.
    @Test func manyWarningsAreCounted() {
        let warnings = (0..<10_000).map { number in
            Finding(code: "c\(number % 3)", severity: number % 3 == 2 ? .error : .warning, message: "m", remedy: "r")
        }
        #expect(warnings.bounded(to: 10_000) == warnings)
        let bounded = warnings.bounded(to: 100)
        #expect(bounded.count == 100)
        #expect(bounded.dropLast().allSatisfy { $0.severity == .error })
        #expect(bounded.last?.severity == .error)
        #expect(bounded.last?.message == "9901 more are not listed: 3334 c0, 3333 c1, 3234 c2")
    }
}
