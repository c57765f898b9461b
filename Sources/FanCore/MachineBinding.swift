/// The machine that a node's state was made on, by what differs on a copy of its disk.
///
/// Shape: a line for each mark that the machine has, `NAME HASH`: `machine-id` is that of `/etc/machine-id`,
/// `product-uuid` the firmware's. They are kept as hashes, since the machine's id is not to be spread; the hash is no
/// cryptographic one, and the file is for its owner only.
public struct MachineBinding: Hashable, Sendable {
    /// The hashes by the names of the marks, 16 hexadecimal digits each.
    public private(set) var hashes: [String: String]

    /// Binds to a machine.
    ///
    /// - Parameters:
    ///   - machineID: what `/etc/machine-id` says, nil when it says nothing.
    ///   - productUUID: what the firmware says, nil when it says nothing or may not be read.
    public init(machineID: String?, productUUID: String?) {
        hashes = [:]
        for (name, text) in [("machine-id", machineID), ("product-uuid", productUUID)] {
            guard let text else { continue }
            var hash = StableHash()
            hash.add("fanmesh machine")
            hash.add(text.lowercased())
            let digits = String(hash.value, radix: 16)
            hashes[name] = String(repeating: "0", count: 16 - digits.count) + digits
        }
    }

    /// Reads what ``text`` wrote; lines that are none are passed over.
    public init(parsing text: String) {
        hashes = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2 { hashes[String(words[0])] = String(words[1]) }
        }
    }

    /// The lines, in order.
    public var text: String { hashes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined() }

    /// Whether this is another machine: a mark that both have differs; one that only one of them has says nothing.
    public func contradicts(_ other: MachineBinding) -> Bool {
        hashes.contains { name, hash in other.hashes[name].map { $0 != hash } ?? false }
    }

    /// This machine's marks, and those of the other that could not be read here.
    public func merged(over other: MachineBinding) -> MachineBinding {
        var merged = self
        merged.hashes.merge(other.hashes) { own, _ in own }
        return merged
    }
}
