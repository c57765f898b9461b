import FanCore
import FanStore
import FanSystem
import TestSupport
import Testing

@testable import FanServer

/// What every store does alike, that of the embedded database and those without a server.
@Suite(.serialized) struct StoreConformanceTests {
    enum Kind: CaseIterable {
        case memory
        case directory
        case server
    }

    /// Two nodes with a store each, and what makes a cluster of them.
    private final class Rig {
        private enum Place {
            case cluster(any TestCluster)
            case servers(TestServers)
        }

        let stores: [any ClusterStore]
        let nodeIDs: [String]
        let addresses: [IPv4Address]
        private let place: Place

        init(_ kind: Kind) throws {
            if kind == .server {
                let servers = try TestServers()
                let nodes = try (0..<2).map { _ in try servers.add() }
                place = .servers(servers)
                nodeIDs = nodes.map(\.nodeID)
                addresses = nodes.map(\.address.address)
                stores = nodes.map { ServerStore(runtimeDirectory: $0.directory, agent: $0.nodeID) }
            } else {
                let cluster = try (kind == .memory ? TestClusterKind.memory : .directory).make()
                place = .cluster(cluster)
                let names = ["first", "second"]
                nodeIDs = names
                addresses = [11, 12].map { IPv4Address(127, 9, 0, $0) }
                stores = names.map { cluster.store(of: $0) }
            }
        }

        deinit {
            if case .servers(let servers) = place { servers.tearDown() }
        }

        static func mapping() throws -> FanMapping {
            try FanMapping(overlay: IPv4Prefix(parsing: "240.0.0.0/8"), underlay: IPv4Prefix(parsing: "127.9.0.0/16"))
        }

        /// The way to administer the cluster through a node.
        private func administration(_ number: Int) throws -> any ClusterAdministration {
            try #require(stores[number] as? any ClusterAdministration)
        }

        /// Makes the first node a cluster.
        func form() throws {
            switch place {
            case .cluster(let cluster):
                let settings = OverlayConfig(OverlaySettings(try Self.mapping()))
                try cluster.change { $0.settings = settings }
                try cluster.add("node1", nodeIDs[0], at: addresses[0])
            case .servers(let servers):
                let preseed = try Preseed(servers.initBody(servers.nodes[0]))
                try administration(0).bootstrap(preseed, underlayAddress: addresses[0])
            }
        }

        /// Lets the second one join it.
        func join() throws {
            switch place {
            case .cluster(let cluster): try cluster.add("node2", nodeIDs[1], at: addresses[1])
            case .servers(let servers):
                let issued = try administration(0).addToken(for: "node2", lifetime: nil)
                let request = JoinRequest(
                    token: issued.token,
                    name: "node2",
                    address: servers.nodes[1].address,
                    underlayAddress: addresses[1]
                )
                let rehearsal = try administration(1).rehearse(request)
                #expect(rehearsal.members.map(\.name) == ["node1"])
                #expect(rehearsal.checks.allSatisfy { $0.result != .fail }, "\(rehearsal.checks)")
                try administration(1).join(request)
            }
        }

        func set(mtuBytes: Int) throws {
            switch place {
            case .cluster(let cluster): try cluster.change { $0.settings?.mtuBytes = mtuBytes }
            case .servers: try administration(1).edit([.init(key: "mtu", value: .number(mtuBytes))], ifTagged: nil)
            }
        }

        /// Takes the second node out.
        func removeSecond() throws {
            switch place {
            case .cluster(let cluster): try cluster.change { $0.members.removeAll { $0.name == "node2" } }
            case .servers: _ = try administration(1).leave(byForce: false)
            }
        }

        /// Lets the messages that wait for the second node become too old.
        func age() throws {
            func age(_ mailbox: inout Mailbox) {
                mailbox = Mailbox(mailbox.entries.map { .init($0.message, arrived: $0.arrived - Mailbox.lifetime) })
            }
            switch place {
            case .cluster(let cluster): try cluster.change { age(&$0.mail["node2", default: Mailbox()]) }
            case .servers(let servers): servers.nodes[1].server.local.member?.mailbox.withLock { age(&$0) }
            }
        }

        func report(_ number: Int, verdict: Verdict = .healthy) -> NodeReport {
            var report = NodeReport(nodeID: nodeIDs[number], version: "0.9", kernel: "6.18.0")
            report.verdict = verdict
            report.reachability.peers = [.init(name: "node\(2 - number)", isReachable: true)]
            return report
        }

