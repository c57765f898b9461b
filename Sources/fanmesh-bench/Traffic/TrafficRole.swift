internal import FanSystem
internal import Glibc

/// The ends of traffic: this program run again inside a namespace, with a role as its first word.
///
/// Processes of their own, because each end has a processor and a namespace of its own.
enum TrafficRole: String, CaseIterable {
    /// Counts the datagrams that arrive per second.
    case sink = "traffic-sink"
    /// Sends datagrams as fast as it can.
    case source = "traffic-source"
    /// Measures the round trip of ICMP echoes.
    case echo = "traffic-echo"

    /// The command line of an end.
    func command(_ bench: String, _ address: String, _ amount: Int) -> [String] {
        [bench, rawValue, address, "\(amount)"]
    }

    /// Plays the role that the words name; nil when they name none.
    ///
    /// - Parameter words: the role, an IPv4 address and a number of milliseconds or of echoes.
    /// - Returns: the exit code.
    static func run(_ words: [String]) -> Int32? {
        guard let role = words.first.flatMap(TrafficRole.init(rawValue:)) else { return nil }
        guard words.count == 3, let address = TrafficAddress(words[1]), let amount = Int(words[2]), amount > 0 else {
            return 2
        }
        do throws(TrafficError) {
            switch role {
            case .sink: print(try Datagrams.countPerSecond(on: address, milliseconds: amount))
            case .source: try Datagrams.flood(address, milliseconds: amount)
            case .echo: print(try Echoes.medianSeconds(to: address, count: amount))
            }
            return 0
        } catch {
            Progress.note("\(role.rawValue): \(error)")
            return 1
        }
    }
}

/// A call of an end of traffic that failed.
struct TrafficError: Error, CustomStringConvertible {
    let operation: String
    let code: Int32

    var description: String { "\(operation): \(errnoText(code))" }

    /// Throws when a call failed that reports so by -1 and errno.
    static func check(_ result: some FixedWidthInteger, _ operation: String) throws(TrafficError) {
        guard result >= 0 else { throw TrafficError(operation: operation, code: errno) }
    }

    /// Throws when a shim returned a negative errno.
    static func require(_ result: Int32, _ operation: String) throws(TrafficError) {
        guard result >= 0 else { throw TrafficError(operation: operation, code: -result) }
    }
}
