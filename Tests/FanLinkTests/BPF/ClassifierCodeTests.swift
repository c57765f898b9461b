import FanCore
import FanSystem
import Glibc
import Testing

@testable import FanLink

/// An overlay and a host of it, written as text.
struct ClassifierCase: Sendable, CustomTestStringConvertible {
    var underlay: String
    var overlay: String
    var host: String
    var testDescription: String { "\(host) of \(underlay) in \(overlay)" }

    func spec() throws -> ClassifierSpec {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: overlay),
            underlay: IPv4Prefix(parsing: underlay)
        )
        return try ClassifierSpec(mapping: mapping, host: IPv4Address(parsing: host), vni: mapping.defaultVNI)
    }

    static let known = [
        ClassifierCase(underlay: "10.88.0.0/16", overlay: "99.0.0.0/8", host: "10.88.3.4"),
        ClassifierCase(underlay: "10.99.224.0/20", overlay: "99.0.0.0/8", host: "10.99.238.5"),
        ClassifierCase(underlay: "10.96.0.0/12", overlay: "33.0.0.0/8", host: "10.111.1.2"),
        ClassifierCase(underlay: "10.88.128.0/20", overlay: "240.0.0.0/5", host: "10.88.129.2"),
        ClassifierCase(underlay: "10.88.240.0/20", overlay: "240.0.0.0/5", host: "10.88.244.215"),
        ClassifierCase(underlay: "10.224.220.0/24", overlay: "100.64.0.0/10", host: "10.224.220.10"),
        ClassifierCase(underlay: "172.16.0.0/16", overlay: "250.0.0.0/8", host: "172.16.3.4"),
        ClassifierCase(underlay: "172.31.0.0/16", overlay: "252.0.0.0/8", host: "172.31.16.134"),
        ClassifierCase(underlay: "172.31.0.0/16", overlay: "240.0.0.0/8", host: "172.31.21.5"),
        ClassifierCase(underlay: "192.168.202.0/24", overlay: "240.0.0.0/8", host: "192.168.202.11"),
        ClassifierCase(underlay: "10.250.145.0/24", overlay: "240.0.0.0/8", host: "10.250.145.33"),
        ClassifierCase(underlay: "10.10.10.0/24", overlay: "240.7.0.0/16", host: "10.10.10.33"),
        ClassifierCase(underlay: "172.31.16.0/20", overlay: "240.0.0.0/8", host: "172.31.21.5"),
    ]

    /// The corners of the arithmetic: small slices, the largest overlays, pairs, single hosts.
    static let odd = [
        ClassifierCase(underlay: "10.0.0.0/12", overlay: "99.0.0.0/8", host: "10.0.0.1"),
        ClassifierCase(underlay: "10.0.0.0/10", overlay: "99.0.0.0/8", host: "10.63.255.254"),
        ClassifierCase(underlay: "10.20.30.40/30", overlay: "240.0.0.0/28", host: "10.20.30.41"),
        ClassifierCase(underlay: "10.20.30.40/30", overlay: "240.0.0.0/4", host: "10.20.30.42"),
        ClassifierCase(underlay: "10.20.30.40/31", overlay: "240.0.0.0/8", host: "10.20.30.40"),
        ClassifierCase(underlay: "10.20.30.40/31", overlay: "240.0.0.0/29", host: "10.20.30.41"),
        ClassifierCase(underlay: "10.20.30.40/32", overlay: "240.0.0.0/8", host: "10.20.30.40"),
        ClassifierCase(underlay: "128.0.0.0/5", overlay: "64.0.0.0/3", host: "130.1.2.3"),
        ClassifierCase(underlay: "10.1.0.0/16", overlay: "128.0.0.0/3", host: "10.1.2.3"),
        ClassifierCase(underlay: "200.1.2.0/29", overlay: "16.0.0.0/27", host: "200.1.2.6"),
    ]
}

@Suite struct ClassifierCodeTests {
    /// A change of the generated instructions must come with a new generation: raise it and put both numbers here.
    @Test func generationFollowsTheCode() throws {
        let spec = try ClassifierCase.known[12].spec()
        var hash = StableHash()
        for code in [spec.ingressCode()] + OuterSource.allCases.map(spec.egressCode) {
            for one in code.instructions {
                hash.add("\(one.code) \(one.registers) \(one.offset) \(one.immediate)")
            }
        }
        #expect(ClassifierSpec.generation == 2)
        #expect(hash.value == 7_744_805_327_528_018_410)
    }

    @Test func namesRoundTrip() throws {
        let digest = try ClassifierCase.known[0].spec().digest
        for direction in ClassifierDirection.allCases {
            for source in direction == .ingress ? [nil] : OuterSource.allCases.map(Optional.some) {
                let name = ClassifierName(direction: direction, outerSource: source, digest: digest)
                #expect(name.text.utf8.count == 15)
                #expect(ClassifierName(name.text) == name)
            }
        }
        for foreign in ["", "fe_", "fe_0123456789a", "fe_0123456789aZ", "fx_0123456789ab", "cil_from_netdev"] {
            #expect(ClassifierName(foreign) == nil)
        }
    }

    @Test(.enabled(if: geteuid() == 0), arguments: ClassifierCase.known + ClassifierCase.odd)
    func verifierAccepts(example: ClassifierCase) throws {
        let spec = try example.spec()
        let loaded = try LoadedClassifiers(spec)
        #expect(loaded.outerSource == .pinned)
        let map = try CounterMap()
        let far = try FarMap()
        _ = try BPFProgram(spec.egressCode(.routed), name: "routed", map: map, far: far.descriptor.number)
    }

    @Test(.enabled(if: geteuid() == 0)) func verifierRefusalIsExplained() throws {
        var assembler = BPFAssembler()
        assembler.move(.r0, .r3)
        assembler.exit()
        let map = try CounterMap()
        let error = #expect(throws: BPFError.self) {
            _ = try BPFProgram(assembler.assemble(), name: "faulty", map: map)
        }
        #expect(error?.code == EACCES)
        #expect(error?.log.contains("R3 !read_ok") == true, "\(String(describing: error))")
        #expect(error?.description.hasPrefix("load classifier 'faulty': permission denied (EACCES): ") == true)
    }
}
