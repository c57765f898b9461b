import FanCore
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import TestSupport
import Testing

@testable import FanServer

/// Starts and ends of a membership at the same time: what is gone leaves nothing behind.
@Suite(.serialized) struct ResumeTests {
    private func expectNothing(_ node: TestServers.Node, _ server: Server, _ place: Comment) throws {
        let state = server.local.state.withLock { $0 }
        guard case .unconfigured = state.standing else {
            Issue.record("\(state.standing), \(place)")
            return
        }
        #expect(state.closeListener == nil && state.work == nil, place)
        #expect(try server.local.directory.membership() == nil, place)
        #expect(try node.call("GET", "/1.0/local").document.text("state") == "unconfigured", place)
    }

    /// `leave --force` on a node whose server cannot start, while that is tried again.
    @Test func aRetryLeavesNoFailureBehindWhoLeaves() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.add()
        let server = node.server
        let membership = Membership(
            clusterID: String(repeating: "c", count: 32),
            id: 1,
            name: "node1",
            address: node.address,
            isJoining: false
        )
        for round in 0..<100 {
            // It has no certificates.
            try server.local.directory.save(membership)
            server.local.resume { _ in true }
            #expect(try node.call("GET", "/1.0/local").document.text("state") == "failed")
            let isOver = Monitor(false)
            let retries = Monitor(0)
            for _ in 0..<2 {
                startThread("retry") {
                    while !isOver.withLock({ $0 }) {
                        server.local.resume { $0.failure != nil }
                        usleep(500)
                    }
                    retries.withLock { $0 += 1 }
                }
            }
            let left = try node.call("POST", "/1.0/leave", ["force": true])
            #expect(left.status == 200, "round \(round): \(left.document.json)")
            isOver.withLock { $0 = true }
            let ended: Bool? = retries.wait(timeout: .seconds(10)) { $0 == 2 ? true : nil }
            try #require(ended == true)
            try expectNothing(node, server, "round \(round)")
        }
    }

    /// Other members can reach a server that starts, and say that it was removed.
    @Test func whoIsRemovedWhileItStartsIsGone() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.addFirst()
        for round in 0..<5 {
            node.server.stop()
            let options = Server.Options(stateDirectory: "\(node.directory)/state", runtimeDirectory: node.directory)
            let server = try Server(options)
            node.server = server
            let isOver = Monitor(false)
            startThread("removal") {
                var member: ClusterNode?
                while member == nil { member = server.local.member }
                if let member { server.local.forgetRemoved(member) }
                isOver.withLock { $0 = true }
            }
            try server.start(localSocket: listenUnix(path: options.socket, mode: 0o600, group: nil))
            let ended: Bool? = isOver.wait(timeout: .seconds(30)) { $0 ? true : nil }
            try #require(ended == true)
            try expectNothing(node, server, "round \(round)")
            #expect(try eventually { try node.call("GET", "/1.0/local").document.flag("agent") })
            #expect(try node.call("POST", "/1.0/init", servers.initBody(node)).status == 200, "round \(round)")
        }
    }

    /// Whoever is a member again by then is not the one that was removed.
    @Test func aRemovalIsOfTheMembershipThatItWasFoundFor() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.addFirst()
        let former = try #require(node.server.local.member)
        #expect(try node.call("POST", "/1.0/leave").status == 200)
        #expect(try node.call("POST", "/1.0/init", servers.initBody(node)).status == 200)
        node.server.local.forgetRemoved(former)
        #expect(try node.server.local.directory.membership() != nil)
        #expect(try node.call("GET", "/1.0/members").status == 200)
    }
}
