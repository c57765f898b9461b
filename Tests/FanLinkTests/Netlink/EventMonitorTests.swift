import FanCore
import FanLab
import FanSystem
import Glibc
import TestSupport
import Testing

@testable import FanLink

@Suite(.enabled(if: geteuid() == 0)) struct EventMonitorTests {
    @Test func announcesLinksAndAddresses() throws {
        try inFreshNamespace {
            var monitor = try EventMonitor()
            var socket = try RouteSocket()
            #expect(try monitor.next(within: .milliseconds(20)).isEmpty)
            try socket.bridgeAdd("br7", mac: RouteSocketTests.mac, mtuBytes: 1450)
            let index = try #require(try socket.link(named: "br7")).index
            #expect(try drain(&monitor).contains(.link(index: index, isRemoval: false)))
            let address = InterfaceAddress(IPv4Address(240, 80, 80, 1), prefixBits: 8)
            try socket.addressAdd(address, linkIndex: index, link: "br7")
            #expect(try drain(&monitor).contains(.address(linkIndex: index, isRemoval: false)))
            try socket.linkSet("br7", up: true)
            #expect(try drain(&monitor).contains(.route))
            try socket.linkDelete("br7")
            let last = try drain(&monitor)
            #expect(last.contains(.link(index: index, isRemoval: true)))
            #expect(last.contains(.address(linkIndex: index, isRemoval: true)))
        }
    }

    @Test func announcesFilters() throws {
        try inFreshNamespace {
            var monitor = try EventMonitor()
            var socket = try RouteSocket()
            try socket.bridgeAdd("br7", mac: RouteSocketTests.mac, mtuBytes: 1450)
            let index = try #require(try socket.link(named: "br7")).index
            _ = try drain(&monitor)
            for words in [["add", "dev", "br7", "clsact"], ["del", "dev", "br7", "clsact"]] {
                let result = try RunningProcess(ProcessRequest(["tc", "qdisc"] + words)).wait()
                try #require(result.isSuccess, "\(result.explanation)")
                #expect(try drain(&monitor).contains(.filter(linkIndex: index)))
            }
        }
    }

    /// Our packet filter rules that come and go, and others' chains, which may drop what is the overlay's.
    @Test func announcesRulesOfOurs() throws {
        try inFreshNamespace {
            var monitor = try EventMonitor()
            let rule = "add rule ip other c accept"
            for (table, silent) in [("other", ["add table ip other", rule]), ("fanmesh-fan7", [])] {
                let make = ["add table ip \(table)", "add chain ip \(table) c", "add rule ip \(table) c accept"]
                for words in make + ["flush ruleset"] {
                    let command = ["nft"] + words.split(separator: " ").map(String.init)
                    let result = try RunningProcess(ProcessRequest(command)).wait()
                    try #require(result.isSuccess, "\(result.explanation)")
                    #expect(try drain(&monitor).contains(.rules) == !silent.contains(words), "\(words)")
                }
            }
        }
    }

    /// IPv6 that is turned on, and forwarding that is turned off, say so.
    @Test func announcesSysctls() throws {
        try inFreshNamespace {
            var socket = try RouteSocket()
            // Without a carrier a device has no use for addresses, and says nothing.
            try socket.vethAdd("veth7", peer: "veth8", mtuBytes: 1450)
            for link in ["veth7", "veth8"] { try socket.linkSet(link, up: true) }
            let six = "/proc/sys/net/ipv6/conf/veth7/disable_ipv6"
            try File.write("1", to: six)
            var monitor = try EventMonitor()
            try File.write("0", to: six)
            #expect(try !drain(&monitor).isEmpty)
            for file in ["ip_forward", "conf/veth7/rp_filter"] {
                let path = "/proc/sys/net/ipv4/\(file)"
                let value = try File.read(path)?.first == "0" ? "1" : "0"
                try File.write(value, to: path)
                #expect(try drain(&monitor).contains(.setting), "\(file)")
            }
        }
    }

    @Test func lostAnnouncementsAskForAResync() throws {
        try inFreshNamespace {
            var monitor = try EventMonitor()
            var socket = try RouteSocket()
            try socket.bridgeAdd("br7", mac: RouteSocketTests.mac, mtuBytes: 1450)
            for round in 0..<2000 { try socket.linkSetMTU("br7", mtuBytes: 1400 + round % 2) }
            #expect(try drain(&monitor).contains(.resync))
            try socket.linkSetMTU("br7", mtuBytes: 1300)
            #expect(try !drain(&monitor).isEmpty)
        }
    }

    /// Reads until nothing comes for a moment.
    private func drain(_ monitor: inout EventMonitor) throws -> Set<NetworkEvent> {
        var events: Set<NetworkEvent> = []
        while true {
            let next = try monitor.next(within: .milliseconds(100))
            if next.isEmpty { return events }
            events.formUnion(next)
        }
    }

    @Test func randomBytesAreHarmless() {
        var generator = SeededGenerator(seed: 0x5eed)
        for _ in 0..<50_000 {
            let count = Int.random(in: 0..<96, using: &generator)
            var bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            // Half of them look like a message up to their length field.
            if count >= 16, Bool.random(using: &generator) {
                bytes[0] = UInt8.random(in: 0..<128, using: &generator)
                bytes.replaceSubrange(1..<4, with: [0, 0, 0])
                bytes[4] = UInt8.random(in: 16..<48, using: &generator)
                bytes[5] = 0
            }
            #expect(NetlinkAnswer.all(in: bytes[...]).compactMap(EventMonitor.event).count <= count / 16)
        }
    }
}
