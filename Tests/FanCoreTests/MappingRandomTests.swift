import FanCore
import TestSupport
import Testing

/// Seeded random prefixes against an oracle that multiplies and divides where the mapping shifts and masks.
@Suite struct MappingRandomTests {
    @Test(arguments: 0..<4)
    func millionRandomPairsHold(part: Int) {
        var random = SeededGenerator(seed: 0xfa4 + UInt64(part))
        var made = 0
        var refused = 0
        for round in 0..<250_000 {
            let bits = random.next()
            let addresses = random.next()
            var overlayBits = Int(bits & 63) % 33
            var underlayBits = Int(bits >> 6 & 63) % 33
            // Half of the pairs are put in the order that can work, so that both outcomes are common.
            if round & 1 == 0, overlayBits > underlayBits { swap(&overlayBits, &underlayBits) }
            let overlay = IPv4Prefix(
                containing: IPv4Address(rawValue: UInt32(truncatingIfNeeded: addresses)),
                prefixBits: overlayBits
            )
            let underlay = IPv4Prefix(
                containing: IPv4Address(rawValue: UInt32(truncatingIfNeeded: addresses >> 32)),
                prefixBits: underlayBits
            )
            let fault: String?
            do throws(FanMappingError) {
                fault = Self.disagreement(try FanMapping(overlay: overlay, underlay: underlay), random.next())
                made += 1
            } catch {
                fault = error == Self.expectedRefusal(overlay, underlay) ? nil : "refused with \(error)"
                refused += 1
            }
            if let fault {
                Issue.record("overlay \(overlay), underlay \(underlay): \(fault)")
                return
            }
        }
        #expect(made > 50_000)
        #expect(refused > 50_000)
    }

    private static func expectedRefusal(_ overlay: IPv4Prefix, _ underlay: IPv4Prefix) -> FanMappingError? {
        // What hosts give a meaning of its own, as first and last addresses.
        for (first, last, purpose) in [
            (0, 0x00ff_ffff, "this network"), (0x7f00_0000, 0x7fff_ffff, "loopback"),
            (0xa9fe_0000, 0xa9fe_ffff, "link-local"), (0xe000_0000, 0xefff_ffff, "multicast"),
            (0xff00_0000, 0xffff_ffff, "broadcast"),
        ] as [(UInt32, UInt32, String)] {
            let isPart = (first...last).contains(overlay.network.rawValue)
            let isHeld = (overlay.network.rawValue...overlay.last.rawValue).contains(first) && purpose != "broadcast"
            guard isPart || isHeld else { continue }
            let range = IPv4Prefix(
                containing: IPv4Address(rawValue: first),
                prefixBits: (last - first).leadingZeroBitCount
            )
            return .overlayReserved(overlay: overlay, range: range, purpose: purpose)
        }
        let wider = overlay.prefixBits < underlay.prefixBits ? overlay : underlay
        let other = wider == overlay ? underlay : overlay
        let first = UInt64(wider.network.rawValue)
        let start = UInt64(other.network.rawValue)
        if first <= start && start < first + wider.addressCount {
            return .overlayOverlapsUnderlay(underlay: underlay, overlay: overlay)
        }
        if underlay.addressCount > overlay.addressCount {
            return .underlayShorterThanOverlay(underlay: underlay, overlay: overlay)
        }
        let each = overlay.addressCount / underlay.addressCount
        guard each < 4 else { return nil }
        let bits = each == 1 ? 32 : 31
        return .sliceTooSmall(underlay: underlay, overlay: overlay, sliceBits: bits)
    }

    /// What the mapping gets wrong for one host and one overlay address, nil when nothing.
    private static func disagreement(_ mapping: FanMapping, _ bits: UInt64) -> String? {
        let underlay = mapping.underlay
        let overlay = mapping.overlay
        guard expectedRefusal(overlay, underlay) == nil else { return "made" }
        let each = overlay.addressCount / underlay.addressCount
        guard mapping.addressesPerHost == each else { return "\(mapping.addressesPerHost) addresses per host" }

        let inside = UInt64(underlay.network.rawValue) + (bits & 0xffff_ffff) % underlay.addressCount
        let host = IPv4Address(rawValue: UInt32(inside))
        let isReserved = underlay.prefixBits < 31 && (host == underlay.network || host == underlay.last)
        let slice = try? mapping.slice(of: host)
        guard (slice == nil) == isReserved else { return "slice of \(host)" }
        if let slice {
            let network = UInt64(overlay.network.rawValue) + (inside - UInt64(underlay.network.rawValue)) * each
            guard UInt64(slice.prefix.network.rawValue) == network, slice.prefix.addressCount == each else {
                return "slice \(slice.prefix) of \(host)"
            }
            guard overlay.contains(slice.prefix.network), overlay.contains(slice.prefix.last) else {
                return "slice \(slice.prefix) leaves the overlay"
            }
        }

        let target = UInt64(overlay.network.rawValue) + (bits >> 32) % overlay.addressCount
        let address = IPv4Address(rawValue: UInt32(target))
        let owner = UInt64(underlay.network.rawValue) + (target - UInt64(overlay.network.rawValue)) / each
        let ownerAddress = IPv4Address(rawValue: UInt32(owner))
        let ownerIsReserved =
            underlay.prefixBits < 31 && (ownerAddress == underlay.network || ownerAddress == underlay.last)
        let found = try? mapping.host(of: address)
        guard found == (ownerIsReserved ? nil : ownerAddress) else { return "host of \(address)" }
        return nil
    }
}
