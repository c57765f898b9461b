internal import CLinux

/// Replaces this process by a program; returns only when that does not work.
///
/// - Parameters:
///   - command: the program, found on PATH unless it holds a slash, and its arguments.
///   - environment: variables that are added or replaced.
/// - Returns: the errno for which it did not.
public func executeProgram(_ command: [String], environment: [String: String] = [:]) -> Int32 {
    unsafe -CStrings.start(command, environment) { unsafe fan_execute($0, $1, $2) }
}

extension NetworkNamespace {
    /// Replaces this process by a program inside the namespace; returns only by throwing.
    ///
    /// The new program sees this namespace's links, addresses and routes. `/sys` stays the one of the machine.
    ///
    /// Requires: CAP_SYS_ADMIN, and the main thread.
    ///
    /// - Parameters:
    ///   - command: the program, found on PATH unless it holds a slash, and its arguments.
    ///   - environment: variables that are added or replaced.
    /// - Returns: never.
    /// - Throws: ``LabError`` when the namespace cannot be entered or the program not be run.
    public func execute(_ command: [String], environment: [String: String] = [:]) throws(LabError) -> Never {
        try enterOnThisThread()
        throw .executable(command.first ?? "", code: executeProgram(command, environment: environment))
    }
}
