import FanCore
import Foundation
import TestSupport
import Testing

@testable import FanAgent

@Suite struct OverlayManagerTests {
    /// A manager over a fake kernel and a state directory of its own, removed at the end.
    final class Bench {
        let kernel: FakeKernel
        private let directory: TestDirectory
        let manager: OverlayManager
        let state: StateDirectory

        init(_ kernel: FakeKernel) throws {
            self.kernel = kernel
            directory = try TestDirectory()
            state = StateDirectory(path: directory.path)
            manager = OverlayManager(kernel: kernel, state: state)
            try state.save(nodeID: String(repeating: "a", count: 32))
        }
    }

    static func request(_ edit: (inout UpRequest) -> Void = { _ in }) throws -> UpRequest {
        var request = UpRequest()
        request.overlay.overlay = try IPv4Prefix(parsing: "240.0.0.0/8")
        edit(&request)
        return request
    }

    @Test func coldPlanAsText() throws {
        let bench = try Bench(FakeKernel())
        let outcome = try bench.manager.up(Self.request(), dryRun: true)
        let slice = try outcome.spec.mapping.slice(of: outcome.spec.host)
        let bridge = MACAddress.derived(node: String(repeating: "a", count: 32), device: "fan0", slice: slice)
        let vxlan = MACAddress.derived(node: String(repeating: "a", count: 32), device: "fan0-vx", slice: slice)
        let classifier = ClassifierSpec(mapping: outcome.spec.mapping, host: outcome.spec.host, vni: 15_728_640)
        let fence = Fence(outcome.spec, slice: slice, underlayDevice: "eth0")
        #expect(
            outcome.changes.map(\.description) == [
                "add bridge fan0 address \(bridge) mtu 1449",
                "set fan0 ipv6 off",
                "set fan0 arp_notify 1 arp_ignore 1 arp_announce 2 rp_filter 2",
                "set fan0 mtu 1450 (was 1449)",
                "add address 240.80.80.1/8 dev fan0",
                "set fence \(fence.digest) of fan0: guests in 240.80.80.0/20, vxlan 8472 from eth0",
                "add vxlan fan0-vx address \(vxlan) mtu 1450 external dstport 8472 master fan0",
                "set fan0-vx ipv6 off",
                "attach classifiers \(classifier.digest) dev fan0-vx: overlay 240.0.0.0/8 underlay 172.31.16.0/20 "
                    + "host 172.31.21.5 vni 15728640",
                "add fdb \(ClassifierSpec.farAddress) dev fan0-vx master static sticky",
                "set fan0-vx learning off",
                "set fan0-vx up",
                "set fan0 up",
            ]
        )
        #expect(bench.kernel.applied.isEmpty)
        #expect(try bench.state.network("fan0") == nil)
    }

    /// A copy of the disk on another machine gets an identity of its own, and says so.
    @Test func aCopyIsAnotherNode() throws {
        let kernel = try FakeKernel()
        let bench = try Bench(kernel)
        let first = try bench.manager.up(Self.request())
        let copy = StateDirectory(
            path: bench.state.path,
            machine: MachineBinding(machineID: "another", productUUID: nil)
        )
        #expect(try copy.isCopy() && copy.nodeID() == nil && !bench.state.isCopy())
        let manager = OverlayManager(kernel: try FakeKernel(), state: copy)
        #expect(try manager.status(of: first.spec).warnings.map(\.code).contains("machine-changed"))
        let second = try manager.up(Self.request())
        #expect(second.isCopy && second.nodeIDIsNew && second.nodeID != first.nodeID)
        #expect(try !copy.isCopy() && copy.nodeID() == second.nodeID)
        #expect(try !manager.status(of: second.spec).warnings.map(\.code).contains("machine-changed"))
        #expect(try bench.state.isCopy(), "the copy's id is not the original's")
    }

    /// Only a route that goes before the overlay's own takes something from it.
    @Test(arguments: [
        ("240.0.0.0/8", true), ("240.80.0.0/16", true), ("240.1.2.3/32", true), ("240.0.0.0/4", false),
        ("128.0.0.0/1", false), ("0.0.0.0/0", false), ("241.0.0.0/8", false),
    ]) func routesThatTakeItsAddressesAreNamed(_ route: String, _ isTaken: Bool) throws {
        let kernel = try FakeKernel()
        kernel.facts.routes.append(RouteFacts(destination: try IPv4Prefix(parsing: route), linkIndex: 2))
        let bench = try Bench(kernel)
        let spec = try bench.manager.up(Self.request()).spec
        let codes = try bench.manager.status(of: spec).warnings.map(\.code)
        #expect(codes == (isTaken ? ["route-overlap"] : []))
    }

    @Test func theBridgesSysctlsAreSetAndNoOthers() throws {
        let kernel = try FakeKernel()
        let bench = try Bench(kernel)
        _ = try bench.manager.up(Self.request())
        kernel.settings["fan0"]?[.ignores] = 8
        kernel.settings["fan0"]?[.reversePath] = 1
        let mended = try bench.manager.up(Self.request()).changes
        #expect(mended.map(\.description) == ["set fan0 arp_ignore 1 rp_filter 2"])
        #expect(try bench.manager.up(Self.request()).changes.isEmpty)
        // Only a host that forwards does it for its guests.
        kernel.sysctls["net/ipv4/conf/all/forwarding"] = "1"
        #expect(try bench.manager.up(Self.request()).changes.map(\.description) == ["set fan0 forwarding 1"])
        #expect(try bench.manager.up(Self.request()).changes.isEmpty)
    }

    /// Settings that stand in the way, and others that do not.
    @Test(arguments: [
        (["all/arp_ignore": "8"], "sysctl -w net.ipv4.conf.all.arp_ignore=1"),
        (["eth0/arp_ignore": "8"], "sysctl -w net.ipv4.conf.eth0.arp_ignore=1"),
        (["all/arp_ignore": "2", "eth0/arp_ignore": "1"], nil),
        (["all/rp_filter": "1"], "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
        (["eth0/rp_filter": "1"], "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
        (["all/rp_filter": "1", "eth0/rp_filter": "2"], nil),
        (["all/rp_filter": "2", "eth0/rp_filter": "1"], nil),
        (["all/forwarding": "1", "eth0/forwarding": "0"], "sysctl -w net.ipv4.conf.eth0.forwarding=1"),
        (["all/forwarding": "1", "eth0/forwarding": "1"], nil),
        (["all/forwarding": "0", "eth0/forwarding": "0"], nil),
    ]) func settingsInTheWayAreNamed(_ settings: [String: String], _ remedy: String?) throws {
        let kernel = try FakeKernel()
        let bench = try Bench(kernel)
        for (name, value) in settings { kernel.sysctls["net/ipv4/conf/\(name)"] = value }
        kernel.facts.links.append(LinkFacts(index: 3, name: "eth1"))
        let peer = IPv4Address(172, 31, 17, 6)
        // The way to the peer leaves by another device than the one with this host's address.
        kernel.facts.routes.append(RouteFacts(destination: IPv4Prefix(containing: peer, prefixBits: 32), linkIndex: 3))
        let spec = try bench.manager.up(Self.request { $0.peers = [peer] }).spec
        #expect(try bench.manager.status(of: spec).warnings.map(\.remedy) == (remedy.map { ["run: \($0)"] } ?? []))
        kernel.facts.routes.removeLast()
        let codes = try bench.manager.status(of: spec).warnings.map(\.code)
        #expect(!codes.contains("reverse-path"), "the way back leaves where packets come in")
    }

    @Test func pinsOutliveARequestThatDoesNotNameThem() throws {
        let bench = try Bench(FakeKernel())
        let pin = Fence.Pin(port: "veth1", address: IPv4Address(240, 80, 80, 2))
        _ = try bench.manager.up(Self.request { $0.pins = [pin] })
        #expect(try bench.manager.up(Self.request()).changes.isEmpty)
        #expect(try bench.state.network("fan0")?.pins == [pin])
        let changes = try bench.manager.up(Self.request { $0.pins = [] }).changes
        #expect(changes.map(\.action) == ["set"])
        #expect(changes.first?.description.contains("(replacing ") == true)
        for wrong in [
            Fence.Pin(port: "veth1", address: IPv4Address(240, 80, 80, 1)),
            Fence.Pin(port: "veth1", address: IPv4Address(240, 0, 0, 2)),
            Fence.Pin(port: "fan0-vx", address: IPv4Address(240, 80, 80, 2)),
            Fence.Pin(port: "a name too long for it", address: IPv4Address(240, 80, 80, 2)),
        ] {
            #expect(throws: OverlayError.self) { try bench.manager.up(Self.request { $0.pins = [wrong] }) }
        }
    }

    @Test func secondUpChangesNothing() throws {
        let bench = try Bench(FakeKernel())
        _ = try bench.manager.up(Self.request())
        let before = bench.kernel.text
        let steps = bench.kernel.applied.count
        let again = try bench.manager.up(Self.request())
        #expect(again.changes.isEmpty)
        #expect(bench.kernel.applied.count == steps)
        #expect(bench.kernel.text == before)
    }

    static let variants: [@Sendable (inout UpRequest) -> Void] = [
        { _ in },
        { request in
            request.forwarder = .fdb
            request.peers = [IPv4Address(172, 31, 17, 6), IPv4Address(172, 31, 18, 7)]
        },
    ]

    @Test(arguments: variants.indices) func failureAtEachStepIsTakenBack(variant: Int) throws {
        let steps = try Bench(FakeKernel()).manager.up(Self.request(Self.variants[variant])).changes.count
        #expect(steps >= 9)
        for step in 0..<steps {
            let bench = try Bench(FakeKernel())
            let before = bench.kernel.text
            bench.kernel.failAt = step
            #expect(throws: OverlayError.self) { try bench.manager.up(Self.request(Self.variants[variant])) }
            #expect(bench.kernel.text == before, "step \(step)")
            #expect(try bench.state.network("fan0") == nil)
            #expect(try bench.manager.up(Self.request(Self.variants[variant])).changes.count == steps)
        }
    }

    @Test func failureWhileChangingGoesBackToWhatWas() throws {
        let edit: (inout UpRequest) -> Void = { request in
            request.forwarder = .fdb
            request.port = 8473
            request.mtuBytes = 1400
            request.peers = [IPv4Address(172, 31, 17, 6)]
        }
        let cold = try Bench(FakeKernel())
        _ = try cold.manager.up(Self.request())
        let steps = try cold.manager.up(Self.request(edit)).changes
        #expect(steps.contains { $0.description == "delete vxlan fan0-vx" })
        for step in steps.indices {
            let bench = try Bench(FakeKernel())
            _ = try bench.manager.up(Self.request())
            let before = bench.kernel.text
            bench.kernel.failAt = bench.kernel.applied.count + step
            #expect(throws: OverlayError.self) { try bench.manager.up(Self.request(edit)) }
            #expect(bench.kernel.text == before, "step \(step)")
            #expect(try bench.manager.up(Self.request()).changes.isEmpty)
        }
    }

    @Test func acceptedButLostStepIsNoticed() throws {
        let bench = try Bench(FakeKernel())
        let before = bench.kernel.text
        bench.kernel.ignoring = { change in
            if case .setMTU(_, _, 1450) = change { true } else { false }
        }
        let error = #expect(throws: OverlayError.self) { try bench.manager.up(Self.request()) }
        #expect(error?.description.contains("did not last: set fan0 mtu 1450") == true)
        #expect(bench.kernel.text == before)
    }

    @Test func peersComeAndGoAlone() throws {
        let first = IPv4Address(172, 31, 17, 6)
        let second = IPv4Address(172, 31, 18, 7)
        let bench = try Bench(FakeKernel())
        _ = try bench.manager.up(
            Self.request { request in
                request.forwarder = .fdb
                request.peers = [first]
            }
        )
        let outcome = try bench.manager.up(
            Self.request { request in
                request.forwarder = .fdb
                request.peers = [second]
            }
        )
        #expect(
            outcome.changes.map(\.description) == [
                "add fdb 00:00:00:00:00:00 dev fan0-vx dst \(second)",
                "delete fdb 00:00:00:00:00:00 dev fan0-vx dst \(first)",
            ]
        )
    }

    @Test func autoFallsBackAndSaysWhy() throws {
        let bench = try Bench(FakeKernel())
        bench.kernel.loadRefusal = "load program: operation not permitted (EPERM)"
        let outcome = try bench.manager.up(Self.request())
        #expect(outcome.spec.forwarder == .fdb)
        #expect(outcome.forwarderReason == "fell back from ebpf: load program: operation not permitted (EPERM)")
        #expect(throws: OverlayError.self) { try bench.manager.up(Self.request { $0.forwarder = .ebpf }) }
    }

    @Test func aFailureOfTheMomentIsNoReasonForAnotherForwarder() throws {
        let bench = try Bench(FakeKernel())
        bench.kernel.loadFailure = "load program: cannot allocate memory (ENOMEM)"
        let error = #expect(throws: OverlayError.self) { try bench.manager.up(Self.request()) }
        #expect(error?.description.contains("ENOMEM") == true)
        #expect(bench.kernel.applied.isEmpty)
        bench.kernel.loadFailure = nil
        #expect(try bench.manager.up(Self.request()).spec.forwarder == .ebpf)
    }

    @Test func newHostAddressMovesTheSlice() throws {
        let bench = try Bench(FakeKernel())
        _ = try bench.manager.up(Self.request())
        let host = try parse("172.31.22.9/20")
        bench.kernel.facts.addresses[1].address = host
        bench.kernel.facts.routes[1].preferredSource = host.address
        let status = try bench.manager.status(of: #require(try bench.state.network("fan0")))
        #expect(status.verdict == .error)
        #expect(status.warnings.map(\.code) == ["underlay-address-gone"])
        let moved = try bench.manager.up(Self.request()).changes.map(\.description)
        #expect(moved.count == 6)
        #expect(
            moved.count { $0.contains(" address fa:") } == 2,
            "the devices are kept, with addresses of the new slice"
        )
        #expect(moved.contains { $0.hasPrefix("set fence ") && $0.contains("guests in 240.96.144.0/20") })
        #expect(moved.contains("delete address 240.80.80.1/8 dev fan0"))
        #expect(moved.contains("add address 240.96.144.1/8 dev fan0"))
    }

    /// What an earlier version made, whose addresses did not depend on the slice, is kept and given the new ones.
    @Test func devicesOfAnEarlierVersionAreKept() throws {
        let bench = try Bench(FakeKernel())
        _ = try bench.manager.up(Self.request())
        let whole = bench.kernel.text
        let indexes = bench.kernel.facts.links.map(\.index)
        for link in bench.kernel.facts.links.indices {
            let name = bench.kernel.facts.links[link].name
            guard name.hasPrefix("fan0") else { continue }
            bench.kernel.facts.links[link].mac = .derived(node: String(repeating: "a", count: 32), device: name)
        }
        let changes = try bench.manager.up(Self.request()).changes
        #expect(changes.map { "\($0.action) \($0.object)" } == ["set fan0", "set fan0-vx"])
        #expect(bench.kernel.text == whole && bench.kernel.facts.links.map(\.index) == indexes)
    }

    /// A copy of a disk that shows the same marks of a machine everywhere has the same id, and another address.
    @Test func aCopyWithTheSameIDHasOtherAddresses() throws {
        let kernels = try ["172.31.21.5/20", "172.31.21.6/20"].map { try FakeKernel(underlay: $0) }
        for kernel in kernels { _ = try Bench(kernel).manager.up(Self.request()) }
        for name in ["fan0", "fan0-vx"] { #expect(Set(kernels.map { $0.facts.link(named: name)?.mac }).count == 2) }
    }

    @Test func foreignDevicesAreRefusedAndLeft() throws {
        let foreign = [
            LinkFacts(index: 50, name: "fan0", kind: "bridge", mac: MACAddress(rawValue: 0x1234)),
            LinkFacts(index: 50, name: "fan0", kind: "dummy", mac: MACAddress(rawValue: 0x1234)),
            LinkFacts(
                index: 50,
                name: "fan0-vx",
                kind: "vxlan",
                mac: MACAddress(rawValue: 0x1234),
                vxlan: VXLANFacts(vni: 42, port: 4789, isExternal: false, learns: true)
            ),
            LinkFacts(
                index: 50,
                name: "fan0-vx",
                kind: "vxlan",
                mac: MACAddress.derived(node: String(repeating: "a", count: 32), device: "fan0-vx"),
                vxlan: VXLANFacts(vni: 42, port: 4789, isExternal: false, learns: true)
            ),
            LinkFacts(
                index: 50,
                name: "other",
                kind: "vxlan",
                vxlan: VXLANFacts(vni: 7, port: 8472, isExternal: false, learns: true)
            ),
        ]
        for link in foreign {
            let bench = try Bench(FakeKernel())
            bench.kernel.facts.links.append(link)
            let before = bench.kernel.text
            let error = #expect(throws: OverlayError.self) { try bench.manager.up(Self.request()) }
            let text = try #require(error?.description)
            #expect(text.contains("'\(link.name)'"))
            #expect(text.contains(link.whatItIs))
            #expect(bench.kernel.text == before)
            #expect(bench.kernel.applied.isEmpty)
        }
    }

    @Test func downRemovesAllAndMayBeRepeated() throws {
        let bench = try Bench(FakeKernel())
        let before = bench.kernel.text
        _ = try bench.manager.up(Self.request())
        #expect(
            try bench.manager.down(network: "fan0").map(\.description) == [
                "delete vxlan fan0-vx", "delete bridge fan0", "delete fence of fan0",
            ]
        )
        #expect(bench.kernel.text == before)
        #expect(try bench.manager.down(network: "fan0").isEmpty)
        #expect(try bench.manager.networkNames().isEmpty)
    }

    @Test func driftIsReportedAndMended() throws {
        let bench = try Bench(FakeKernel())
        _ = try bench.manager.up(Self.request())
        let before = bench.kernel.text
        bench.kernel.attached["fan0-vx"]?.ingress = nil
        let spec = try #require(try bench.state.network("fan0"))
        #expect(try bench.manager.status(of: spec).warnings.map(\.code) == ["overlay-out-of-shape"])
        #expect(try bench.manager.up(Self.request()).changes.count == 1)
        #expect(bench.kernel.text == before)
        #expect(try bench.manager.status(of: spec).verdict == .healthy)
    }

    @Test func recordsRoundTripAndRefuseDamage() throws {
        let bench = try Bench(FakeKernel())
        let spec = try bench.manager.up(Self.request { $0.peers = [IPv4Address(172, 31, 17, 6)] }).spec
        let text = NetworkRecord.encode(spec)
        #expect(try NetworkRecord.decode(text) == spec)
        var pinned = spec
        pinned.pins = [
            Fence.Pin(port: "veth1", address: IPv4Address(240, 80, 80, 2)),
            Fence.Pin(port: "tap@2", address: IPv4Address(240, 80, 80, 3)),
        ]
        #expect(try NetworkRecord.decode(NetworkRecord.encode(pinned)) == pinned)
        #expect(throws: NetworkRecordError.self) { try NetworkRecord.decode(text + "pins=veth1\n") }
        let lines = text.split(separator: "\n")
        for index in lines.indices where index > 0 {
            var without = lines
            without.remove(at: index)
            #expect(throws: NetworkRecordError.self) { try NetworkRecord.decode(without.joined(separator: "\n")) }
            var twice = lines
            twice.insert(lines[index], at: index)
            #expect(throws: NetworkRecordError.self) { try NetworkRecord.decode(twice.joined(separator: "\n")) }
        }
        #expect(throws: NetworkRecordError.self) { try NetworkRecord.decode(text + "extra=1\n") }
    }
}
