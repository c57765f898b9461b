/// The rows as text and as a block for README.md.
struct BenchReport {
    let rows: [Row]
    let machine: Machine
    let isSmoke: Bool

    /// Whether no budget was missed.
    var isMet: Bool { rows.allSatisfy { $0.verdict?.isMet ?? true } }

    private static let heads = [
        "what", "against", "ours", "peer", "ratio (min-max)", "pairs", "budget", "verdict",
    ]

    private var cells: [[String]] {
        rows.map { row in
            [
                row.what, row.against, row.ours, row.peer,
                row.ratio.map { "\($0.median.fixed(3)) (\($0.minimum.fixed(3))-\($0.maximum.fixed(3)))" } ?? "-",
                row.ratio.map { "\($0.pairs)" } ?? "-",
                row.verdict?.budget ?? "-",
                row.verdict.map { $0.isMet ? "met" : "MISSED" } ?? "-",
            ]
        }
    }

    private var title: String {
        "\(machine.date), \(machine.text)" + (isSmoke ? "; a smoke run: these numbers mean nothing" : "")
    }

    var text: String {
        let lines = [Self.heads] + cells
        let widths = Self.heads.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        let aligned = lines.map { line in
            let padded = zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            return String(padded.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
        }
        return "\(title)\n\n" + aligned.joined(separator: "\n")
    }

    var markdown: String {
        let rule = Self.heads.map { _ in "---" }
        let lines = ([Self.heads, rule] + cells).map { "| " + $0.joined(separator: " | ") + " |" }
        return "\(title).\n\n" + lines.joined(separator: "\n")
    }
}
