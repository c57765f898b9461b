/// One comparison, or several of the same kind; each is a type of its own.
protocol Measurement: SendableMetatype {
    /// What `--only` calls it.
    static var name: String { get }
    /// One line for the help text.
    static var summary: String { get }

    /// Measures.
    ///
    /// - Parameter context: what every measurement is given.
    /// - Returns: the rows, in the order in which they are shown.
    /// - Throws: ``BenchError``, or `LabError` when a signal ends it.
    static func run(_ context: BenchContext) throws -> [Row]
}

/// A measurement that could not be made.
struct BenchError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
