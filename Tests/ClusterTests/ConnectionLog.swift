import Foundation

/// What the lines about refused connections stand for.
enum ConnectionLog {
    /// How many events a line tells of.
    static func events(in line: String) -> Int {
        guard let more = line.range(of: " more ") ?? line.range(of: " more,") else { return 1 }
        return line[..<more.lowerBound].split(separator: " ").last.flatMap { Int($0) } ?? 1
    }
}
