internal import CLinux

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
        let variables = Environment.merged(with: environment)
        let result = unsafe CStrings.with(command) { arguments in
            unsafe CStrings.with(variables) { environment in
                unsafe fan_execute(arguments?.pointee, arguments, environment)
            }
        }
        throw .executable(command.first ?? "", code: -result)
    }
}
