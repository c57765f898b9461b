internal import FanSystem

/// Looks again and again until something holds.
///
/// - Parameters:
///   - time: for how long.
///   - condition: what must hold; what it throws ends the waiting.
/// - Returns: whether it held in time.
/// - Throws: what the condition threw.
public func eventually(within time: Duration = .seconds(20), _ condition: () throws -> Bool) rethrows -> Bool {
    let end = ContinuousClock.now + time
    while true {
        if try condition() { return true }
        guard ContinuousClock.now < end else { return false }
        sleepThread(for: .milliseconds(10))
    }
}

/// Asks again and again until there is an answer.
///
/// - Parameters:
///   - time: for how long.
///   - what: what is waited for, in words.
///   - body: asks; what it throws ends the waiting.
/// - Returns: the answer.
/// - Throws: ``NotInTime``, and what the body threw.
public func eventually<Answer>(
    within time: Duration = .seconds(20),
    _ what: String,
    _ body: () throws -> Answer?
) throws -> Answer {
    var answer: Answer?
    guard
        try eventually(
            within: time,
            {
                answer = try body()
                return answer != nil
            }
        ), let answer
    else { throw NotInTime(what: what) }
    return answer
}

/// Something that did not come about while it was waited for.
public struct NotInTime: Error {
    /// What was waited for.
    public let what: String

    /// Says what was waited for.
    public init(what: String) { self.what = what }
}
