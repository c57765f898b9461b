import FanCore
import Testing

@testable import FanCommand

@Suite struct DocumentTests {
    /// Texts that each format could spoil.
    static let texts = [
        "", " ", "a", "two words", " lead", "trail ", "true", "True", "YES", "no", "on", "off", "y", "N", "null",
        "Null",
        "~", "1", "01", "-1", "+1", "1.5", ".5", "1e3", "0x1f", "0o7", "0b1", "1_000", "12:30", "1:2:3", ".inf", ".nan",
        "-.inf", "2026-11-21", "2026-11-21T10:00:00Z", "10.0.0.1", "10.0.0.0/8", "256.0.0.1", "10.0/8", "1.2.3.4.5",
        "fa:00:01", "a: b", "a:", ":a", "a #b", "#a", "- a", "-", "--", "?", "? a", "!a", "&a", "*a", "%a", "@a", "`a`",
        "[a", "{a", "a]", "a,b", "|", ">", "'a'", "\"a\"", "a\"b", "a'b", "\\", "a\\nb", "=", "<<", "---", "...", "a/b",
        "/path", "line\nline", "line\n", "line\n\n", "\nline", "a\n\nb", "a\n b", " a\nb", "a \nb", "a\n", "\n", "\n\n",
        "tab\tb", "\t", "a\tb\nc", "cr\rb", "crlf\r\nb", "bell\u{7}", "nul\0", "\u{1b}[31m", "\u{7f}", "\u{85}",
        "\u{a0}",
        "é", "e\u{301}", "日本", "😀", "\u{2028}", "\u{202e}", "\u{feff}", "\u{fffe}", "\u{ffff}", "\u{10ffff}", "/", "//",
    ]

    static let sample: Document = [
        "schema": "fanmesh.test/v1",
        "name": "host \"1\"\u{1b}",
        "count": 3,
        "big": .number(UInt64.max),
        "ratio": 0.5,
        "tiny": 1e-7,
        "up": true,
        "none": nil,
        "nan": .real(.nan),
        "empty_list": [],
        "empty_object": [:],
        "list": [1, "two", ["three"], ["key": "value", "other": [4, 5]], []],
        "nested": ["inner": ["deep": "x"], "text": "one\n  two\n"],
    ]

