import FanHTTP
import TestSupport
import Testing

@testable import FanHTTP

/// The answers that a client reads, without sockets.
@Suite struct ParserTests {
    private func parse(
        _ text: String,
        method: String = "GET",
        pieces: Int = .max,
        ends: Bool = false,
        limits: HTTPResponseLimits = HTTPResponseLimits()
    ) throws -> ResponseParser {
        var parser = ResponseParser(method: method, limits: limits)
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            try parser.take(rest.prefix(pieces))
            rest = rest.dropFirst(pieces)
        }
        if ends { parser.end() }
        return parser
    }

    private func body(_ parser: ResponseParser) -> String { String(decoding: parser.response.body, as: UTF8.self) }

    @Test(arguments: [1, 2, 3, 7, 1000])
    func answersComeInPiecesOfAnySize(_ pieces: Int) throws {
        let plain = try parse("HTTP/1.1 200 OK\r\nA: b \r\ncontent-length: 5\r\n\r\nhello", pieces: pieces)
        #expect(plain.isDone && plain.keepsAlive)
        #expect(plain.response.status == 200)
        #expect(plain.response.headers["a"] == "b")
        #expect(body(plain) == "hello")

        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: 1\r\n\r\n"
        let chunked = try parse(chunks, pieces: pieces)
        #expect(chunked.isDone && chunked.keepsAlive)
        #expect(body(chunked) == "hello")

        let interim = try parse(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            pieces: pieces
        )
        #expect(interim.isDone)
        #expect(interim.response.status == 404)

        let upgrade = try parse("HTTP/1.1 101 X\r\nUpgrade: y\r\n\r\nhello", pieces: pieces)
        #expect(upgrade.isDone)
        #expect(String(decoding: upgrade.rest, as: UTF8.self) == "hello")
    }

    @Test func bodiesEndWhereTheyShould() throws {
        let open = "HTTP/1.1 200 OK\r\n\r\nhello"
        #expect(try !parse(open).isDone)
        let ended = try parse(open, ends: true)
        #expect(ended.isDone && !ended.keepsAlive)
        #expect(body(ended) == "hello")
        #expect(try parse("HTTP/1.1 204 No Content\r\n\r\n").isDone)
        #expect(try parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").isDone)
        #expect(try parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", method: "HEAD").isDone)
        #expect(try !parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", ends: true).isDone)
        #expect(try !parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ends: true).isDone)
        #expect(try !parse("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n").keepsAlive)
        #expect(try !parse("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keepsAlive)
        #expect(try parse("HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello").isDone)
    }

    @Test(arguments: [
        "hello world\r\n", "HTTP/2.0 200 OK\r\n", "HTTP/1.1 99 X\r\n", "HTTP/1.1 600 X\r\n", "HTTP/1.1 2000 X\r\n",
        "HTTP/1.1  200 OK\r\n", "HTTP/1.1 +20 OK\r\n", "HTTP/1.1 200 OK\n", "HTTP/1.1 200 OK\r\nno colon\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n", "HTTP/1.1 200 OK\r\na b: x\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n",
        "HTTP/1.1 200 OK\r\nA: \u{0}\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n123456789\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n",
    ])
    func malformedAnswersAreRefused(_ text: String) {
        for pieces in [1, Int.max] {
            let error = #expect(throws: ResponseParser.Failure.self) { try parse(text, pieces: pieces) }
            guard case .malformed? = error else {
                Issue.record("\(String(describing: error)) for \(text.debugDescription)")
                continue
            }
        }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nA: \(String(repeating: "a", count: 300))", String(repeating: "a", count: 300),
        "HTTP/1.1 200 OK\r\n" + String(repeating: "A: b\r\n", count: 50),
        "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "a", count: 101),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + String(repeating: "A: b\r\n", count: 50),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + String(repeating: "a", count: 300),
    ])
    func largeAnswersAreRefused(_ text: String) {
        var limits = HTTPResponseLimits()
        limits.headerBytes = 200
        limits.bodyBytes = 100
        for pieces in [1, Int.max] {
            let error = #expect(throws: ResponseParser.Failure.self) {
                try parse(text, pieces: pieces, limits: limits)
            }
            guard case .tooLarge? = error else {
                Issue.record("\(String(describing: error)) for \(text.debugDescription)")
                continue
            }
        }
    }

    @Test func randomAnswersNeverTrap() {
        var generator = SeededGenerator(seed: 0x5eed)
        let model = Array(
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: 1\r\n\r\n")
                .utf8
        )
        var done = 0
        for _ in 0..<50_000 {
            var bytes = model
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[place] = .random(in: .min ... .max, using: &generator)
                case 1: bytes.remove(at: place)
                default: bytes.insert(bytes[Int.random(in: 0..<bytes.count, using: &generator)], at: place)
                }
            }
            var parser = ResponseParser(method: "GET", limits: HTTPResponseLimits())
            do {
                while !bytes.isEmpty {
                    let count = min(bytes.count, Int.random(in: 1...40, using: &generator))
                    try parser.take(bytes[..<count])
                    bytes.removeFirst(count)
                }
                parser.end()
            } catch {}
            if parser.isDone { done += 1 }
        }
        #expect(done > 5_000)
    }

    @Test func targetsAreDecodedStrictly() {
        let target = HTTPTarget(parsing: "/1.0/a%20b/%C3%A4?x=1+2&y=%26&flag&=z")
        #expect(target?.path == "/1.0/a b/ä")
        #expect(target?.query == ["x": "1 2", "y": "&", "flag": "", "": "z"])
        #expect(HTTPTarget(parsing: "/")?.path == "/")
        #expect(HTTPTarget(parsing: "/a//b/")?.path == "/a//b/")
        #expect(HTTPTarget(parsing: "/a?b?c=d")?.query == ["b?c": "d"])
        for text in [
            "", "a", "*", "http://x/", "/%", "/%1", "/%1g", "/%00", "/%0a", "/%7f", "/%c3", "/%2f", "/a/../b", "/./a",
            "/%2e", "/%2E.", "/a b", "/a\u{7f}", "/ä", "/?a=%", "/?a=%00", "/?a&a", "/?a=1&%61=2",
        ] {
            #expect(HTTPTarget(parsing: text) == nil, "\(text.debugDescription)")
        }
        let odd = "a b&c=d/ä%\u{0}?"
        #expect(HTTPTarget(parsing: "/?q=\(HTTPTarget.escape("a b&c=d/ä%?"))")?.query["q"] == "a b&c=d/ä%?")
        #expect(HTTPTarget.escape(odd) == "a%20b%26c%3Dd%2F%C3%A4%25%00%3F")
    }

    @Test func headersIgnoreTheCaseOfNames() {
        var headers: HTTPHeaders = ["Content-Type": "a", "X": "1", "x": "2"]
        #expect(headers["content-type"] == "a")
        #expect(headers.all("X") == ["1", "2"])
        headers["x"] = "3"
        #expect(headers.all("X") == ["3"])
        headers["CONTENT-TYPE"] = nil
        #expect(headers.fields.map(\.name) == ["x"])
        headers.append("Connection", "keep-alive, Upgrade")
        #expect(headers.contains("upgrade", in: "connection"))
        #expect(!headers.contains("grade", in: "connection"))
    }
}
