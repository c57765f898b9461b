import FanCore
import TestSupport
import Testing

/// Every refusal, by its exact value and text.
@Suite struct MappingErrorTests {
    private func prefix(_ text: String) throws -> IPv4Prefix { try IPv4Prefix(parsing: text) }
    private func mapping(_ overlay: String, _ underlay: String) throws -> FanMapping {
        try FanMapping(overlay: prefix(overlay), underlay: prefix(underlay))
    }

    @Test(arguments: [
        "", " ", "1", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.5", "1.2.3.4 ", " 1.2.3.4", "1.2.3.256",
        "1.2.3.999999999999999999999", "01.2.3.4", "1.2.3.00", "1.2.3.-4", "1.2.3.+4", "0x1.2.3.4", "1,2,3,4",
        "1.2.3.4/8", "a.b.c.d", "::1", "1.2.3.4\n", "1.2.3.4\0", "１.2.3.4", "1.2.3.٤", "1.2.3\u{301}.4",
    ])
    func refusesMalformedAddresses(_ text: String) {
        #expect(throws: FanMappingError.malformedAddress(text)) { try IPv4Address(parsing: text) }
    }

    @Test(arguments: [
        "", "/", "/8", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/08",
        "10.0.0.0/008", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.0/8/8", "10.0.0/8", "10/8", "10.0.0.0/255.0.0.0",
        "10.0.0.0 /8", "10.0.0.0/ 8", "10.0.0.0/٨", "10.0.0.0/8\u{301}", "10.0.0.0/\u{301}8", "10.0.0.0//8",
        "256.0.0.0/8", "10.0.0.0/99999999999999999999",
    ])
    func refusesMalformedPrefixes(_ text: String) {
        #expect(throws: FanMappingError.malformedPrefix(text)) { try IPv4Prefix(parsing: text) }
    }

