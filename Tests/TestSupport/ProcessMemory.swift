internal import FanSystem
public import Glibc

/// What a process has of its memory in pages, in KiB.
///
/// - Parameters:
///   - process: its number.
///   - field: which of `/proc/PID/status`: `RssAnon` is without the pages of programs and libraries.
/// - Returns: the size.
/// - Throws: ``FileError``, ``NotInTime`` when it has ended.
public func residentKiB(of process: Int32 = getpid(), _ field: String = "VmRSS") throws -> Int {
    let status = try File.read("/proc/\(process)/status") ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("\(field):") }
    guard let size = line.flatMap({ Int($0.filter(\.isNumber)) }) else { throw NotInTime(what: "process \(process)") }
    return size
}
