public import FanCore
public import FanSystem

/// What happened on this node and in its cluster: on disk as `events` in the state directory, and `events.1`, what was
/// before.
///
/// Each line is one ``NodeEvent`` as JSON. A line that was cut off is passed over. The two files together never hold
/// more than ``maximumBytes`` twice, and nothing waits for the disk.
public final class EventHistory: Sendable {
    /// What a file may take before the next one is begun, in bytes.
    public static let maximumBytes = 256 << 10
    /// How many events are in memory as well: those who follow need no more.
    private static let recentLimit = 64

    private struct State {
        var last: Int
        var recent: [NodeEvent] = []
    }

    private let path: String
    private let limit: Int
    private let state: Lock<State>

    /// Goes on from what is there.
    ///
    /// - Parameters:
    ///   - stateDirectory: where the files are.
    ///   - maximumBytes: what a file may take.
    init(stateDirectory: String, maximumBytes: Int = EventHistory.maximumBytes) {
        path = Self.path(stateDirectory)
        limit = maximumBytes
        // What cannot be read is overwritten in time; it must not keep an agent from starting.
        let last = (try? Self.read(path, after: nil, limit: 1, before: .max))?.last?.number ?? 0
        state = Lock(State(last: last))
    }

    private static func path(_ stateDirectory: String) -> String { "\(stateDirectory)/events" }

    /// The number of the last event.
    var last: Int { state.withLock { $0.last } }

    /// Keeps what happened.
    ///
    /// - Returns: the event.
    /// - Throws: ``FileError`` when it is in memory alone.
    @discardableResult func append(_ line: LogLine, at time: Timestamp) throws(FileError) -> NodeEvent {
        let event = state.withLock { state in
            state.last += 1
            let event = NodeEvent(line, number: state.last, at: time)
            if state.recent.count >= Self.recentLimit { state.recent.removeFirst() }
            state.recent.append(event)
            return event
        }
        let length = try File.append(event.document.compactJSONText + "\n", to: path)
        if length > limit { try File.rename(path, to: path + ".1") }
        return event
    }

    /// The events after one that is known, the oldest first; or the last ones.
    ///
    /// - Parameters:
    ///   - number: the known one; nil for none. One that is yet to come is none.
    ///   - limit: how many at most.
    /// - Returns: with a known one the first that follow it, and without the last that there are.
    func events(after number: Int?, limit: Int) -> [NodeEvent] {
        let (last, recent) = state.withLock { ($0.last, $0.recent) }
        let number = number.flatMap { $0 > last ? nil : $0 }
        let first = recent.first?.number ?? last + 1
        var found = recent.filter { $0.number > number ?? 0 }
        if number.map({ $0 + 1 < first }) ?? (found.count < limit) {
            let room = number == nil ? limit - found.count : .max
            found = ((try? Self.read(path, after: number, limit: room, before: first)) ?? []) + found
        }
        return Array(number == nil ? found.suffix(limit) : found.prefix(limit))
    }

    /// Reads what an agent that does not run has left.
    ///
    /// - Parameters:
    ///   - stateDirectory: the state directory.
    ///   - limit: how many at most.
    /// - Returns: the last events, the oldest first.
    /// - Throws: ``FileError``.
    public static func read(stateDirectory: String, limit: Int) throws(FileError) -> [NodeEvent] {
        try read(path(stateDirectory), after: nil, limit: limit, before: .max)
    }

    /// Reads events from the newest on, as far back as is asked for.
    private static func read(
        _ path: String,
        after number: Int?,
        limit: Int,
        before end: Int
    ) throws(FileError) -> [NodeEvent] {
        var found: [NodeEvent] = []
        for path in [path, path + ".1"] {
            guard let text = try File.read(path, limit: 4 * maximumBytes) else { continue }
            for line in text.utf8.split(separator: UInt8(ascii: "\n")).reversed() {
                guard found.count < limit else { return found.reversed() }
                guard let event = try? NodeEvent(Document(json: line)), event.number < end else { continue }
                guard event.number > number ?? 0 else { return found.reversed() }
                found.append(event)
            }
        }
        return found.reversed()
    }
}
