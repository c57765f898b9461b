import FanCore
import TestSupport
import Testing

@testable import FanCommand

@Suite struct YAMLTests {
    private func read(_ text: String) throws -> Document { try YAMLDocument(parsing: Array(text.utf8)).document }

    @Test func readsWhatConfigurationsAreMadeOf() throws {
        let text = """
            # a comment
            text: some words
            quoted: "yes"
            single: '0123'
            number: 8473
            negative: -5
            real: 2.5
            truth: true
            lie: false
            nothing:
            tilde: ~
            address: 172.31.16.5:8473
            prefix: 172.31.16.0/20
            version: 1.2.3
            list:
              - a
              - 2
              - [x, {y: 1}]
            block: |
              two
              lines
            "odd key": {}
            """
        let expected: Document = [
            "text": "some words",
            "quoted": "yes",
            "single": "0123",
            "number": 8473,
            "negative": -5,
            "real": 2.5,
            "truth": true,
            "lie": false,
            "nothing": .null,
            "tilde": .null,
            "address": "172.31.16.5:8473",
            "prefix": "172.31.16.0/20",
            "version": "1.2.3",
            "list": ["a", 2, ["x", ["y": 1]]],
            "block": "two\nlines\n",
            "odd key": [:],
        ]
        #expect(try read(text) == expected)
    }

    /// What this program writes it reads back the same.
    @Test func readsWhatItWrites() throws {
        let words = [
            "", "yes", "No", "null", "~", "0", "012", "1_000", "1:30", "0x1f", "1e3", "-", "- a", "a: b", "#x",
            "é", "tab\there", "two\nlines", "end\n", " space", "@at", "%per", "*star", "&and", "!bang", "|", ">", "'",
            "\"",
            "10.0.0.1", "10.0.0.0/8", "10.0.0.1:80", ".inf", ".nan", "true", "<<", "=", "12 34", "+1", "1.", ".5",
        ]
        let document: Document = [
            "texts": .array(words.map { .string($0) }),
            "numbers": [0, -1, 1_234_567_890_123_456_789, 1.5, -0.25, 1e100],
            "others": [true, false, .null, [], [:], [["a": ["b": [1]]]]],
        ]
        #expect(try read(document.yaml) == document)
    }

    @Test(arguments: [
        ("", "the document is empty"),
        ("# only a comment\n", "the document is empty"),
        ("null", "the document is empty"),
        ("a: 1\na: 2\n", "line 2: the key 'a' is there twice"),
        ("a: &x 1\nb: *x\n", "line 1: anchors are not allowed here"),
        ("b: *x\n", "line 1: aliases are not allowed here"),
        ("a: !!str 1\n", "line 1: tags are not allowed here"),
        ("a:\n  <<: {b: 1}\n", "line 2: merge keys are not allowed here"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document begins here"),
        ("[a]: 1\n", "line 1: a key must be a word"),
        ("a: yes\n", "line 1: 'yes' is unclear; write true or false, or \"yes\" for the text"),
        ("a: 1\nb: Off\n", "line 2: 'Off' is unclear; write true or false, or \"Off\" for the text"),
        ("a: 0123\n", "line 1: '0123' is unclear; write the number in decimal, or quote the text"),
        ("a: 0x1f\n", "line 1: '0x1f' is unclear; write the number in decimal, or quote the text"),
        ("a: 1:30\n", "line 1: '1:30' is unclear; write the number in decimal, or quote the text"),
        ("a: +5\n", "line 1: '+5' is unclear; write the number in decimal, or quote the text"),
        ("a: .NaN\n", "line 1: '.NaN' is unclear; write \".NaN\" for the text"),
        ("a: 1e999\n", "line 1: '1e999' is too large"),
    ])
    func refuses(text: String, message: String) {
        let error = #expect(throws: YAMLError.self) { try read(text) }
        #expect(error?.description == message)
    }

    @Test(arguments: [
        "a: [1\n", "a: 'x\n", "\ta: 1\n", "a: b: c\n", "a: 1\n b: 2\n", "{", "a: \u{1}\n", "a: @x\n", "%X\n",
    ])
    func namesTheLineOfWhatIsNoYAML(text: String) throws {
        let error = try #require(#expect(throws: YAMLError.self) { try read(text) })
        #expect(error.line != nil, "\(error)")
    }

    @Test func refusesBytesThatAreNoText() throws {
        let error = #expect(throws: YAMLError.self) {
            try YAMLDocument(parsing: Array("a: 1\nb: ".utf8) + [0xff, 0x0a])
        }
        #expect(error?.line == 2)
        #expect(throws: YAMLError.self) { try YAMLDocument(parsing: [0xff, 0xfe, 0x61, 0x00]) }
        #expect(throws: YAMLError.self) { try YAMLDocument(parsing: [0x61, 0x3a, 0x20, 0x00]) }
    }

    @Test func hasLimits() throws {
        let deep = String(repeating: "[", count: 17) + String(repeating: "]", count: 17)
        #expect(
            try #require(#expect(throws: YAMLError.self) { try read(deep) }).problem.hasPrefix("lists and objects nest")
        )
        _ = try read(String(repeating: "[", count: 15) + "1" + String(repeating: "]", count: 15))
        let long = "a: " + String(repeating: "x", count: YAMLDocument.maximumBytes)
        let error = #expect(throws: YAMLError.self) { try read(long) }
        #expect(error?.description == "the document is larger than 1 MiB")
    }

    /// Nothing crashes it.
    @Test func survivesRandomTexts() {
        var generator = SeededGenerator(seed: 8473)
        let pieces = [
            "a", ": ", "\n", "- ", "[", "]", "{", "}", "'", "\"", "|", ">", "&", "*", "!", "#", "  ", "\t", "1",
            "---", "...", "%", ",", "?", "é", "\u{0}", "yes", "<<",
        ]
        for _ in 0..<20_000 {
            let text = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                pieces[Int.random(in: 0..<pieces.count, using: &generator)]
            }.joined()
            _ = try? YAMLDocument(parsing: Array(text.utf8))
        }
    }
}
