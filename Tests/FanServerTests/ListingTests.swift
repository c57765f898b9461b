import FanCore
import FanHTTP
import FanStore
import FanSystem
import FanTLS
import TestSupport
import Testing

@testable import FanServer

/// The list of the largest cluster that there may be.
@Suite(.serialized) struct ListingTests {
    static let members = 10_000

    /// A report with much in it, and with what contradicts its cluster.
    private static func report(_ nodeID: String, peers: Int) -> NodeReport {
        var report = NodeReport(nodeID: nodeID, version: FanmeshVersion.text, kernel: "6.18.0")
        report.verdict = .error
        report.underlayAddress = IPv4Address(127, 9, 255, 254)
        return report.failing(peers: peers)
    }

    /// Puts members into what a leader knows, each with the report.
    private static func fill(_ leadership: Leadership, to count: Int, with report: NodeReport) {
        leadership.model.withLock { model in
            // Nobody sends heartbeats for them.
            model.state.config.offlineAfter = .seconds(600)
            for number in model.state.members.count + 1...count {
                let name = "node\(number)"
                let address = IPv4Address(127, 9, UInt8(100 + number / 256), UInt8(number % 256))
                model.state.members.append(
                    Member(
                        id: UInt64(number),
                        name: name,
                        nodeID: hexadecimal(randomBytes(16)),
                        address: SocketAddress(address),
                        underlayAddress: address,
                        fingerprint: hexadecimal(randomBytes(32)),
                        version: FanmeshVersion.text,
                        schema: model.state.members[0].schema,
                        joinedAt: 1_795_230_227
                    )
                )
                model.reports[name] = report
                // Some are not heard, and some have another time.
                guard number % 10 != 0 else { continue }
                model.presence.heard(
                    name,
                    at: .now,
                    clockOffset: .milliseconds(number % 7 * 1000),
                    isJoining: false
                )
            }
        }
    }

    private static func leadership(_ node: TestServers.Node) throws -> Leadership {
        try #require(node.server.local.member?.leadership)
    }

    /// The longest that an answer may take: these tests run unoptimised, and under sanitizers too.
    private static let timeout = Duration.seconds(200)

    @Test(.timeLimit(.minutes(10))) func tenThousandMembersAreOneAnswer() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.addFirst()
        let leadership = try Self.leadership(node)
        Self.fill(leadership, to: Self.members, with: Self.report(node.nodeID, peers: 400))
        let report = Self.report(node.nodeID, peers: 4000)
        leadership.model.withLock { $0.reports["node4999"] = report }

        let began = ContinuousClock.now
        let connection = try HTTPConnection.unix(path: "\(node.directory)/server.sock", timeout: .seconds(2))
        defer { connection.close() }
        let response = try connection.request("GET", "/1.0/members", timeout: Self.timeout)
        let answered = began.duration(to: .now)
        let bytes = response.body.count
        print("\(Self.members) members: \(bytes) bytes, \(bytes / Self.members) per row, answered in \(answered)")
        #expect(response.status == 200)
        #expect(bytes < MemberRow.maximumListBytes)

        // The client of the commands takes it too.
        let again = ContinuousClock.now
        let client = ServerClient(runtimeDirectory: node.directory)
        let list = try client.call(.listMembers, timeout: Self.timeout) { document throws(DocumentError) in
            try MemberList(document)
        }
        print("as the client asks and reads it: \(again.duration(to: .now))")
        #expect(list.members.count == Self.members)
        #expect(Set(list.members.map(\.name)).count == Self.members)
        #expect(!list.isStale && list.leader == "node1" && list.warnings.count == 100)
        let row = try #require(list["node4999"])
        #expect(row.state == .online && row.overlay == .error)
        #expect(row.message.hasPrefix("the overlay is broken: node9 at 172.31.16.9 does not answer"))
        #expect(row.peers == MemberRow.Peers(total: 4000, reachable: 3000))
        #expect(row.warnings?.total == 100 && row.warnings?.codes.first == "peer-unreachable")
        #expect(row.clockOffset == .seconds(4999 % 7))
        #expect(list["node5000"]?.state == .unknown || list["node5000"]?.state == .offline)

        // All of it is in one member's own.
        let shown = try node.call("GET", "/1.0/members/node4999").document
        #expect(try MemberStatus(shown).report == report)
        #expect(try shown.text("message").hasSuffix("look whether its agent runs"))
    }

    /// A member asks the leader, and hands on what that says.
    @Test(.timeLimit(.minutes(5))) func anyMemberShowsTheList() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let first = try servers.addFirst()
        let second = try servers.join(through: first)
        let report = Self.report(first.nodeID, peers: 400)
        Self.fill(try Self.leadership(first), to: 300, with: report)
        let lists = try [first, second].map { try MemberList($0.call("GET", "/1.0/members").document) }
        #expect(lists.allSatisfy { $0.members.count == 300 && !$0.isStale })
        #expect(lists.allSatisfy { $0["node299"]?.peers == MemberRow.Peers(total: 400, reachable: 300) })
        #expect(try MemberStatus(second.call("GET", "/1.0/members/node299").document).report == report)
    }

    /// What is shown of a member without a report is the same as ever.
    @Test func aMemberThatHasNotReportedHasARow() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.addFirst()
        let list = try MemberList(node.call("GET", "/1.0/members").document)
        let row = try #require(list["node1"])
        let shown = try MemberStatus(node.call("GET", "/1.0/members/node1").document)
        #expect(row.peers == nil && row.warnings == nil && row.overlay == nil && shown.report == nil)
        #expect(row.nodeID == node.nodeID && row.slice?.description == "240.0.11.0/24" && row.clockOffset == .zero)
        #expect(shown.member.fingerprint.utf8.count == 64 && shown.message == row.message)
    }
}
