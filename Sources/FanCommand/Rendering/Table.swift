internal import FanCore

/// Records shown as rows: which of their values, under which titles.
struct Table: Hashable, Sendable {
    /// One column.
    struct Column: Hashable, Sendable {
        /// The dotted path of the value in each record; also the column's name in CSV.
        var path: String
        /// The title.
        var title: String
        /// Whether values line up on the right side, as numbers do.
        var isNumber: Bool

        init(_ path: String, title: String? = nil, isNumber: Bool = false) {
            self.path = path
            self.title = title ?? Table.label(path).uppercased()
            self.isNumber = isNumber
        }
    }

    /// The columns.
    var columns: [Column]
    /// The records, each an object.
    var records: [Document]

    init(_ columns: [Column], _ records: [Document]) {
        self.columns = columns
        self.records = records
    }

    /// Columns that are titled as the records' keys.
    init(_ paths: [String], _ records: [Document]) {
        self.init(paths.map { Column($0) }, records)
    }

    /// A one-record table with a column for each value of an object, nested ones included.
    init(record: Document) {
        let paths = Self.leaves(of: record, prefix: "").filter { $0 != "schema" }
        self.init(paths, [record])
    }

    /// Titles and rows, aligned.
    func aligned(style: Style) -> String {
        let cells = records.map { record in columns.map { record[$0.path] } }
        let texts = cells.map { $0.map(\.plainText) }
        let widths = columns.indices.map { index in
            ([columns[index].title] + texts.map { $0[index] }).map(\.count).max() ?? 0
        }
        var text = line(columns.map(\.title), columns.map { _ in style.isColoured ? .heading : nil }, widths, style)
        for (row, cell) in zip(texts, cells) { text += line(row, cell.map(\.mark), widths, style) }
        return text
    }

    /// Rows with single spaces between values and no titles.
    func compact(style: Style) -> String {
        records.map { record in
            columns.map { record[$0.path].coloured(style) }.joined(separator: " ") + "\n"
        }.joined()
    }

    /// Rows as comma-separated values with a header line, after RFC 4180.
    var csv: String {
        let header = columns.map { Self.csvField($0.path) }
        let rows = records.map { record in columns.map { Self.csvField(Self.csvText(record[$0.path])) } }
        return ([header] + rows).map { $0.joined(separator: ",") + "\r\n" }.joined()
    }

    /// How people read a key.
    static func label(_ path: String) -> String {
        String(path.map { $0 == "_" || $0 == "." ? " " : $0 })
    }

    private func line(_ row: [String], _ marks: [Mark?], _ widths: [Int], _ style: Style) -> String {
        var text = ""
        var padding = 0
        for index in row.indices {
            let missing = widths[index] - row[index].count
            let before = columns[index].isNumber ? missing : 0
            text += String(repeating: " ", count: padding + before)
            text += marks[index].map { style.apply($0, to: row[index]) } ?? row[index]
            padding = missing - before + 2
        }
        return text + "\n"
    }

    private static func leaves(of value: Document, prefix: String) -> [String] {
        value.fields.flatMap { field in
            let path = prefix + field.key
            return field.value.fields.isEmpty ? [path] : leaves(of: field.value, prefix: path + ".")
        }
    }

    private static func csvText(_ value: Document) -> String {
        switch value {
        case .string(let text): text
        case .null: ""
        case .bool(let value): value ? "true" : "false"
        case .array(let values): values.map(csvText).joined(separator: " ")
        case .object(let fields): fields.map { "\($0.key)=\(csvText($0.value))" }.joined(separator: " ")
        case .integer, .real: value.plainText
        }
    }

    private static func csvField(_ text: String) -> String {
        let special = text.unicodeScalars.contains { [",", "\"", "\r", "\n"].contains($0) }
        let hasEdges = text.first == " " || text.last == " "
        guard special || hasEdges else { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" { quoted += "\"" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "\""
    }
}
