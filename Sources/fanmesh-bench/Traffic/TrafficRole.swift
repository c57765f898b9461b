internal import FanCore
internal import FanLab
internal import FanSystem

/// The ends of traffic: this program run again inside a namespace, with a role as its first word.
///
/// Processes of their own, because each end has a processor and a namespace of its own.
enum TrafficRole: String {
    /// Counts the datagrams that arrive per second.
    case sink = "traffic-sink"
    /// Sends datagrams as fast as it can.
    case source = "traffic-source"
    /// Measures the round trip of ICMP echoes.
    case echo = "traffic-echo"

    /// Starts an end.
    ///
    /// - Parameters:
    ///   - namespace: where.
    ///   - address: the IPv4 address of the receiver.
    ///   - amount: a number of milliseconds, or of echoes.
    ///   - context: names this program.
    /// - Returns: the process.
    /// - Throws: `LabError`.
    func start(
        in namespace: NetworkNamespace,
        _ address: String,
        _ amount: Int,
        _ context: BenchContext
    ) throws -> RunningProcess {
        try RunningProcess(ProcessRequest([context.bench, rawValue, address, "\(amount)"]), in: namespace)
    }

    /// Waits for the end of an end, and reads the number that it printed.
    func number(from process: RunningProcess, _ address: String, _ context: BenchContext) throws -> Double {
        let result = try process.wait(interruption: context.interruption)
        guard result.isSuccess, let value = result.output.split(separator: "\n").last.flatMap({ Double($0) }) else {
            throw BenchError("\(rawValue) of \(address) \(result.explanation)")
        }
        return value
    }

    /// Runs an end and reads the number that it prints.
    func number(
        in namespace: NetworkNamespace,
        _ address: String,
        _ amount: Int,
        _ context: BenchContext
    ) throws -> Double {
        try number(from: start(in: namespace, address, amount, context), address, context)
    }

    /// Plays the role that the words name; nil when they name none.
    ///
    /// - Parameter words: the role, an IPv4 address and a number of milliseconds or of echoes.
    /// - Returns: the exit code.
    static func run(_ words: [String]) -> Int32? {
        guard let role = words.first.flatMap(TrafficRole.init(rawValue:)) else { return nil }
        guard words.count == 3, let address = try? IPv4Address(parsing: words[1]), let amount = Int(words[2]),
            amount > 0
        else { return 2 }
        do throws(TrafficError) {
            switch role {
            case .sink: print(try Datagrams.countPerSecond(on: address, milliseconds: amount))
            case .source: try Datagrams.flood(address, milliseconds: amount)
            case .echo: print(try Echoes.medianSeconds(to: address, count: amount))
            }
            return 0
        } catch {
            writeErrorLine("\(role.rawValue): \(error)")
            return 1
        }
    }
}
