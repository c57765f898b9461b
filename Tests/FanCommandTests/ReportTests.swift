import FanCore
import Testing

@testable import FanCommand

@Suite struct ReportTests {
    static let members: [Document] = [
        ["name": "node10", "state": "ok", "rtt_ms": 1.5, "layers": ["mtu": "fail"], "roles": ["voter", "spare"]],
        ["name": "node2", "state": "error", "rtt_ms": nil, "layers": ["mtu": "ok"], "roles": []],
    ]

    static let table = Table(
        [
            Table.Column("name"), Table.Column("state"), Table.Column("rtt_ms", isNumber: true),
            Table.Column("layers.mtu", title: "MTU"), Table.Column("roles"),
        ],
        members.sortedNaturally(by: "name")
    )

    static let report = Report(
        ["schema": "fanmesh.test/v1", "members": .array(members)],
        sections: [.lines([Report.Line("2 members", mark: .ok)]), .table(table)]
    )

    @Test func alignsTables() {
        let expected = """
            2 members

            NAME    STATE  RTT MS  MTU   ROLES
            node2   error       -  ok    -
            node10  ok        1.5  fail  voter, spare

            """
        #expect(Self.report.render(.table) == expected)
    }

    @Test func keepsCompactSmall() {
        let expected = """
            2 members
            node2 error - ok -
            node10 ok 1.5 fail voter, spare

            """
        #expect(Self.report.render(.compact) == expected)
    }

    @Test func writesCSV() {
        let expected = "name,state,rtt_ms,layers.mtu,roles\r\nnode2,error,,ok,\r\nnode10,ok,1.5,fail,voter spare\r\n"
        #expect(Self.report.render(.csv) == expected)
    }

    @Test func coloursResultsOnly() {
        let lines = Self.report.render(.table, style: .coloured).split(separator: "\n").map(String.init)
        #expect(lines[0] == "\u{1b}[32m2 members\u{1b}[0m")
        #expect(lines[1].hasPrefix("\u{1b}[1mNAME\u{1b}[0m    \u{1b}[1mSTATE\u{1b}[0m"))
        #expect(lines[2] == "node2   \u{1b}[31merror\u{1b}[0m       -  \u{1b}[32mok\u{1b}[0m    -")
        #expect(Self.report.render(.compact, style: .coloured).contains("node2 \u{1b}[31merror\u{1b}[0m - "))
        for format in [Format.json, .yaml, .csv] {
            #expect(Self.report.render(format, style: .coloured) == Self.report.render(format))
        }
    }

    @Test(arguments: [
        ("plain", "plain"), ("", ""), ("a,b", "\"a,b\""), ("say \"hi\"", "\"say \"\"hi\"\"\""), ("\"", "\"\"\"\""),
        ("two\nlines", "\"two\nlines\""), ("two\r\nlines", "\"two\r\nlines\""), (" lead", "\" lead\""),
        ("trail ", "\"trail \""), ("\"\u{301}", "\"\"\"\u{301}\""), ("a;b", "a;b"),
    ])
    func quotesCSV(text: String, expected: String) {
        let record = Report(record: ["text": .string(text)])
        #expect(Array(record.render(.csv).utf8) == Array("text\r\n\(expected)\r\n".utf8))
    }

    @Test func showsOneRecordAsLines() {
        let record = Report(record: [
            "schema": "fanmesh.test/v1", "underlay_address": "10.0.0.1", "vni": 7, "verdict": "healthy", "up": true,
            "none": nil, "counters": ["forwarded": 1, "spoofed": 0],
        ])
        let table = """
            underlay address:  10.0.0.1
            vni:               7
            verdict:           healthy
            up:                yes
            none:              -
            counters:          forwarded 1, spoofed 0

            """
        #expect(record.render(.table) == table)
        let compact = """
            underlay_address: 10.0.0.1
            vni: 7
            verdict: healthy
            up: yes
            none: -
            counters: forwarded 1, spoofed 0

            """
        #expect(record.render(.compact) == compact)
        let csv = "underlay_address,vni,verdict,up,none,counters.forwarded,counters.spoofed\r\n"
        #expect(record.render(.csv) == csv + "10.0.0.1,7,healthy,true,,1,0\r\n")
        #expect(record.render(.table, style: .coloured).contains("verdict:           \u{1b}[32mhealthy\u{1b}[0m\n"))
    }

    @Test func showsNothingForAnEmptyTable() {
        let report = Report(
            ["members": []],
            sections: [.lines([Report.Line("none")]), .table(Table([Table.Column("name")], []))]
        )
        #expect(report.render(.table) == "none\n")
        #expect(report.render(.compact) == "none\n")
        #expect(report.render(.csv) == "name\r\n")
        #expect(report.render(.json) == "{\n  \"members\": []\n}\n")
    }

    @Test func hostileTextCannotSteerATerminal() {
        let hostile: Document = ["name": "a\u{1b}[2Jb\nc\u{202e}"]
        let report = Report(
            hostile,
            sections: [
                .record(hostile), .table(Table([Table.Column("name")], [hostile])), .lines([Report.Line("\u{7}")]),
            ]
        )
        for format in [Format.table, .compact, .json, .yaml] {
            let text = report.render(format)
            #expect(!text.unicodeScalars.contains { $0.steersTerminal && $0 != "\n" })
            #expect(!text.contains("b\nc"))
        }
    }

    @Test(arguments: [
        ["a", "b"], ["node2", "node10"], ["node", "node1"], ["10.0.0.9", "10.0.0.10"], ["a1b2", "a1b10"], ["", "a"],
        ["9", "18446744073709551616"], ["a01b1", "a1b2"], ["a01", "a1"], ["1", "a"], ["a", "é"],
    ])
    func ordersNaturally(pair: [String]) {
        #expect(NaturalOrder.precedes(pair[0], pair[1]))
        #expect(!NaturalOrder.precedes(pair[1], pair[0]))
        #expect(!NaturalOrder.precedes(pair[0], pair[0]))
    }

    @Test func coloursOnlyOnATerminalThatWantsThem() {
        #expect(Style(isTerminal: true) { _ in nil }.isColoured)
        #expect(Style(isTerminal: true) { $0 == "NO_COLOR" ? "" : nil }.isColoured)
        #expect(!Style(isTerminal: false) { _ in nil }.isColoured)
        #expect(!Style(isTerminal: true) { $0 == "NO_COLOR" ? "1" : nil }.isColoured)
        #expect(!Style(isTerminal: true) { $0 == "TERM" ? "dumb" : nil }.isColoured)
        #expect(Mark.allCases.map { Style.plain.word($0) } == ["ok", "warn", "fail", "skipped", "unknown", ""])
        #expect(Style.coloured.word(.failure) == "\u{1b}[31mfail\u{1b}[0m")
    }
}
