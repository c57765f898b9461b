internal import FanCore

extension Report {
    /// The result of a command that changed the cluster: what was done, and what to do next.
    static func changes(_ changes: [String], advice: [String] = []) -> Report {
        let document: Document = [
            "schema": "fanmesh.change/v1",
            "changes": .array(changes.map { .string($0) }),
            "advice": .array(advice.map { .string($0) }),
        ]
        let lines = changes.map { Line($0) } + advice.map { Line("next: \($0)") }
        let rows = Table(["change"], changes.map { ["change": .string($0)] })
        return Report(document, sections: [.lines(lines)], rows: rows)
    }
}
