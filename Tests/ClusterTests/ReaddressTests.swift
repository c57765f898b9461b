import FanCore
import FanLab
import FanLink
import Foundation
import TestSupport
import Testing

/// Underlay addresses of members that go, come back, and are replaced, with real daemons.
@Suite(.serialized, .enabled(if: isRoot))
struct ReaddressTests {
    private static func require(_ command: String, on node: LabNode) throws {
        let words = command.split(separator: " ").map(String.init)
        let result = try node.namespace.run(ProcessRequest(words))
        try #require(result.isSuccess, "\(command): \(result.explanation)")
    }

    private static func reaches(_ address: String, from namespace: NetworkNamespace) throws -> Bool {
        let ping = ["ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", address]
        return try namespace.run(ProcessRequest(ping)).isSuccess
    }

    /// An address of the underlay that no node has.
    private static let new = "172.31.22.9"

    private static func replaceAddress(of node: LabNode, by address: String = new) throws {
        try require("ip address add \(address)/20 dev eth0", on: node)
        try require("ip address del \(node.interfaceAddress) dev eth0", on: node)
        // Where the kernel does not promote it, the second address went with the first.
        _ = try node.namespace.run(ProcessRequest(["ip", "address", "replace", "\(address)/20", "dev", "eth0"]))
    }

