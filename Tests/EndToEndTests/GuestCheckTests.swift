import FanCore
import FanLab
import Foundation
import TestSupport
import Testing

/// `check` of a guest's address asks that guest, and not only the host on which it would live.
@Suite(.enabled(if: isRoot))
struct GuestCheckTests {
    private struct Peer: Decodable {
        var underlay_address: String
        var guest_address: String?
        var layers: [String: String]
        var path_mtu: Int?
        var diagnosis: String
        var remedy: String
    }

    private struct Checked: Decodable {
        var verdict: String
        var peers: [Peer]
    }

    private static func check(_ words: String..., from node: LabNode) throws -> (code: ProcessResult.Ending, peer: Peer)
    {
        let arguments = ["check", "--format", "json"] + words
        let result = try node.namespace.run(ProcessRequest(node.fanmesh(Programs.fanmesh, arguments)))
        let checked = try JSONDecoder().decode(Checked.self, from: Data(result.output.utf8))
        return (result.ending, try #require(checked.peers.first, "\(result)"))
    }

    @Test(.timeLimit(.minutes(2))) func whatIsTypedIsWhatIsAsked() throws {
        let lab = try Lab.hosts("guestcheck", nodes: 2, guests: 1)
        defer { try? lab.tearDown() }
        try lab.startAll()
        let (near, far) = (lab.nodes[0], lab.nodes[1])
        let guest = far.guests[0]
        let address = "\(guest.overlayAddress)"

        let (code, healthy) = try Self.check(address, from: near)
        #expect(code == .exited(0) && healthy.diagnosis == "reachable, full-size packets pass", "\(healthy)")
        #expect(healthy.guest_address == address && healthy.underlay_address == "\(far.address)")
        #expect(healthy.layers["guest"] == "ok" && healthy.layers["vxlan"] == "ok" && healthy.path_mtu == 1450)

        // Without a cluster nobody counts, and the arithmetic is the same.
        let words = near.fanmesh(Programs.fanmesh, ["trace", address])
        let traced = try near.namespace.run(ProcessRequest(words))
        #expect(traced.isSuccess && traced.output.contains("\(address) lives on \(far.address), which owns "))
        #expect(!traced.output.contains("DEVICE"))

        // An address that nobody has: its host answers, and that is not enough.
        let unused = "\(IPv4Address(rawValue: guest.overlayAddress.rawValue + 100))"
        let (missingCode, missing) = try Self.check(unused, from: near)
        #expect(missingCode == .exited(1) && missing.layers["vxlan"] == "ok" && missing.layers["guest"] == "fail")
        #expect(missing.diagnosis.contains("but \(unused) does not answer: no guest there has it"), "\(missing)")
        // With the time that ARP takes to give up it is certain.
        let (certainCode, certain) = try Self.check(unused, "--timeout", "6s", from: near)
        #expect(certainCode == .exited(1))
        #expect(certain.diagnosis.contains("nobody answers ARP for \(unused): no guest there has it"), "\(certain)")
        // The remedy mends it: the guest is given the address.
        #expect(certain.remedy.contains("give one that address"), "\(certain)")
        try guest.namespace.succeed("ip address add \(unused)/8 dev eth0")
        #expect(try eventually(within: .seconds(10)) { try Self.check(unused, from: near).code == .exited(0) })

        // One that has the address and drops pings.
        try guest.namespace.succeed("sysctl -q -w net.ipv4.icmp_echo_ignore_all=1")
        let (silentCode, silent) = try Self.check(address, from: near)
        #expect(silentCode == .exited(1) && silent.layers["guest"] == "fail")
        #expect(silent.diagnosis.contains("is down or drops pings") && silent.remedy.contains("allow ICMP echo in it"))
        try guest.namespace.succeed("sysctl -q -w net.ipv4.icmp_echo_ignore_all=0")
        #expect(try Self.check(address, from: near).code == .exited(0))

        // A host whose own bridge drops pings does not make its guest unreachable.
        try far.namespace.succeed("sysctl -q -w net.ipv4.icmp_echo_ignore_all=1")
        let (quietCode, quiet) = try Self.check(address, from: near)
        #expect(quietCode == .exited(0) && quiet.layers["vxlan"] == "fail" && quiet.layers["guest"] == "ok", "\(quiet)")
        #expect(quiet.diagnosis.hasPrefix("the guest answers, the bridge of its host"), "\(quiet)")

        // A guest of this very host is not asked through the overlay.
        let own = "\(near.guests[0].overlayAddress)"
        let refused = try near.namespace.run(ProcessRequest(near.fanmesh(Programs.fanmesh, ["check", own])))
        #expect(refused.ending == .exited(2) && refused.errorOutput.contains("lives on this host itself"), "\(refused)")
        #expect(refused.errorOutput.contains("run: ping \(own)"))
    }
}
