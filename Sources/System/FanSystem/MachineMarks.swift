internal import Glibc

/// What tells this machine from a copy of its disk.
public struct MachineMarks: Sendable {
    /// What `/etc/machine-id` says, nil where it says nothing.
    public let machineID: String?
    /// The firmware's product UUID, nil where there is none or it may not be read.
    ///
    /// Only root may read it; systemd hands it to a service of another user as the credential `product_uuid`.
    public let productUUID: String?

    /// Reads them; what cannot be read is nil, since a machine without one of them is still one.
    public static func read() -> MachineMarks {
        let credentials = unsafe getenv("CREDENTIALS_DIRECTORY").map { unsafe String(cString: $0) }
        let handed = credentials.flatMap { mark("\($0)/product_uuid") }
        return MachineMarks(
            machineID: mark("/etc/machine-id"),
            productUUID: handed ?? mark("/sys/class/dmi/id/product_uuid")
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