    @Test(.timeLimit(.minutes(2))) func anAddressOrLinkThatIsAwayChangesNothing() throws {
        try FormationBench.run("away", nodes: 2, guests: 1) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            try cluster.lab.makeGuests()
            let node = cluster.node(1)
            let remote = "\(cluster.node(2).guests[0].address.address)"
            let before = try node.namespace.run { try OverlayShape(LinuxKernel(), "fan0") }
            for (away, back, code) in [
                (
                    "ip address del \(node.interfaceAddress) dev eth0",
                    "ip address add \(node.interfaceAddress) dev eth0", "underlay-address-gone"
                ), ("ip link set eth0 down", "ip link set eth0 up", "underlay-down"),
            ] {
                #expect(try eventually { try Self.reaches(remote, from: node.guests[0].namespace) })
                try Self.require(away, on: node)
                let status = try eventually("the finding \(code)") {
                    let status = try cluster.fanmesh(on: 1, ["status"])
                    return status.output.contains(code) ? status : nil
                }
                #expect(status.ending == .exited(1) && !status.output.contains("fanmesh readdress"), "\(status)")
                try Self.require(back, on: node)
                #expect(try eventually { try Self.reaches(remote, from: node.guests[0].namespace) })
                #expect(try eventually { try cluster.fanmesh(on: 1, ["status"]).isSuccess })
                #expect(try node.namespace.run { try OverlayShape(LinuxKernel(), "fan0") } == before)
            }
            try cluster.waitUntilOnline()
        }
    }

    @Test(.timeLimit(.minutes(2))) func theOverlayFollowsTheUnderlaysMTU() throws {
        try FormationBench.run("mtu", nodes: 1) { bench in
            let node = bench.cluster.node(1)
            func mtu(_ device: String) throws -> Int? {
                try node.namespace.run {
                    var socket = try RouteSocket()
                    return try socket.link(named: device)?.mtuBytes
                }
            }
            for bytes in [1400, 1500] {
                try Self.require("ip link set eth0 mtu \(bytes)", on: node)
                let isThere = try eventually(within: .seconds(5)) {
                    try mtu("fan0") == bytes - 50 && mtu("fan0-vx") == bytes - 50
                }
                #expect(isThere)
            }
        }
    }

    /// The member that leads, with others and alone: its server moves as well.
    @Test(.timeLimit(.minutes(2)), arguments: [1, 3]) func aLeaderMoves(_ nodes: Int) throws {
        try FormationBench.run("lead\(nodes)", nodes: nodes) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            if nodes > 1 {
                _ = try cluster.wait(for: "three voters", from: 1) { list in
                    list.members.allSatisfy { $0.role == .voter }
                }
            }
            let number = try bench.leader()
            let node = cluster.node(number)
            let slice = try node.plan.mapping.slice(of: IPv4Address(parsing: Self.new))
            try Self.replaceAddress(of: node)
            let moved = try cluster.fanmesh(on: number, ["readdress", "--yes"])
            #expect(moved.isSuccess, "\(moved)\n\(cluster.logs(of: number))")
            let isMoved = eventually(within: .seconds(40)) {
                let list = try? cluster.list(from: number)
                let row = list?.members.first { $0.name == node.name }
                return row?.underlayAddress == slice.host && list?.members.allSatisfy { $0.state == .online } == true
            }
            #expect(isMoved, "\(cluster.logs(lastLines: 20))")
            #expect(try eventually { try cluster.fanmesh(on: number, ["status"]).isSuccess })
            // What was written stays, and it survives a restart there.
            try cluster.require(on: number, ["cluster", "edit", "mtu=1300"])
            try cluster.process(.server, on: number)?.kill()
            try cluster.start(.server, on: number)
            let isBack = eventually(within: .seconds(30)) {
                (try? cluster.list(from: number))?.members.allSatisfy { $0.state == .online } == true
            }
            #expect(isBack, "\(cluster.logs(of: number))")
        }
    }

    @Test(.timeLimit(.minutes(3)), arguments: ["hold", "renumber"]) func aReplacedAddressIsAnotherSlice(
        _ policy: String
    ) throws {
        try FormationBench.run("new-\(policy.prefix(3))", nodes: 3, members: 2, guests: 1) { bench in
            let cluster = bench.cluster
            let token = try cluster.token(for: 3)
            try cluster.require(on: 3, ["join", token, "--on-address-change", policy])
            try cluster.waitUntilOnline()
            try cluster.lab.makeGuests()
            let node = cluster.node(3)
            let slice = try node.plan.mapping.slice(of: IPv4Address(parsing: Self.new))
            let before = try node.namespace.run { try OverlayShape(LinuxKernel(), "fan0") }
            let index = try node.namespace.run { try LinuxKernel().hostFacts().link(named: "fan0")?.index }
            try Self.replaceAddress(of: node)
            if policy == "hold" {
                let status = try eventually("the plan") {
                    let status = try cluster.fanmesh(on: 3, ["status"])
                    return status.output.contains("\(slice.prefix)") ? status : nil
                }
                #expect(status.output.contains("slice \(node.slice.prefix) -> \(slice.prefix)"), "\(status)")
                #expect(status.ending == .exited(1) && status.output.contains("fanmesh readdress"))
                let rehearsed = try cluster.fanmesh(on: 3, ["readdress", "--dry-run"])
                #expect(rehearsed.isSuccess && rehearsed.output.contains("\(slice.prefix)"), "\(rehearsed)")
                #expect(try node.namespace.run { try OverlayShape(LinuxKernel(), "fan0") } == before)
                // Another member's address is not to be had.
                let taken = "\(cluster.node(2).address)"
                try Self.require("ip address add \(taken)/20 dev eth0 noprefixroute", on: node)
                let refused = try cluster.fanmesh(on: 3, ["readdress", "--underlay-address", taken, "--yes"])
                #expect(refused.ending == .exited(1), "\(refused)")
                try Self.require("ip address del \(taken)/20 dev eth0", on: node)
                #expect(try node.namespace.run { try OverlayShape(LinuxKernel(), "fan0") } == before)
                let moved = try cluster.fanmesh(on: 3, ["readdress", "--yes"])
                #expect(moved.isSuccess, "\(moved)\n\(cluster.logs(of: 3))")
            }
            let log = cluster.logs(of: 3)
            let isMoved = try eventually(within: .seconds(40)) {
                let row = try cluster.list(from: 1).members.first { $0.name == node.name }
                return row?.underlayAddress == slice.host && row?.state == .online
                    && row?.address.address == slice.host
            }
            let list = try cluster.fanmesh(on: 1, ["cluster", "list"])
            #expect(isMoved, "\(list)\n\(log)")
            #expect(try eventually { try cluster.fanmesh(on: 3, ["status"]).isSuccess })
            let facts = try node.namespace.run { try LinuxKernel().hostFacts() }
            #expect(facts.link(named: "fan0")?.index == index, "the bridge was kept")
            #expect(facts.addresses.contains { $0.address == slice.bridgeAddress })
            // A guest with an address of the new slice reaches the others and is reached.
            let guest = node.guests[0].namespace
            let address = "\(slice.firstGuest)"
            _ = try guest.run(ProcessRequest(["ip", "address", "flush", "dev", "eth0", "scope", "global"]))
            #expect(try guest.run(ProcessRequest(["ip", "address", "add", "\(address)/8", "dev", "eth0"])).isSuccess)
            let other = cluster.node(1).guests[0]
            #expect(try eventually { try Self.reaches("\(other.address.address)", from: guest) })
            #expect(try Self.reaches(address, from: other.namespace))
        }
    }
}