        /// Waits, as an agent does, until a node sees the cluster as wanted.
        func view(_ number: Int, where isWanted: (ClusterView) -> Bool) throws -> ClusterView {
            var version: String?
            return try eventually("a view of node\(number + 1)") {
                let view = try stores[number].watch(after: version, wait: .seconds(20))
                version = view.version
                return isWanted(view) ? view : nil
            }
        }
    }

    /// What a store refuses something with, nil when it does not.
    private func code<Value>(_ body: () throws -> Value) -> String? {
        do { _ = try body() } catch { return (error as? StoreError)?.refusal?.code ?? "\(error)" }
        return nil
    }

    @Test(arguments: Kind.allCases) func aNodeInNoClusterIsSaidToBe(_ kind: Kind) throws {
        let rig = try Rig(kind)
        for (store, number) in zip(rig.stores, 0...) {
            let view = try store.watch(after: nil, wait: .seconds(20))
            #expect(view.standing == .unconfigured && view.settings == nil && view.node == nil)
            #expect(view.members.isEmpty && view.name == nil)
            #expect(code { try store.listing() } == "not_configured")
            #expect(code { try store.report(rig.report(number)) } == "not_configured")
        }
    }

    @Test(arguments: Kind.allCases) func membersSeeThemselvesAndEachOther(_ kind: Kind) throws {
        let rig = try Rig(kind)
        try rig.form()
        let first = try rig.view(0) { $0.standing != .unconfigured }
        #expect(first.name == "node1" && first.node?.underlayAddress == rig.addresses[0])
        #expect(first.node?.nodeID == rig.nodeIDs[0] && first.members.count == 1)
        #expect(first.settings?.mapping == (try Rig.mapping()) && first.settings?.network == "fan0")
        #expect(try rig.stores[1].watch(after: nil, wait: .zero).standing == .unconfigured)
        try rig.join()
        let views = try (0..<2).map { try rig.view($0) { $0.members.count == 2 } }
        #expect(views.map(\.name) == ["node1", "node2"])
        #expect(views[0].members == views[1].members && views[0].settings == views[1].settings)
        #expect(views[1].node?.nodeID == rig.nodeIDs[1])
        try rig.removeSecond()
        #expect(try rig.view(0) { $0.members.count == 1 }.members == first.members)
        #expect(try rig.view(1) { $0.standing == .unconfigured }.node == nil)
    }

    /// Who waits gets another version with the change, and the same one without.
    @Test(arguments: Kind.allCases) func aChangeEndsTheWait(_ kind: Kind) throws {
        let rig = try Rig(kind)
        try rig.form()
        try rig.join()
        let before = try (0..<2).map { number in
            // What a join brings along may change the version once more.
            try eventually("quiet") {
                let view = try rig.view(number) { $0.members.count == 2 }
                return try rig.stores[number].watch(after: view.version, wait: .seconds(1)) == view ? view : nil
            }
        }
        let began = ContinuousClock.now
        let seen = Monitor<[ClusterView]>([])
        for (store, view) in zip(rig.stores, before) {
            startThread("watch", stackBytes: 1 << 20) {
                // A store may answer before there is a change.
                var next = view
                while next.version == view.version,
                    let later = try? store.watch(after: view.version, wait: .seconds(30))
                {
                    next = later
                }
                seen.withLock { [next] in $0.append(next) }
            }
        }
        try rig.set(mtuBytes: 1300)
        let after = try #require(seen.wait(timeout: .seconds(20)) { $0.count == 2 ? $0 : nil })
        #expect(began.duration(to: .now) < .seconds(20))
        #expect(after.allSatisfy { $0.settings?.mtuBytes == 1300 && $0.members == before[0].members })
    }

    @Test(arguments: Kind.allCases) func aReportIsWrittenOnceAndListedEverywhere(_ kind: Kind) throws {
        let rig = try Rig(kind)
        try rig.form()
        try rig.join()
        _ = try rig.view(1) { $0.members.count == 2 }
        #expect(try rig.stores[1].report(rig.report(1)))
        #expect(try !rig.stores[1].report(rig.report(1)))
        for store in rig.stores {
            let list = try store.listing()
            #expect(list.members.map(\.name).sorted() == ["node1", "node2"] && list.hasQuorum && !list.isStale)
            let row = try #require(list["node2"])
            #expect(row.overlay == .healthy && row.peers == MemberRow.Peers(total: 1, reachable: 1))
            #expect(row.nodeID == rig.nodeIDs[1] && row.underlayAddress == rig.addresses[1])
            #expect(row.slice == (try Rig.mapping().slice(of: rig.addresses[1]).prefix))
            #expect(list["node1"]?.overlay == nil)
        }
        #expect(try rig.stores[1].report(rig.report(1, verdict: .error)))
        #expect(try rig.stores[0].listing()["node2"]?.overlay == .error)
    }

