import FanCore
import FanProbe
import Glibc
import TestSupport
import Testing

@testable import FanLab
@testable import FanLink

@Suite(.enabled(if: isRoot))
struct LabTests {
    /// The links of the machine's own namespace.
    private func machineLinks() throws -> [String] {
        var socket = try RouteSocket()
        return try socket.links().map(\.name)
    }

    @Test func hostsAreOnOneUnderlayWithAGateway() throws {
        let plan = try plan("t-underlay", nodes: 3, mtuBytes: 9001)
        let lab = try Lab(plan)
        try lab.makeHosts()
        for node in lab.nodes {
            let facts = try node.namespace.run {
                var socket = try RouteSocket()
                return try socket.hostFacts()
            }
            let device = try #require(facts.link(named: "eth0"))
            #expect(device.mtuBytes == 9001)
            #expect(facts.addresses.contains { $0.address == node.interfaceAddress && $0.linkIndex == device.index })
            #expect(facts.routes.contains { $0.gateway == plan.gateway.address && $0.destination.prefixBits == 0 })
            let choice = try facts.chooseUnderlay(.auto, overlay: plan.mapping.overlay)
            #expect(choice.prefix == plan.mapping.underlay)
            #expect(choice.address == node.address)
            for other in lab.nodes where other != node {
                let ping = try node.namespace.run("ping", "-c1", "-W2", "-Mdo", "-s8973", "\(other.address)")
                #expect(ping.isSuccess, "\(node.name) to \(other.name): \(ping.explanation)")
            }
            #expect(try node.namespace.run("ping", "-c1", "-W2", "\(plan.gateway.address)").isSuccess)
            // Nothing leads out of the machine.
            #expect(try !node.namespace.run("ping", "-c1", "-W1", "192.0.2.1").isSuccess)
        }
        try lab.tearDown()
    }

    @Test(arguments: [
        ("20", "172.31.16.0/20", 3, 2, 1500), ("16", "172.31.0.0/16", 2, 1, 1500), ("24", "10.10.10.0/24", 2, 1, 1500),
        ("12", "10.96.0.0/12", 2, 2, 1500), ("jumbo", "172.31.16.0/20", 2, 1, 9001),
    ])
    func everyPairTalks(name: String, underlay: String, nodes: Int, guests: Int, mtuBytes: Int) throws {
        let plan = try plan("t-pairs-\(name)", underlay: underlay, nodes: nodes, guests: guests, mtuBytes: mtuBytes)
        let lab = try Lab(plan)
        try lab.makeHosts()
        try lab.startOverlay(OverlayStart(executable: Programs.fanmesh, arguments: ["--underlay", "auto"]))
        try lab.makeGuests()
        let result = try lab.check()
        let count = nodes * (1 + guests)
        #expect(result.pairs.count == count * (count - 1))
        #expect(result.echoBytes == mtuBytes - 50)
        #expect(result.failures.map { "\($0.from.name) \($0.to.name) \($0.failure ?? "")" } == [])
        #expect(result.matrix.count == count + 1)
        #expect(result.matrix.allSatisfy { $0.count == count + 1 })
        try lab.tearDown()
    }

    @Test func aBrokenNodeShowsInTheMatrix() throws {
        let lab = try Lab(try plan("t-broken", nodes: 2, guests: 1))
        try lab.makeHosts()
        try lab.startOverlay(OverlayStart(executable: Programs.fanmesh))
        try lab.makeGuests()
        // Its guest keeps talking to its own host, and loses all others.
        #expect(try lab.nodes[1].namespace.run("ip", "link", "set", "fan0-vx", "down").isSuccess)
        let result = try lab.check(timeout: .milliseconds(600))
        #expect(!result.isSuccess)
        let failed = Set(result.failures.map { "\($0.from.name) \($0.to.name)" })
        let own = ["node1", "node1-guest1"]
        let others = ["node2", "node2-guest1"]
        #expect(failed == Set(own.flatMap { a in others.flatMap { b in ["\(a) \(b)", "\(b) \(a)"] } }))
        #expect(result.matrix[1][0] == "node1")
        #expect(result.matrix[1][1] == "-")
        #expect(result.matrix[1][3] == "none")
        try lab.tearDown()
    }

    @Test func theFdbForwarderIsToldItsPeers() throws {
        let lab = try Lab(try plan("t-fdb", nodes: 3, guests: 1))
        try lab.makeHosts()
        let start = OverlayStart(executable: Programs.fanmesh, namesPeers: true, arguments: ["--forwarder", "fdb"])
        try lab.startOverlay(start)
        try lab.makeGuests()
        #expect(try lab.check().isSuccess)
        try lab.tearDown()
    }

