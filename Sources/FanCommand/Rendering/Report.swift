internal import FanCore

/// A command's result: the whole of it as a document, and how people see it.
struct Report: Hashable, Sendable {
    /// A part of what people see.
    enum Section: Hashable, Sendable {
        /// An object, one value on a line.
        case record(Document)
        /// Records as rows.
        case table(Table)
        /// Lines as they are.
        case lines([Line])
    }

    /// A line of text with the mark that colours it.
    struct Line: Hashable, Sendable {
        var text: String
        var mark: Mark?

        init(_ text: String, mark: Mark? = nil) {
            self.text = text
            self.mark = mark
        }
    }

    /// What JSON and YAML show.
    var document: Document
    /// What the table and compact formats show, in order.
    var sections: [Section]
    /// What CSV shows.
    var rows: Table

    /// A result of several parts.
    ///
    /// - Parameters:
    ///   - document: what JSON and YAML show.
    ///   - sections: what the table and compact formats show.
    ///   - rows: what CSV shows; by default the first table, or else the document as one row.
    init(_ document: Document, sections: [Section], rows: Table? = nil) {
        let tables = sections.compactMap { if case .table(let table) = $0 { table } else { nil } }
        self.document = document
        self.sections = sections
        self.rows = rows ?? tables.first ?? Table(record: document)
    }

    /// One record.
    init(record: Document) {
        self.init(record, sections: [.record(record)])
    }

    /// The text in a format, ending with a newline unless it is empty.
    func render(_ format: Format, style: Style = .plain) -> String {
        switch format {
        case .json: document.json
        case .yaml: document.yaml
        case .csv: rows.csv
        case .table: sections.map { Self.spacious($0, style) }.filter { !$0.isEmpty }.joined(separator: "\n")
        case .compact: sections.map { Self.compact($0, style) }.joined()
        }
    }

    private static func spacious(_ section: Section, _ style: Style) -> String {
        switch section {
        case .record(let record):
            let fields = shown(record)
            let width = fields.map(\.key.count).max() ?? 0
            return fields.map { field in
                let label = Table.label(field.key) + ":"
                return label + String(repeating: " ", count: width + 3 - label.count) + field.value.coloured(style)
            }.map { $0 + "\n" }.joined()
        case .table(let table):
            return table.records.isEmpty ? "" : table.aligned(style: style)
        case .lines(let lines):
            return text(of: lines, style)
        }
    }

    private static func compact(_ section: Section, _ style: Style) -> String {
        switch section {
        case .record(let record): shown(record).map { "\($0.key): \($0.value.coloured(style))\n" }.joined()
        case .table(let table): table.compact(style: style)
        case .lines(let lines): text(of: lines, style)
        }
    }

    private static func text(of lines: [Line], _ style: Style) -> String {
        lines.map { line in
            let text = line.text.escapingControls()
            return (line.mark.map { style.apply($0, to: text) } ?? text) + "\n"
        }.joined()
    }

    /// The fields that people see; the schema is for programs.
    private static func shown(_ record: Document) -> [Document.Field] { record.fields.filter { $0.key != "schema" } }
}
