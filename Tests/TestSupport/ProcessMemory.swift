internal import FanSystem
public import Glibc

/// What a process has of its memory in pages, in KiB.
///
/// - Parameter process: its number.
/// - Returns: the size.
/// - Throws: ``FileError``, ``NotInTime`` when it has ended.
public func residentKiB(of process: Int32 = getpid()) throws -> Int {
    let status = try File.read("/proc/\(process)/status") ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    guard let size = line.flatMap({ Int($0.filter(\.isNumber)) }) else { throw NotInTime(what: "process \(process)") }
    return size
}
