import FanCore
import TestSupport
import Testing

@Suite struct MappingRoundTripTests {
    /// Walks all hosts of an underlay: their slices lie one behind the other, fill the overlay but for the slices of
    /// the network and broadcast addresses, and every probed address of a slice maps back to its host.
    @Test(arguments: [
        ("172.31.0.0/16", "240.0.0.0/8"),
        ("172.31.16.0/20", "240.0.0.0/8"),
        ("10.10.10.0/24", "240.0.0.0/8"),
        ("10.10.10.0/24", "240.7.0.0/16"),
        ("10.96.0.0/12", "33.0.0.0/8"),
        ("10.96.0.0/13", "33.0.0.0/8"),
        ("10.64.0.0/10", "128.0.0.0/8"),
        ("10.88.240.0/20", "240.0.0.0/5"),
        ("10.224.220.0/24", "100.64.0.0/10"),
        ("192.168.7.96/27", "240.7.0.0/16"),
        ("192.168.7.100/30", "240.7.0.0/16"),
        ("192.168.7.100/30", "240.7.8.0/22"),
        ("192.168.7.100/31", "240.7.0.0/16"),
        ("192.168.7.100/32", "240.7.0.0/16"),
        ("192.168.7.100/32", "240.7.0.0/30"),
        ("192.168.6.0/23", "64.0.0.0/3"),
        ("10.1.2.0/25", "128.0.0.0/3"),
    ])
    func everyHostOwnsItsSlice(underlayText: String, overlayText: String) throws {
        let underlay = try IPv4Prefix(parsing: underlayText)
        let mapping = try FanMapping(overlay: IPv4Prefix(parsing: overlayText), underlay: underlay)
        let reserved: UInt32 = underlay.prefixBits >= 31 ? 0 : 1
        let size = UInt32(mapping.addressesPerHost)
        // Large underlays are walked in full up to 2^20 hosts, and in odd steps beyond.
        let step = UInt32(max(1, underlay.addressCount >> 20)) | 1
        var random = SeededGenerator(seed: 7)
        var seen: UInt64 = 0
        var expected = mapping.overlay.network.advanced(by: reserved * size)
        var offset = reserved
        while offset <= UInt32(underlay.addressCount - 1) - reserved {
            let host = underlay.network.advanced(by: offset)
            let slice = try mapping.slice(of: host)
            let first = slice.prefix.network
            let sample = first.advanced(by: UInt32(truncatingIfNeeded: random.next()) % size)
            let holds =
                try first == expected && slice.prefix.prefixBits == mapping.sliceBits
                && slice.bridgeAddress.address == first.advanced(by: 1) && slice.firstGuest == first.advanced(by: 2)
                && slice.prefix.last == first.advanced(by: size - 1)
                && slice.lastGuest == first.advanced(by: size - 2) && mapping.host(of: first) == host
                && mapping.host(of: slice.prefix.last) == host && mapping.host(of: sample) == host
            guard holds else {
                Issue.record("\(host) and \(slice.prefix) do not agree at \(sample)")
                return
            }
            seen += 1
            expected = first.advanced(by: size &* step)
            offset += step
        }
        #expect(seen == (mapping.hostCapacity + UInt64(step) - 1) / UInt64(step))
    }

    @Test func everyAddressOfATwentyMapsToTheHostThatOwnsIt() throws {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.7.0.0/16"),
            underlay: IPv4Prefix(parsing: "172.31.16.0/20")
        )
        var mapped = 0
        for offset in UInt32(16)..<65_520 {
            let host = try mapping.host(of: mapping.overlay.network.advanced(by: offset))
            if host.rawValue == mapping.underlay.network.rawValue + offset / 16 { mapped += 1 }
        }
        #expect(mapped == 65_504)
    }
}
