internal import Glibc

extension Agent.Instance {
    /// The release of the kernel that this process runs on.
    static func kernelRelease() -> String {
        var name = utsname()
        guard unsafe uname(&name) == 0 else { return "unknown" }
        return unsafe withUnsafeBytes(of: name.release) { bytes in
            unsafe String(decoding: unsafe bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
