/// The text form in which a network is kept on disk: one `key=value` a line.
public enum NetworkRecord {
    /// The first line of a record.
    static let header = "# fanmesh network, version 1. Written by fanmesh; change it with 'fanmesh up'."

    /// Writes a network as text.
    public static func encode(_ spec: NetworkSpec) -> String {
        let pins = spec.pins.map { "\($0.address)@\($0.port)" }.joined(separator: ",")
        return """
            \(header)
            name=\(spec.name)
            overlay=\(spec.mapping.overlay)
            underlay=\(spec.mapping.underlay)
            host=\(spec.host)
            forwarder=\(spec.forwarder.rawValue)
            vni=\(spec.vni)
            port=\(spec.port)
            mtu=\(spec.mtuBytes)
            peers=\(spec.peers.map(\.description).joined(separator: ","))
            \(pins.isEmpty ? "" : "pins=\(pins)\n")
            """
    }

    /// Reads a network from text, refusing missing, repeated and unknown keys.
    ///
    /// - Parameter text: what ``encode(_:)`` wrote.
    /// - Returns: the network.
    /// - Throws: ``NetworkRecordError``.
    public static func decode(_ text: String) throws(NetworkRecordError) -> NetworkSpec {
        var fields: [String: String] = [:]
        for (number, line) in text.split(separator: "\n").enumerated() where !line.hasPrefix("#") {
            guard let equals = line.firstIndex(of: "=") else {
                throw NetworkRecordError(key: "line \(number + 1)", value: String(line))
            }
            let key = String(line[..<equals])
            let value = String(line[line.index(after: equals)...])
            guard fields.updateValue(value, forKey: key) == nil else {
                throw NetworkRecordError(key: key, value: value)
            }
        }
        func take<Value>(_ key: String, _ parse: (String) throws -> Value?) throws(NetworkRecordError) -> Value {
            guard let text = fields.removeValue(forKey: key) else { throw NetworkRecordError(key: key, value: nil) }
            guard let value = try? parse(text) else { throw NetworkRecordError(key: key, value: text) }
            return value
        }
        let overlay = try take("overlay") { try IPv4Prefix(parsing: $0) }
        let underlayText = fields["underlay"] ?? ""
        let underlay = try take("underlay") { try IPv4Prefix(parsing: $0) }
        guard let mapping = try? FanMapping(overlay: overlay, underlay: underlay) else {
            throw NetworkRecordError(key: "underlay", value: underlayText)
        }
        let name: String = try take("name") { name in
            try NetworkSpec.check(name: name)
            return name
        }
        let spec = try NetworkSpec(
            OverlaySettings(
                mapping,
                network: name,
                vni: take("vni") { UInt32($0) },
                port: take("port") { UInt16($0) }
            ),
            host: take("host") { text in
                let host = try IPv4Address(parsing: text)
                _ = try mapping.slice(of: host)
                return host
            },
            forwarder: take("forwarder") { ForwarderKind(rawValue: $0) },
            mtuBytes: take("mtu") { Int($0) },
            peers: take("peers") { try $0.split(separator: ",").map { try IPv4Address(parsing: $0) } },
            pins: fields["pins"] == nil ? [] : take("pins") { try $0.split(separator: ",").map(pin) }
        )
        if let (key, value) = fields.min(by: { $0.key < $1.key }) { throw NetworkRecordError(key: key, value: value) }
        return spec
    }
}

extension NetworkRecord {
    private static func pin(_ text: Substring) throws -> Fence.Pin {
        guard let at = text.firstIndex(of: "@") else { throw NetworkRecordError(key: "pins", value: String(text)) }
        return Fence.Pin(
            port: String(text[text.index(after: at)...]),
            address: try IPv4Address(parsing: text[..<at])
        )
    }
}

/// A record that cannot be read: the key, and its value where there is one.
public struct NetworkRecordError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The key, or the line's number where there is none.
    public let key: String
    /// The value that cannot be read, nil where the key is missing.
    public let value: String?

    /// What is wrong, in one line.
    public var description: String {
        value.map { "'\(key)' has the unusable or unexpected value '\($0)'" } ?? "'\(key)' is missing"
    }
}
