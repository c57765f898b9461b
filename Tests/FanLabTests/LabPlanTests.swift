import FanCore
import Testing

@testable import FanLab

struct LabPlanTests {
    @Test(arguments: [
        ("172.31.16.0/20", 200), ("172.31.0.0/16", 500), ("10.10.10.0/24", 253), ("10.96.0.0/12", 1000),
        ("192.168.7.0/29", 5), ("192.168.7.4/30", 1), ("10.64.0.0/10", 1000),
    ])
    func hostsAreDistinctUsableAddresses(underlay: String, nodes: Int) throws {
        let plan = try plan("p", underlay: underlay, nodes: nodes, guests: 1)
        let made = try plan.nodes()
        #expect(made.count == nodes)
        #expect(Set(made.map(\.address)).count == nodes)
        for node in made {
            #expect(plan.mapping.underlay.contains(node.address))
            #expect(node.address != plan.mapping.underlay.network)
            #expect(node.address != plan.mapping.underlay.last)
            #expect(node.address != plan.gateway.address)
            #expect(node.slice.prefix.contains(node.guests[0].address.address))
        }
        #expect(try plan.nodes() == made)
    }

    @Test func hostsDifferInHighAndLowBits() throws {
        let addresses = try plan("p", nodes: 8).nodes().map(\.address.rawValue)
        let everywhere = addresses.reduce(0, |) & ~addresses.reduce(UInt32.max, &)
        // All twelve host bits of the /20 are set somewhere and clear somewhere.
        #expect(everywhere == 0xfff)
    }

    @Test func guestsFollowTheBridgeInTheSlice() throws {
        let node = try plan("p", nodes: 1, guests: 3).nodes()[0]
        let bridge = node.slice.bridgeAddress.address
        #expect(node.guests.map(\.address.address) == (1...3).map { bridge.advanced(by: $0) })
        #expect(node.guests.map(\.address.prefixBits) == [8, 8, 8])
    }

    @Test func namesAndDirectoriesAreDerived() throws {
        let node = try plan("demo").nodes()[1]
        #expect(node.namespace.name == "fanlab-demo-node2")
        #expect(node.guests[1].namespace.name == "fanlab-demo-node2-guest2")
        #expect(node.plan.switchNamespace.name == "fanlab-demo-switch")
        #expect(node.stateDirectory == "/run/fanmesh-lab/demo/node2/state")
        #expect(node.runtimeDirectory == "/run/fanmesh-lab/demo/node2/run")
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let small = try IPv4Prefix(parsing: "10.10.10.0/29")
        #expect(throws: LabError.underlayTooSmall(small, nodes: 6, capacity: 6)) {
            try plan("p", underlay: "10.10.10.0/29", nodes: 6)
        }
        let pair = try IPv4Prefix(parsing: "10.10.10.0/31")
        #expect(throws: LabError.underlayTooSmall(pair, nodes: 1, capacity: 2)) {
            try plan("p", underlay: "10.10.10.0/31", nodes: 1)
        }
        // A /12 in a /8 leaves a /28: sixteen addresses without network, bridge and broadcast.
        #expect(try plan("p", underlay: "10.96.0.0/12", guests: 13).guestCount == 13)
        let slice = try plan("p", underlay: "10.96.0.0/12").nodes()[0].slice.prefix
        #expect(throws: LabError.sliceTooSmall(slice, guests: 14, capacity: 13)) {
            try plan("p", underlay: "10.96.0.0/12", guests: 14)
        }
        let overlay = try IPv4Prefix(parsing: "240.0.0.0/16")
        let underlay = try IPv4Prefix(parsing: "10.0.0.0/8")
        #expect(throws: LabError.mapping(.underlayShorterThanOverlay(underlay: underlay, overlay: overlay))) {
            try plan("p", underlay: "10.0.0.0/8", overlay: "240.0.0.0/16")
        }
        #expect(throws: LabError.nodeCount(0)) { try plan("p", nodes: 0) }
        #expect(throws: LabError.nodeCount(1001)) { try plan("p", nodes: 1001) }
        #expect(throws: LabError.guestCount(-1)) { try plan("p", guests: -1) }
        #expect(throws: LabError.mtu(100)) { try plan("p", mtuBytes: 100) }
    }

    @Test(arguments: ["", "-a", "a-", "A", "a_b", "a/b", "..", String(repeating: "x", count: 64)])
    func badNamesAreRefused(name: String) {
        #expect(throws: LabError.invalidName(name)) { try plan(name) }
    }

    @Test func aLabOwnsItsOwnNamespacesOnly() {
        for mine in ["fanlab-a-switch", "fanlab-a-node1", "fanlab-a-node12-guest3"] {
            #expect(LabNames.belongs(mine, toLab: "a"))
        }
        for other in [
            "fanlab-a-b-switch", "fanlab-a-node1-switch", "fanlab-a-node1-node2", "fanlab-a-node", "fanlab-a-node1x",
            "fanlab-a-", "fanlab-a", "fanlab-b-node1", "node1", "fanlab-a-node1-guest1-guest1", "fanlab-a--node1",
        ] {
            #expect(!LabNames.belongs(other, toLab: "a"))
        }
        #expect(LabNames.belongs("fanlab-a-node1-node2", toLab: "a-node1"))
    }

    @Test func recordsSurviveTheirTextForm() throws {
        let record = LabRecord(kind: .kept)
        #expect(LabRecord(parsing: record.text) == record)
        #expect(record.isOwnerAlive)
        var other = record
        other.ownerStart += 1
        #expect(!other.isOwnerAlive)
        #expect(LabRecord(parsing: "kind=kept\nowner=1\n") == nil)
        #expect(LabRecord(parsing: "kind=strange\nowner=1\nowner_start=1\n") == nil)
    }

    @Test func startTimeSkipsOddCommandNames() throws {
        let sleeper = try RunningProcess(ProcessRequest(["sleep", "60"]))
        let mine = try #require(LabRecord.startTime(of: 1))
        let later = try #require(LabRecord.startTime(of: sleeper.id))
        #expect(later > mine)
        sleeper.signal(9)
        _ = try sleeper.wait()
        #expect(LabRecord.startTime(of: sleeper.id) == nil)
    }
}
