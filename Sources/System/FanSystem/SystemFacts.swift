public import FanCore
public import Glibc

extension Timestamp {
    /// The time of day, by the machine's clock.
    public static var now: Timestamp { Timestamp(secondsSince1970: Int64(time(nil))) }
}

/// Reads what the kernel says of the system, such as its release or the host's name.
///
/// - Parameter field: which of its answers.
/// - Returns: the text; nil when the kernel does not say.
public func systemName<Field>(_ field: KeyPath<utsname, Field>) -> String? {
    var name = utsname()
    guard unsafe uname(&name) == 0 else { return nil }
    return unsafe withUnsafeBytes(of: name[keyPath: field]) { bytes in
        unsafe String(decoding: unsafe bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
