import CLinux
import FanCore
import FanLab
import Foundation
import Synchronization
import Testing

@testable import FanLink

/// Runs a closure in a network namespace that lives no longer than it.
func inFreshNamespace<R: Sendable>(_ body: @escaping @Sendable () throws -> R) throws -> R {
    let namespace = NetworkNamespace("fanlink-\(UUID().uuidString.prefix(8))")
    try NetworkNamespace.create([namespace])
    defer { #expect(throws: Never.self) { try namespace.delete() } }
    return try namespace.run(body)
}

@Suite(.enabled(if: geteuid() == 0)) struct RouteSocketTests {
    static let mac = MACAddress(rawValue: 0xfa01_0203_0405)
    static let external = VXLANFacts(vni: 0, port: 8472, isExternal: true, learns: false)

    @Test func bridgeIsMadeAsAskedAndOnlyOnce() throws {
        try inFreshNamespace {
            var socket = try RouteSocket()
            try socket.bridgeAdd("br7", mac: Self.mac, mtuBytes: 1449)
            let link = try #require(try socket.link(named: "br7"))
            #expect(link.kind == "bridge")
            #expect(link.mac == Self.mac)
            #expect(link.mtuBytes == 1449)
            #expect(!link.isUp)
            let shown = try RunningProcess(ProcessRequest(["ip", "-d", "link", "show", "br7"])).wait().output
            #expect(shown.contains("mcast_snooping 0"))
            let error = #expect(throws: NetlinkError.self) {
                var socket = try RouteSocket()
                try socket.bridgeAdd("br7", mac: Self.mac, mtuBytes: 1449)
            }
            #expect(error?.description == "add bridge 'br7': file exists (EEXIST)")
            try socket.linkDelete("br7")
            #expect(try socket.link(named: "br7") == nil)
        }
    }

    @Test func bridgeMTUThatWasChangedStays() throws {
        try inFreshNamespace {
            var socket = try RouteSocket()
            try socket.bridgeAdd("br7", mac: Self.mac, mtuBytes: 8950)
            try socket.linkSetMTU("br7", mtuBytes: 8951)
            let master = try #require(try socket.link(named: "br7")).index
            try socket.vethAdd("guest", peer: "inside", mtuBytes: 1500, masterIndex: master)
            #expect(try socket.link(named: "br7")?.mtuBytes == 8951)
            #expect(try socket.link(named: "guest")?.masterIndex == master)
        }
    }

    @Test func vxlanAttributesReadBack() throws {
        try inFreshNamespace {
            var socket = try RouteSocket()
            try socket.bridgeAdd("br7", mac: Self.mac, mtuBytes: 1450)
            let master = try #require(try socket.link(named: "br7")).index
            try socket.vxlanAdd("vx7", mac: Self.mac, mtuBytes: 1450, Self.external, masterIndex: master)
            let external = try #require(try socket.link(named: "vx7"))
            #expect(external.vxlan == Self.external)
            #expect(external.mac == Self.mac)
            #expect(external.masterIndex == master)
            #expect(!external.isUp)
            let wanted = VXLANFacts(
                vni: 15_728_640,
                port: 8473,
                isExternal: false,
                learns: true,
                local: IPv4Address(172, 31, 21, 5)
            )
            try socket.vxlanAdd("vx8", mac: Self.mac, mtuBytes: 1400, wanted, masterIndex: nil)
            let fixed = try #require(try socket.link(named: "vx8"))
            #expect(fixed.vxlan == wanted)
        }
    }

    @Test func errorsCarryTheKernelsOwnWords() throws {
        try inFreshNamespace {
            var socket = try RouteSocket()
            try socket.vxlanAdd("vx7", mac: Self.mac, mtuBytes: 1450, Self.external, masterIndex: nil)
            do throws(NetlinkError) {
                try socket.vxlanAdd("vx8", mac: Self.mac, mtuBytes: 1450, Self.external, masterIndex: nil)
                Issue.record("a second external device took the port")
            } catch {
                #expect(error.code == EEXIST)
                #expect(error.kernelMessage == "A VXLAN device with the specified VNI already exists")
                #expect(
                    error.description
                        == "add vxlan 'vx8': A VXLAN device with the specified VNI already exists: file exists (EEXIST)"
                )
            }
            do throws(NetlinkError) {
                try socket.linkDelete("absent")
                Issue.record("an absent link was deleted")
            } catch {
                #expect(error.code == ENODEV)
            }
        }
    }

    @Test func withoutPrivilegeNothingIsMade() throws {
        try inFreshNamespace {
            #expect(fan_drop_capabilities() == 0)
            var socket = try RouteSocket()
            do throws(NetlinkError) {
                try socket.bridgeAdd("br7", mac: Self.mac, mtuBytes: 1450)
                Issue.record("a bridge was made without privilege")
            } catch {
                #expect(error.description == "add bridge 'br7': operation not permitted (EPERM)")
            }
            #expect(try socket.links().map(\.name) == ["lo"])
        }
    }

    @Test func addressesRoutesAndFloodEntries() throws {
        try inFreshNamespace {
            var socket = try RouteSocket()
            try socket.vethAdd("near", peer: "far", mtuBytes: 1500)
            try socket.linkSet("near", up: true)
            try socket.linkSet("far", up: true)
            let index = try #require(try socket.link(named: "near")).index
            let address = InterfaceAddress(IPv4Address(172, 31, 21, 5), prefixBits: 20)
            let second = InterfaceAddress(IPv4Address(172, 31, 21, 6), prefixBits: 20)
            try socket.addressAdd(address, linkIndex: index, link: "near")
            try socket.addressAdd(second, linkIndex: index, link: "near")
            try socket.routeAdd(
                IPv4Prefix(containing: IPv4Address(rawValue: 0), prefixBits: 0),
                via: IPv4Address(172, 31, 16, 1),
                linkIndex: index
            )
            let facts = try socket.hostFacts()
            #expect(
                facts.addresses.filter { $0.linkIndex == index } == [
                    AddressFacts(linkIndex: index, address: address),
                    AddressFacts(linkIndex: index, address: second, isSecondary: true),
                ]
            )
            #expect(
                facts.routes.contains(
                    RouteFacts(
                        destination: IPv4Prefix(containing: IPv4Address(rawValue: 0), prefixBits: 0),
                        gateway: IPv4Address(172, 31, 16, 1),
                        linkIndex: index
                    )
                )
            )
            #expect(
                facts.routes.contains(
                    RouteFacts(destination: address.prefix, linkIndex: index, preferredSource: address.address)
                )
            )
            let overlay = try facts.chooseUnderlay(.auto, overlay: IPv4Prefix(parsing: "240.0.0.0/8"))
            #expect(overlay.address == address.address)

            try socket.vxlanAdd(
                "vx7",
                mac: Self.mac,
                mtuBytes: 1450,
                VXLANFacts(vni: 7, port: 8472, isExternal: false, learns: true, local: address.address),
                masterIndex: nil
            )
            let vxlan = try #require(try socket.link(named: "vx7")).index
            let peers = [IPv4Address(172, 31, 17, 6), IPv4Address(172, 31, 18, 7)]
            for peer in peers { try socket.floodAdd(peer, linkIndex: vxlan, link: "vx7") }
            #expect(try socket.floodPeers(linkIndex: vxlan, link: "vx7") == peers)
            // The kernel takes a peer twice without a word and keeps it once.
            try socket.floodAdd(peers[0], linkIndex: vxlan, link: "vx7")
            #expect(try socket.floodPeers(linkIndex: vxlan, link: "vx7") == peers)
            try socket.floodDelete(peers[0], linkIndex: vxlan, link: "vx7")
            #expect(try socket.floodPeers(linkIndex: vxlan, link: "vx7") == [peers[1]])
            try socket.addressDelete(address, linkIndex: index, link: "near")
        }
    }

    /// While another thread keeps making and deleting links, a list is whole or the failure is said: links that were
    /// there all the time are always in it.
    @Test func listsAreWholeWhileLinksComeAndGo() throws {
        try inFreshNamespace {
            var socket = try RouteSocket()
            for number in 0..<120 { try socket.bridgeAdd("steady\(number)", mac: Self.mac, mtuBytes: 1500) }
            let isOver = Mutex(false)
            let namespace = try #require(FileHandle(forReadingAtPath: "/proc/thread-self/ns/net"))
            let descriptor = namespace.fileDescriptor
            let churn = Thread {
                guard fan_setns_network(descriptor) == 0, var socket = try? RouteSocket() else { return }
                while !isOver.withLock({ $0 }) {
                    try? socket.bridgeAdd("passing", mac: Self.mac, mtuBytes: 1500)
                    try? socket.linkDelete("passing")
                    // A quiet moment, which a list needs to be whole.
                    usleep(2000)
                }
            }
            churn.start()
            defer {
                isOver.withLock { $0 = true }
                while !churn.isFinished { usleep(1000) }
            }
            var whole = 0
            for _ in 0..<60 {
                do throws(NetlinkError) {
                    let names = Set(try socket.links().map(\.name))
                    #expect((0..<120).allSatisfy { names.contains("steady\($0)") })
                    whole += 1
                } catch {
                    #expect(error.code == EINTR)
                }
            }
            #expect(whole > 0)
        }
    }
}
