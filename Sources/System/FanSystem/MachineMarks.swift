/// What tells this machine from a copy of its disk.
public struct MachineMarks: Sendable {
    /// What `/etc/machine-id` says, nil where it says nothing.
    public let machineID: String?
    /// The firmware's product UUID, nil where there is none or it may not be read.
    ///
    /// Only root may read it; for a service of another user systemd-tmpfiles leaves a copy in `/run/fanmesh`.
    public let productUUID: String?

    /// Reads them; what cannot be read is nil, since a machine without one of them is still one.
    public static func read() -> MachineMarks {
        MachineMarks(
            machineID: mark("/etc/machine-id"),
            productUUID: mark("/sys/class/dmi/id/product_uuid") ?? mark("/run/fanmesh/product_uuid")
        )
    }

    /// The first word of a file; an image's machine-id says `uninitialized` until its first boot.
    private static func mark(_ path: String) -> String? {
        guard let text = try? File.read(path), let word = text.split(whereSeparator: \.isWhitespace).first else {
            return nil
        }
        return word == "uninitialized" ? nil : String(word)
    }
}