    @Test func refusesHostBitsAndNamesTheNetwork() {
        let error = FanMappingError.hostBitsSet(
            IPv4Address(172, 31, 21, 5),
            prefixBits: 20,
            network: IPv4Address(172, 31, 16, 0)
        )
        #expect(throws: error) { try IPv4Prefix(parsing: "172.31.21.5/20") }
        #expect(throws: error) { try IPv4Prefix(IPv4Address(172, 31, 21, 5), prefixBits: 20) }
        #expect(error.description == "prefix 172.31.21.5/20 has host bits set; write 172.31.16.0/20")
        #expect(
            throws: FanMappingError.hostBitsSet(
                IPv4Address(1, 0, 0, 0),
                prefixBits: 0,
                network: IPv4Address(0, 0, 0, 0)
            )
        ) { try IPv4Prefix(parsing: "1.0.0.0/0") }
    }

    @Test(arguments: [-1, 33, Int.max, Int.min])
    func refusesPrefixLengths(_ bits: Int) {
        #expect(throws: FanMappingError.malformedPrefix("10.0.0.0/\(bits)")) {
            try IPv4Prefix(IPv4Address(10, 0, 0, 0), prefixBits: bits)
        }
    }

    @Test func acceptsTheEdgesOfEachForm() throws {
        #expect(try IPv4Address(parsing: "0.0.0.0").rawValue == 0)
        #expect(try IPv4Address(parsing: "255.255.255.255").rawValue == .max)
        #expect(try IPv4Address(parsing: "x1.2.3.4y".dropFirst().dropLast()) == IPv4Address(1, 2, 3, 4))
        #expect(try prefix("0.0.0.0/0").addressCount == 1 << 32)
        #expect(try prefix("255.255.255.255/32").last == IPv4Address(255, 255, 255, 255))
    }

    @Test func refusesAnUnderlayThatIsLargerThanTheOverlay() throws {
        let error = try FanMappingError.underlayShorterThanOverlay(
            underlay: prefix("10.0.0.0/8"),
            overlay: prefix("240.7.0.0/16")
        )
        #expect(throws: error) { try mapping("240.7.0.0/16", "10.0.0.0/8") }
        #expect(error.description.contains("10.0.0.0/8") && error.description.contains("240.7.0.0/16"))
    }

    @Test(arguments: [("240.0.0.0/8", "10.0.0.0/8", 32), ("240.0.0.0/8", "10.0.0.0/9", 31)])
    func refusesSlicesWithoutRoomForAGuest(overlay: String, underlay: String, bits: Int) throws {
        let error = try FanMappingError.sliceTooSmall(
            underlay: prefix(underlay),
            overlay: prefix(overlay),
            sliceBits: bits
        )
        #expect(throws: error) { try mapping(overlay, underlay) }
        #expect(error.description.contains("/\(bits)") && error.description.contains(underlay))
        #expect(try mapping("240.0.0.0/8", "10.0.0.0/10").sliceBits == 30)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.1.0.0/16"), ("10.1.0.0/16", "10.0.0.0/8"), ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8", "0.0.0.0/0"),
    ])
    func refusesOverlaps(overlay: String, underlay: String) throws {
        let error = try FanMappingError.overlayOverlapsUnderlay(underlay: prefix(underlay), overlay: prefix(overlay))
        #expect(throws: error) { try mapping(overlay, underlay) }
        #expect(error.description.contains(overlay) && error.description.contains(underlay))
    }

    @Test(arguments: [
        ("0.0.0.0/8", "0.0.0.0/8", "this network"), ("0.0.0.0/1", "0.0.0.0/8", "this network"),
        ("127.0.0.0/8", "127.0.0.0/8", "loopback"), ("127.80.0.0/12", "127.0.0.0/8", "loopback"),
        ("112.0.0.0/4", "127.0.0.0/8", "loopback"), ("169.254.0.0/16", "169.254.0.0/16", "link-local"),
        ("169.0.0.0/8", "169.254.0.0/16", "link-local"), ("224.0.0.0/4", "224.0.0.0/4", "multicast"),
        ("239.0.0.0/8", "224.0.0.0/4", "multicast"), ("192.0.0.0/2", "224.0.0.0/4", "multicast"),
        ("255.0.0.0/8", "255.0.0.0/8", "broadcast"), ("255.128.0.0/9", "255.0.0.0/8", "broadcast"),
    ])
    func refusesOverlaysThatNoGuestCanHave(overlay: String, range: String, purpose: String) throws {
        let error = try FanMappingError.overlayReserved(
            overlay: prefix(overlay),
            range: prefix(range),
            purpose: purpose
        )
        #expect(throws: error) { try mapping(overlay, "10.0.0.0/16") }
        #expect(error.description.contains(overlay) && error.description.contains(purpose))
    }

    @Test(arguments: ["1.0.0.0/8", "126.0.0.0/8", "128.0.0.0/8", "169.192.0.0/11", "169.255.0.0/16", "240.0.0.0/4"])
    func takesOverlaysBesideThem(overlay: String) throws {
        #expect(try mapping(overlay, "10.0.0.0/18").overlay == prefix(overlay))
    }

    @Test func refusesHostsThatAreNone() throws {
        let mapping = try mapping("240.0.0.0/8", "172.31.16.0/20")
        let outside = IPv4Address(172, 31, 32, 1)
        let network = IPv4Address(172, 31, 16, 0)
        let broadcast = IPv4Address(172, 31, 31, 255)
        #expect(throws: FanMappingError.hostOutsideUnderlay(outside, mapping.underlay)) {
            try mapping.slice(of: outside)
        }
        #expect(throws: FanMappingError.hostIsNetworkAddress(network, mapping.underlay)) {
            try mapping.slice(of: network)
        }
        #expect(throws: FanMappingError.hostIsBroadcastAddress(broadcast, mapping.underlay)) {
            try mapping.slice(of: broadcast)
        }
        #expect(FanMappingError.hostOutsideUnderlay(outside, mapping.underlay).description.contains("172.31.16.0/20"))
        #expect(FanMappingError.hostIsNetworkAddress(network, mapping.underlay).description.contains("172.31.16.0 "))
        #expect(FanMappingError.hostIsBroadcastAddress(broadcast, mapping.underlay).description.contains(".31.255 "))
    }

    @Test func refusesOverlayAddressesThatAreNobodys() throws {
        let mapping = try mapping("240.0.0.0/8", "172.31.16.0/20")
        let outside = IPv4Address(241, 0, 0, 0)
        #expect(throws: FanMappingError.addressOutsideOverlay(outside, mapping.overlay)) {
            try mapping.host(of: outside)
        }
        #expect(throws: FanMappingError.hostIsNetworkAddress(IPv4Address(172, 31, 16, 0), mapping.underlay)) {
            try mapping.host(of: IPv4Address(240, 0, 15, 255))
        }
        #expect(throws: FanMappingError.hostIsBroadcastAddress(IPv4Address(172, 31, 31, 255), mapping.underlay)) {
            try mapping.host(of: IPv4Address(240, 255, 240, 0))
        }
        #expect(FanMappingError.addressOutsideOverlay(outside, mapping.overlay).description.contains("240.0.0.0/8"))
    }

    /// The parsers are strict: what they accept is exactly what they print.
    @Test func acceptsOnlyWhatItPrints() {
        let alphabet = Array("0123456789./ -+")
        var random = SeededGenerator(seed: 11)
        var accepted = 0
        for _ in 0..<30_000 {
            var text = IPv4Address(rawValue: UInt32(truncatingIfNeeded: random.next())).description
            if Bool.random(using: &random) { text += "/\(Int.random(in: 0...40, using: &random))" }
            if random.next() % 3 > 0 {
                var letters = Array(text)
                let place = Int.random(in: 0..<letters.count, using: &random)
                letters[place] = alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
                text = String(letters)
            }
            if let address = try? IPv4Address(parsing: text) {
                accepted += 1
                if address.description != text { Issue.record("\(text) was read as \(address)") }
            }
            if let prefix = try? IPv4Prefix(parsing: text) {
                accepted += 1
                if prefix.description != text { Issue.record("\(text) was read as \(prefix)") }
            }
        }
        #expect(accepted > 3_000)
    }
}