    /// A cluster of two that know each other.
    private func formed(_ kind: Kind) throws -> Rig {
        let rig = try Rig(kind)
        try rig.form()
        try rig.join()
        for number in 0..<2 { _ = try rig.view(number) { $0.members.count == 2 } }
        return rig
    }

    private func refusal(_ body: () throws -> Void) -> APIError? {
        do { try body() } catch { return (error as? StoreError)?.refusal }
        return nil
    }

    @Test(arguments: Kind.allCases) func messagesArriveInOrderOnceAndWithTheirSender(_ kind: Kind) throws {
        let rig = try formed(kind)
        let texts = ["", "two", "{\"a\": \"\u{1F600}\n\u{0}\"}", String(repeating: "x", count: Mailbox.longestMessage)]
        for text in texts { try rig.stores[0].send(text, to: "node2") }
        try rig.stores[1].send("own", to: "node2")
        #expect(try rig.stores[0].messages(wait: .zero) == [])
        let messages = try rig.stores[1].messages(wait: .seconds(5))
        #expect(messages.map(\.text) == texts + ["own"])
        #expect(messages.map(\.sender) == texts.map { _ in "node1" } + ["node2"])
        #expect(try rig.stores[1].messages(wait: .zero) == [])
    }

    @Test(arguments: Kind.allCases) func aMessageEndsTheWait(_ kind: Kind) throws {
        let rig = try formed(kind)
        let seen = Monitor<[AgentMessage]?>(nil)
        startThread("messages", stackBytes: 1 << 20) { [store = rig.stores[1]] in
            // A store may answer before there is one.
            var messages: [AgentMessage]? = []
            while messages?.isEmpty == true { messages = try? store.messages(wait: .seconds(30)) }
            seen.withLock { [messages] in $0 = messages ?? [] }
        }
        sleepThread(for: .milliseconds(200))
        let sent = ContinuousClock.now
        try rig.stores[0].send("now", to: "node2")
        #expect(seen.wait(timeout: .seconds(20)) { $0 } == [AgentMessage(from: "node1", "now")])
        #expect(sent.duration(to: .now) < .seconds(3))
    }

    @Test(arguments: Kind.allCases) func whatWaitsIsBoundedAndGetsOld(_ kind: Kind) throws {
        let rig = try formed(kind)
        func send(_ number: Int) -> APIError? { refusal { try rig.stores[number].send("x", to: "node2") } }
        for _ in 0..<Mailbox.share { #expect(send(0) == nil) }
        let full = try #require(send(0))
        #expect(full.code == "rate_limited" && full.status == 429 && full.message.contains("'node2'"), "\(full)")
        // It is one sender's share; another has its own.
        #expect(send(1) == nil)
        let long = refusal {
            try rig.stores[0].send(String(repeating: "x", count: Mailbox.longestMessage + 1), to: "node2")
        }
        #expect(long?.code == "too_large" && long?.message.contains("'node2'") == true)
        try rig.age()
        #expect(send(0) == nil)
        #expect(try rig.stores[1].messages(wait: .zero) == [AgentMessage(from: "node1", "x")])
    }

    @Test(arguments: Kind.allCases) func whoIsNoMemberNeitherSendsNorReceives(_ kind: Kind) throws {
        let rig = try Rig(kind)
        for store in rig.stores {
            #expect(code { try store.send("x", to: "node1") } == "not_configured")
            #expect(code { try store.messages(wait: .zero) } == "not_configured")
        }
        try rig.form()
        try rig.join()
        _ = try rig.view(0) { $0.members.count == 2 }
        let unknown = refusal { try rig.stores[0].send("x", to: "node9") }
        #expect(unknown?.code == "not_found" && unknown?.message.contains("'node9'") == true)
        try rig.removeSecond()
        _ = try rig.view(0) { $0.members.count == 1 }
        #expect(code { try rig.stores[0].send("x", to: "node2") } == "not_found")
        #expect(code { try rig.stores[1].send("x", to: "node1") } == "not_configured")
        #expect(code { try rig.stores[1].messages(wait: .zero) } == "not_configured")
        #expect(try rig.stores[0].messages(wait: .zero) == [])
    }
}