    @Test func tearingDownLeavesNothing() throws {
        let before = try machineLinks()
        let plan = try plan("t-nothing", nodes: 2, guests: 1)
        do {
            let lab = try Lab(plan)
            try lab.makeHosts()
            try lab.startOverlay(OverlayStart(executable: Programs.fanmesh))
            try lab.makeGuests()
            #expect(try listedNamespaces(ofLab: plan.name).count == 5)
            #expect(try machineLinks() == before)
            try lab.tearDown()
            try lab.tearDown()
            #expect(try listedNamespaces(ofLab: plan.name) == [])
        }
        #expect(!fileExists(plan.directory))
        #expect(try machineLinks() == before)
    }

    @Test func aLabThatFailsHalfwayIsGone() throws {
        let plan = try plan("t-halfway", nodes: 2, guests: 1)
        let outcome = Result { () throws -> Void in
            let lab = try Lab(plan)
            try lab.makeHosts()
            try lab.startOverlay(OverlayStart(executable: "/bin/false"))
        }
        guard case .failure(LabError.command(let node, let command, let result)) = outcome else {
            Issue.record("no overlay error: \(outcome)")
            return
        }
        #expect(node == "node1")
        #expect(command.contains("up --underlay 172.31.16.0/20 --overlay 240.0.0.0/8"))
        #expect(result.ending == .exited(1))
        #expect(try listedNamespaces(ofLab: plan.name) == [])
        #expect(!fileExists(plan.directory))
    }

    @Test func guestsNeedTheOverlay() throws {
        let plan = try plan("t-early", nodes: 1, guests: 1)
        let lab = try Lab(plan)
        try lab.makeHosts()
        #expect(throws: LabError.noBridge(node: "node1", bridge: "fan0")) { try lab.makeGuests() }
        try lab.tearDown()
    }

    @Test func aMissingExecutableIsNamed() throws {
        #expect(throws: LabError.executable("/nowhere/fanmesh", code: ENOENT)) {
            try Lab.requireExecutable("/nowhere/fanmesh")
        }
        #expect(throws: LabError.executable("/etc", code: EACCES)) { try Lab.requireExecutable("/etc") }
    }

    @Test func aNameInUseIsRefused() throws {
        let plan = try plan("t-taken", nodes: 1, guests: 0)
        let lab = try Lab(plan)
        #expect(throws: LabError.running(name: plan.name, owner: getpid())) { _ = try Lab(plan) }
        #expect(throws: LabError.running(name: plan.name, owner: getpid())) { _ = try Lab.down(name: plan.name) }
        try lab.tearDown()
    }

    @Test func aKeptLabStaysUntilItIsTakenDown() throws {
        let plan = try plan("t-kept", nodes: 1, guests: 0)
        try Self.makeAndKeep(plan)
        #expect(try listedNamespaces(ofLab: plan.name).count == 2)
        #expect(throws: LabError.kept(name: plan.name)) { _ = try Lab(plan) }
        #expect(
            try LabTarget("node1", lab: plan.name).environment["FANMESH_STATE_DIR"] == plan.nodes()[0].stateDirectory
        )
        #expect(throws: LabError.noNode("node2", lab: plan.name, known: ["node1", "switch"])) {
            try LabTarget("node2", lab: plan.name)
        }
        #expect(try Lab.down(name: plan.name) == 2)
        #expect(try Lab.down(name: plan.name) == 0)
        #expect(throws: LabError.noLab(name: plan.name)) { try LabTarget("node1", lab: plan.name) }
        #expect(!fileExists(plan.directory))
    }

    private static func makeAndKeep(_ plan: LabPlan) throws {
        let lab = try Lab(plan, staysUp: true)
        try lab.makeHosts()
        try lab.keep()
    }

    @Test func labsLiveSideBySide() throws {
        // One name is the beginning of the other's namespaces.
        let outer = try plan("t-side", nodes: 1, guests: 0)
        let inner = try plan("t-side-node1", nodes: 1, guests: 0)
        let second = try Lab(inner)
        try second.makeHosts()
        do {
            let first = try Lab(outer)
            try first.makeHosts()
            try first.tearDown()
        }
        #expect(try listedNamespaces(ofLab: outer.name) == [])
        #expect(try listedNamespaces(ofLab: inner.name).count == 2)
        try second.tearDown()
        #expect(try listedNamespaces(ofLab: inner.name) == [])
    }

    @Test func whatACrashLeftIsRemovedFirst() throws {
        let plan = try plan("t-leftover", nodes: 1, guests: 0)
        // Half of a lab: a node of an earlier shape, its directory, and a record whose owner is gone.
        try NetworkNamespace.create([NetworkNamespace("fanlab-\(plan.name)-node9")])
        #expect(try run("mkdir", "-p", "\(plan.directory)/node9/state").isSuccess)
        let lab = try Lab(plan)
        #expect(try listedNamespaces(ofLab: plan.name) == [])
        #expect(!fileExists("\(plan.directory)/node9"))
        try lab.makeHosts()
        try lab.tearDown()
    }
}
