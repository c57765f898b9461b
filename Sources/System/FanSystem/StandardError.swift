internal import CLinux
internal import Glibc

/// Writes a line to standard error; one that cannot be written is lost, since there is nobody to tell.
///
/// - Parameter text: the line, without its end.
public func writeErrorLine(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = unsafe fan_write(STDERR_FILENO, bytes, bytes.count)
}