    @Test func writesJSON() {
        let expected = #"""
            {
              "schema": "fanmesh.test/v1",
              "name": "host \"1\"\u001b",
              "count": 3,
              "big": 18446744073709551615,
              "ratio": 0.5,
              "tiny": 1.0e-07,
              "up": true,
              "none": null,
              "nan": null,
              "empty_list": [],
              "empty_object": {},
              "list": [
                1,
                "two",
                [
                  "three"
                ],
                {
                  "key": "value",
                  "other": [
                    4,
                    5
                  ]
                },
                []
              ],
              "nested": {
                "inner": {
                  "deep": "x"
                },
                "text": "one\n  two\n"
              }
            }

            """#
        #expect(Self.sample.json == expected)
    }

    @Test func writesYAML() {
        let expected = #"""
            schema: fanmesh.test/v1
            name: "host \"1\"\u001b"
            count: 3
            big: 18446744073709551615
            ratio: 0.5
            tiny: 1.0e-07
            up: true
            none: null
            nan: null
            empty_list: []
            empty_object: {}
            list:
              - 1
              - two
              - - three
              - key: value
                other:
                  - 4
                  - 5
              - []
            nested:
              inner:
                deep: x
              text: |
                one
                  two

            """#
        #expect(Self.sample.yaml == expected)
    }

    static let small: [(Document, String)] = [
        (nil, "null\n"), ([], "[]\n"), ([:], "{}\n"), ("x", "x\n"), (7, "7\n"), (["a"], "- a\n"),
        ([["a": 1], ["b": 2]], "- a: 1\n- b: 2\n"), ([[1, 2], [3]], "- - 1\n  - 2\n- - 3\n"),
        (["a": ["b": []]], "a:\n  b: []\n"), ([["a\n- ": "b"]], "- \"a\\n- \": b\n"),
    ]

    @Test(arguments: small)
    func writesSmallYAML(document: Document, expected: String) {
        #expect(document.yaml == expected)
    }

    @Test(arguments: [
        ("10.0.0.1", "10.0.0.1"), ("10.0.0.0/8", "10.0.0.0/8"), ("eth0", "eth0"), ("fanmesh.map/v1", "fanmesh.map/v1"),
        ("two words", "two words"), ("", "\"\""), ("yes", "\"yes\""), ("Null", "\"Null\""), ("on", "\"on\""),
        ("OFF", "\"OFF\""), ("y", "\"y\""), ("n", "\"n\""), ("No", "\"No\""), ("true", "\"true\""),
        ("False", "\"False\""), (" a\nb", "\" a\\nb\""), ("1", "\"1\""),
        ("1.5", "\"1.5\""), ("1e3", "\"1e3\""), ("2026-11-21", "\"2026-11-21\""), ("12:30", "\"12:30\""),
        (" a", "\" a\""), ("a ", "\"a \""), ("a: b", "\"a: b\""), ("a #b", "\"a #b\""), ("-", "\"-\""), ("~", "\"~\""),
        ("256.0.0.1", "\"256.0.0.1\""), ("a\nb", "|-\n  a\n  b"), ("a\nb\n", "|\n  a\n  b"), ("\na", "\"\\na\""),
        ("a\n\n", "\"a\\n\\n\""), ("a \nb", "\"a \\nb\""), ("é", "\"é\""),
    ])
    func quotesYAMLWhereItMust(text: String, expected: String) {
        #expect(Document.string(text).yaml == expected + "\n")
    }

    @Test(arguments: [
        ("\u{0}", "\\u0000"), ("\u{1f}", "\\u001f"), ("\u{7f}", "\\u007f"), ("\u{9f}", "\\u009f"), ("\n", "\\n"),
        ("\r\n", "\\r\\n"), ("\t", "\\t"), ("\"", "\\\""), ("\\", "\\\\"), ("/", "/"), ("é日😀", "é日😀"),
        ("\u{2028}", "\\u2028"), ("\u{feff}", "\\ufeff"), ("\u{ffff}", "\\uffff"),
    ])
    func escapesJSON(text: String, expected: String) {
        #expect(Document.string(text).json == "\"\(expected)\"\n")
    }

    @Test func findsValuesByPath() {
        #expect(Self.sample["nested.inner.deep"] == "x")
        #expect(Self.sample["nested.missing.deep"] == .null)
        #expect(Self.sample["name.deep"] == .null)
        #expect(Document.text(nil as String?) == .null)
        #expect(Document.number(nil as Int?) == .null)
    }

    /// Another implementation reads back exactly what was written; where it is missing, the golden texts above stand.
    @Test(arguments: ["json", "yaml"])
    func anotherParserReadsTheSame(module: String) throws {
        let mapping = Document.object(
            Self.texts.enumerated().map { Document.Field(key: "k\($0)", value: .string($1)) }
        )
        let keys = Document.object(
            Self.texts.enumerated().map { Document.Field(key: $1, value: .number($0)) }
        )
        let nested: Document = [
            "texts": .array(Self.texts.map { .string($0) }), "in": [["deep": mapping], [[mapping]]],
        ]
        let document: Document = ["mapping": mapping, "nested": nested, "keys": keys, "sample": Self.sample]
        let text = module == "json" ? document.json : document.yaml
        #expect(!text.unicodeScalars.contains { $0.steersTerminal && $0 != "\n" })
        let load = module == "json" ? "json.loads" : "yaml.safe_load"
        let program = """
            import sys, \(module)
            value = \(load)(sys.stdin.buffer.read().decode())
            flat = []
            def walk(value):
                if isinstance(value, dict):
                    flat.append('{')
                    for key in value: flat.append(key.encode().hex()); walk(value[key])
                elif isinstance(value, list):
                    flat.append('[')
                    for item in value: walk(item)
                elif isinstance(value, str): flat.append('s' + value.encode().hex())
                elif isinstance(value, bool): flat.append('b' + str(value))
                elif isinstance(value, int): flat.append('i' + str(value))
                elif isinstance(value, float): flat.append('r' + repr(value))
                else: flat.append('n' + repr(value))
            walk(value)
            print('\\n'.join(flat))
            """
        let result = try runProgram(["/usr/bin/python3", "-c", program], input: text)
        #expect(result.error == "")
        let read = result.output.split(separator: "\n").map(String.init)
        let written = Self.flattened(document)
        let difference = zip(read, written).enumerated().first { $1.0 != $1.1 }
        #expect(difference == nil, "\(String(describing: difference))")
        #expect(read.count == written.count)
    }

    private static func flattened(_ document: Document) -> [String] {
        func hex(_ text: String) -> String {
            text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        return switch document {
        case .object(let fields): ["{"] + fields.flatMap { [hex($0.key)] + flattened($0.value) }.filter { !$0.isEmpty }
        case .array(let values): ["["] + values.flatMap(flattened)
        case .string(let text): ["s" + hex(text)]
        case .integer(let value): ["i\(value)"]
        case .real(let value): [value.isNaN ? "nNone" : "r\(value)"]
        case .bool(let value): [value ? "bTrue" : "bFalse"]
        case .null: ["nNone"]
        }
    }
}
