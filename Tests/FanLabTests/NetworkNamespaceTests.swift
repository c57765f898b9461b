import FanCore
import FanLink
import Glibc
import TestSupport
import Testing

@testable import FanLab

@Suite(.enabled(if: isRoot))
struct NetworkNamespaceTests {
    @Test func aNamespaceIsTheSameToIproute2() throws {
        let ours = NetworkNamespace("fanlabtest-ours")
        try NetworkNamespace.create([ours])
        defer { try? ours.delete() }
        let seen = try run("ip", "netns", "exec", ours.name, "ip", "-brief", "link")
        #expect(seen.output.hasPrefix("lo"))
        #expect(seen.output.contains("UP"))
        #expect(try run("ip", "netns", "delete", ours.name).isSuccess)
        #expect(!ours.exists)

        let theirs = NetworkNamespace("fanlabtest-theirs")
        #expect(try run("ip", "netns", "add", theirs.name).isSuccess)
        defer { try? theirs.delete() }
        #expect(try theirs.run { currentNamespace() } != currentNamespace())
        try theirs.delete()
        #expect(try !run("ip", "netns", "list").output.contains(theirs.name))
    }

    @Test func ipv6IsOffAndLoopbackWorks() throws {
        let namespace = NetworkNamespace("fanlabtest-quiet")
        try NetworkNamespace.create([namespace])
        defer { try? namespace.delete() }
        #expect(try namespace.run("ip", "-6", "address").output.isEmpty)
        #expect(try namespace.run("ping", "-c1", "-W1", "127.0.0.1").isSuccess)
        #expect(try namespace.run("cat", "/proc/sys/net/ipv6/conf/default/disable_ipv6").output == "1\n")
    }

    @Test func aClosureRunsInsideAndHandsBackItsResult() throws {
        struct Odd: Error, Equatable { var value: Int }
        let namespace = NetworkNamespace("fanlabtest-closure")
        try NetworkNamespace.create([namespace])
        defer { try? namespace.delete() }
        let outside = currentNamespace()
        let links = try namespace.run {
            var socket = try RouteSocket()
            return try socket.links().filter { $0.kind == nil }.map(\.name)
        }
        #expect(links == ["lo"])
        #expect(throws: Odd(value: 7)) { try namespace.run { throw Odd(value: 7) } }
        #expect(try namespace.run { currentNamespace() } != outside)
        #expect(currentNamespace() == outside)
    }

    @Test func anExistingNameIsRefusedAndStays() throws {
        let first = NetworkNamespace("fanlabtest-first")
        let second = NetworkNamespace("fanlabtest-second")
        try NetworkNamespace.create([second])
        defer { try? second.delete() }
        let before = try second.run { currentNamespace() }
        #expect(throws: LabError.namespaceExists(second.name)) {
            try NetworkNamespace.create([first, second])
        }
        #expect(!first.exists)
        #expect(try second.run { currentNamespace() } == before)
    }

    @Test func aMissingNamespaceIsNamed() {
        #expect(throws: LabError.noNamespace("fanlabtest-none")) {
            try NetworkNamespace("fanlabtest-none").run {}
        }
    }

    @Test func deletingMayBeRepeatedAndMendsABareFile() throws {
        let namespace = NetworkNamespace("fanlabtest-bare")
        try NetworkNamespace.create([namespace])
        try namespace.delete()
        try namespace.delete()
        // What a crash between making the file and binding to it leaves.
        #expect(try run("touch", namespace.path).isSuccess)
        try namespace.delete()
        #expect(!namespace.exists)
    }
}
