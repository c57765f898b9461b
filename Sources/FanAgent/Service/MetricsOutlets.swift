public import FanCore
internal import FanHTTP
internal import FanSystem

/// Where the agent's metrics go, besides its own socket; nowhere unless an operator says so.
public struct MetricsOutlets: Hashable, Sendable {
    /// The loopback address on which Prometheus may ask for them, nil for none.
    public private(set) var address: SocketAddress?
    /// The file in which node_exporter's textfile collector finds them, nil for none.
    public private(set) var path: String?

    /// From one writing of the file to the next.
    static let interval = Duration.seconds(15)

    /// No outlets.
    public init() {}

    /// Takes what an operator wrote.
    ///
    /// - Parameters:
    ///   - address: an address with a port, nil for none.
    ///   - path: a file, nil for none.
    /// - Throws: ``MetricsError``.
    public init(address: String?, path: String?) throws(MetricsError) {
        if let address {
            guard address.contains(":"), let parsed = try? SocketAddress(parsing: address) else {
                throw .badAddress(address)
            }
            guard parsed.address.rawValue >> 24 == 127 else { throw .notLoopback(parsed) }
            self.address = parsed
        }
        if let path {
            // What node_exporter passes over would never be seen.
            guard path.hasPrefix("/"), path.hasSuffix(".prom"), !path.hasSuffix("/.prom") else { throw .badPath(path) }
            self.path = path
        }
    }

    /// Listens on the address.
    ///
    /// - Returns: the listening socket, which is the caller's; nil when there is no address.
    /// - Throws: ``HTTPError``.
    func listen() throws(HTTPError) -> Int32? {
        guard let address else { return nil }
        return try listenTCP(address).take()
    }

    /// Begins to write the file.
    ///
    /// - Parameters:
    ///   - api: knows the numbers.
    ///   - log: is told when the file cannot be written, once until it can.
    /// - Returns: false when the system has no room for a thread.
    func startFile(_ api: AgentAPI, log: @escaping @Sendable (LogLine) -> Void) -> Bool {
        guard let path else { return true }
        let problem = Lock("")
        return startThread("metrics", stackBytes: 512 << 10) {
            while true {
                api.askMetrics { text in
                    let found = Self.write(text, to: path)
                    let isNews = problem.withLock { known in
                        defer { known = found }
                        return found != known && !found.isEmpty
                    }
                    if isNews { log(LogLine(level: .warning, code: "metrics-unwritable", message: found)) }
                }
                sleepThread(for: Self.interval)
            }
        }
    }

    /// Writes the file; what is wrong with it is said, empty when nothing is.
    private static func write(_ text: String, to path: String) -> String {
        do throws(FileError) {
            // Root writes nothing where a lesser user could have put a link.
            _ = try File.openGuardedDirectory(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) + "/")
            try File.replaceLoosely(path, with: text, mode: 0o644)
            return ""
        } catch { return "\(error)" }
    }

    /// Takes the file away, so that nobody takes old numbers for new ones.
    func removeFile() {
        guard let path else { return }
        try? File.remove(path)
    }
}

/// An outlet for metrics that cannot be.
public enum MetricsError: Error, Equatable, Sendable, CustomStringConvertible {
    /// No address with a port.
    case badAddress(String)
    /// Not an address of this host alone.
    case notLoopback(SocketAddress)
    /// Not a path of the kind that node_exporter reads.
    case badPath(String)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .badAddress(let text):
            "metrics cannot be served on '\(text.prefix(64))'; write an address of this host with a port, like "
                + "127.0.0.1:9473"
        case .notLoopback(let address):
            "metrics are not served on \(address), which others reach; use a loopback address like 127.0.0.1:9473, or "
                + "a file for node_exporter"
        case .badPath(let text):
            "metrics cannot be written to '\(text.prefix(128))'; write an absolute path that ends in .prom"
        }
    }
}
