import FanCore
import Glibc
import Testing

@testable import FanLink

@Suite(.enabled(if: geteuid() == 0)) struct FenceKernelTests {
    /// All guests of a slice may be pinned: the rules go to the kernel in one transaction, however many they are.
    @Test(arguments: [0, 1, 253]) func aFenceGoesUpWithPins(count: Int) throws {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "10.0.0.0/16")
        )
        let host = IPv4Address(10, 0, 0, 5)
        let slice = try mapping.slice(of: host)
        let pins = (0..<count).map { number in
            Fence.Pin(
                port: "guest\(number)",
                address: IPv4Address(rawValue: slice.firstGuest.rawValue + UInt32(number))
            )
        }
        let spec = NetworkSpec(OverlaySettings(mapping), host: host, forwarder: .fdb, mtuBytes: 1450, pins: pins)
        let fence = Fence(spec, slice: slice, underlayDevice: "eth0")
        try inFreshNamespace {
            var socket = try RouteSocket()
            try socket.bridgeAdd(spec.name, mac: RouteSocketTests.mac, mtuBytes: 1450)
            for _ in 0..<2 {
                try FenceKernel.put(fence)
                #expect(try FenceKernel.find(spec.name).observation == fence.observation)
            }
            try FenceKernel.remove(spec.name)
            #expect(try FenceKernel.find(spec.name).observation == nil)
        }
    }
}
