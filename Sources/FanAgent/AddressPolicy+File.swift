public import FanCore
public import FanSystem

// `on-address-change` in the state directory holds the word.
extension AddressPolicy {
    private static func path(_ stateDirectory: String) -> String { "\(stateDirectory)/on-address-change" }

    /// What this host does when its underlay address is replaced; it holds unless told otherwise.
    ///
    /// - Throws: ``FileError``.
    public static func load(stateDirectory: String) throws(FileError) -> AddressPolicy {
        let text = try File.read(path(stateDirectory)) ?? ""
        return AddressPolicy(rawValue: text.filter { !$0.isWhitespace }) ?? .hold
    }

    /// Keeps it.
    ///
    /// - Throws: ``FileError``.
    public func save(stateDirectory: String) throws(FileError) {
        try File.replace(Self.path(stateDirectory), with: rawValue + "\n")
    }

    /// Forgets it.
    ///
    /// - Throws: ``FileError``.
    static func remove(stateDirectory: String) throws(FileError) {
        try File.remove(path(stateDirectory))
    }
}
