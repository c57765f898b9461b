/// What was this network's on this host when all was right: its devices, and the guests' ports of its bridge.
///
/// Indexes are never given twice while a host is up, so a device with the remembered index is the same device, whatever
/// its address has become; and a bridge with another index was made anew, without the ports that the old one had.
public struct DeviceMemory: Hashable, Sendable {
    /// A port of the bridge.
    public struct Port: Hashable, Sendable {
        /// The device's name.
        public var name: String
        /// The device's index.
        public var index: Int
        /// What the bridge was told about it other than about a new port, by the kernel's number of the attribute:
        /// such as that it is isolated.
        public var settings: [UInt16: UInt8]

        /// Describes a port.
        public init(name: String, index: Int, settings: [UInt16: UInt8] = [:]) {
            (self.name, self.index, self.settings) = (name, index, settings)
        }
    }

    /// The bridge's index, nil while none is known.
    public var bridgeIndex: Int?
    /// The VXLAN device's index, nil while none is known.
    public var vxlanIndex: Int?
    /// The guests' ports of that bridge.
    public var ports: [Port] = []

    /// Remembers nothing.
    public init() {}

    /// Takes in what was seen.
    ///
    /// - Parameters:
    ///   - observed: what was seen.
    ///   - isRight: whether it is as planned, so that the devices are this network's for certain. While it is not, only
    ///     the ports of the known bridge are taken in: where there is no such bridge, they are remembered for the next.
    public mutating func note(_ observed: ObservedState, isRight: Bool) {
        if isRight {
            bridgeIndex = observed.bridge?.link.index
            vxlanIndex = observed.vxlan?.link.index
        }
        guard let bridge = observed.bridge?.link, bridge.index == bridgeIndex else { return }
        ports = observed.ports
    }

    /// The ports that a bridge which was made anew shall have again: those that are still there and in no other bridge.
    func lostPorts(_ observed: ObservedState) -> [Port] {
        // The bridge they were in is there: who is out of it was taken out.
        guard let bridgeIndex, observed.bridge?.link.index != bridgeIndex else { return [] }
        return ports.filter { observed.unbridged[$0.name] == $0.index }
    }
}

extension DeviceMemory {
    /// The text in which it is kept, a line each; `scope` says where its indexes hold.
    public func text(scope: String) -> String {
        var lines = ["scope \(scope)"]
        if let bridgeIndex { lines.append("bridge \(bridgeIndex)") }
        if let vxlanIndex { lines.append("vxlan \(vxlanIndex)") }
        lines += ports.map { port in
            let settings = port.settings.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }
            return "port \(port.name) \(port.index)" + settings.joined()
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Reads what ``text(scope:)`` wrote.
    ///
    /// - Parameters:
    ///   - text: the text.
    ///   - scope: where indexes hold now; what was written elsewhere, such as before a restart of the host, is nothing.
    public init(text: String, scope: String) {
        let lines = text.split(separator: "\n")
        guard lines.first.map(String.init) == "scope \(scope)" else { return }
        for line in lines.dropFirst() {
            let words = line.split(separator: " ").map(String.init)
            switch (words.first, words.count) {
            case ("bridge", 2): bridgeIndex = Int(words[1])
            case ("vxlan", 2): vxlanIndex = Int(words[1])
            case ("port", 3...):
                guard let index = Int(words[2]) else { continue }
                var port = Port(name: words[1], index: index)
                for word in words[3...] {
                    let parts = word.split(separator: "=")
                    guard parts.count == 2, let key = UInt16(parts[0]), let value = UInt8(parts[1]) else { continue }
                    port.settings[key] = value
                }
                ports.append(port)
            default: continue
            }
        }
    }
}

extension ObservedState {
    /// Takes in the other devices of the host: the guests' ports of the bridge, and what is in no bridge.
    public mutating func note(guestsIn facts: HostFacts) {
        let own = [bridge?.link.index, vxlan?.link.index]
        for link in facts.links where !own.contains(link.index) {
            switch link.masterIndex {
            case nil: unbridged[link.name] = link.index
            case bridge?.link.index:
                ports.append(.init(name: link.name, index: link.index, settings: link.portSettings))
            default: break
            }
        }
    }
}
