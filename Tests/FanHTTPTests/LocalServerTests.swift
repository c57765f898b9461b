import CLinux
import FanCore
import FanSystem
import Glibc
import TestSupport
import Testing

@testable import FanHTTP

extension RealSockets {
    /// What the local server alone has: its own sockets, and answers that are made piece by piece.
    @Suite struct LocalServerTests {
        private let directory: TestDirectory
        private var path: String { directory.file("s") }

        init() throws {
            directory = try TestDirectory()
        }

        private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

        private func request(_ target: String = "/", _ fields: String = "") -> [UInt8] {
            Array("GET \(target) HTTP/1.1\r\nHost: x\r\n\(fields)\r\n".utf8)
        }

        /// The answers to the requests that were sent before the end.
        private func answers(_ socket: RawSocket, _ methods: [String]) throws -> [HTTPResponse] {
            fan_end_writing(socket.number)
            var bytes = socket.readToEnd().bytes[...]
            var all: [HTTPResponse] = []
            for method in methods {
                var parser = ResponseParser(method: method, limits: HTTPResponseLimits())
                try parser.take(bytes)
                try #require(parser.isDone, "\(text(Array(bytes.prefix(200))))")
                all.append(parser.response)
                bytes = parser.rest
            }
            #expect(bytes.isEmpty)
            return all
        }

        @Test func requestsInARowAreAnsweredInTheirOrder() throws {
            let parked = Monitor<[String: HTTPResponder]>([:])
            let server = try TestServer(path: path) { request, responder in
                parked.withLock { $0[request.path] = responder }
            }
            let socket = try RawSocket(path: path)
            socket.send((1...3).flatMap { request("/\($0)") })
            for number in 1...3 {
                let responder = try #require(parked.wait(timeout: testTimeout) { $0.removeValue(forKey: "/\(number)") })
                // The next one is not looked at before.
                #expect(server.handled == number)
                responder.respond(HTTPResponse(status: 200 + number))
                responder.respond(HTTPResponse(status: 500))
            }
            #expect(try answers(socket, ["GET", "GET", "GET"]).map(\.status) == [201, 202, 203])
        }

        /// Bytes come one at a time, and nothing is lost between one request and the next.
        @Test(arguments: [1, 2, 3, 5, 64]) func piecesOfAnySize(_ size: Int) throws {
            let server = try TestServer(path: path)
            let socket = try RawSocket(path: path)
            var bytes = Array("PUT /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello".utf8)[...]
            bytes += Array("HEAD /b HTTP/1.1\r\nHost: x\r\n\r\nPOST /c HTTP/1.1\r\nHost: x\r\n".utf8)
            bytes += Array("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: 1\r\n\r\n".utf8)
            while !bytes.isEmpty {
                socket.send(Array(bytes.prefix(size)))
                bytes = bytes.dropFirst(size)
            }
            let all = try answers(socket, ["PUT", "HEAD", "POST"])
            #expect(all.map { $0.headers["X-Path"] } == ["/a", "/b", "/c"])
            #expect(all.map { text($0.body) } == ["hello", "", "abcde"])
            #expect(server.log.all.isEmpty)
        }

        /// Each limit at its end, and one byte beyond it.
        @Test func limitsAtTheirEnds() throws {
            var limits = TestServer.generous
            limits.maximumHeaderBytes = 200
            limits.maximumBodyBytes = 100
            let server = try TestServer(path: path, limits: limits)
            func status(_ bytes: [UInt8]) throws -> Int {
                let socket = try RawSocket(path: path)
                socket.send(bytes)
                return try answers(socket, ["GET"]).first?.status ?? 0
            }
            func head(_ size: Int) -> [UInt8] {
                let rest = request("/", "X: \r\n").count
                return request("/", "X: \(String(repeating: "a", count: size - rest))\r\n")
            }
            #expect(head(200).count == 200)
            #expect(try status(head(200)) == 200)
            #expect(try status(head(201)) == 431)
            func put(_ size: Int) -> [UInt8] {
                Array("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: \(size)\r\n\r\n".utf8)
                    + [UInt8](repeating: 65, count: size)
            }
            #expect(try status(put(100)) == 200)
            #expect(try status(put(101)) == 413)
            func chunks(_ sizes: [Int]) -> [UInt8] {
                Array("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
                    + sizes.flatMap { size in
                        Array("\(String(size, radix: 16))\r\n".utf8) + [UInt8](repeating: 65, count: size) + [13, 10]
                    } + Array("0\r\n\r\n".utf8)
            }
            #expect(try status(chunks([50, 50])) == 200)
            #expect(try status(chunks([50, 51])) == 413)
            limits.maximumHeaderBytes = 16 << 10
            let wide = try TestServer(path: directory.file("w"), limits: limits)
            for (count, expected) in [(99, 200), (100, 431)] {
                let socket = try RawSocket(path: wide.path)
                // With the host.
                socket.send(request("/", String(repeating: "A: b\r\n", count: count)))
                #expect(try answers(socket, ["GET"]).first?.status == expected)
            }
            #expect(server.log.all.map(\.kind) == Array(repeating: .badRequest, count: 3))
        }

        @Test func anOldClientIsAnsweredAndSentAway() throws {
            let server = try TestServer(path: path)
            let socket = try RawSocket(path: path)
            socket.send(Array("GET /x HTTP/1.0\r\n\r\n".utf8))
            let (bytes, ended) = socket.readToEnd()
            #expect(text(bytes).hasPrefix("HTTP/1.1 200 \r\n") && ended)
            #expect(server.handled == 1)
        }

        @Test func whoWaitsForAWordGetsIt() throws {
            _ = try withServer { server in
                let socket = try RawSocket(path: server.path)
                let head = "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
                socket.send(Array(head.utf8))
                #expect(fan_poll_one(socket.number, Int32(POLLIN), 20_000) != 0)
                #expect(server.handled == 0)
                socket.send(Array("ok".utf8))
                // The parser passes over what comes before the answer.
                #expect(try answers(socket, ["PUT"]).first?.body == Array("ok".utf8))
            }
        }

        private func withServer<Value>(_ body: (TestServer) throws -> Value) throws -> Value {
            try body(try TestServer(path: path))
        }

        @Test func aHundredClientsAtOnce() throws {
            let pool = WorkerPool(name: "handlers", threads: 4)
            let server = try TestServer(path: path) { request, responder in
                _ = pool.submit { TestServer.echo(request, responder) }
            }
            let (ready, go, right, done) = (Counter(), Counter(), Counter(), Counter())
            for number in 0..<100 {
                startThread("client") {
                    defer { done.add(1) }
                    guard let client = try? server.connect() else { return ready.add(1) }
                    ready.add(1)
                    _ = go.reaches(1, within: .seconds(60))
                    for round in 0..<20 {
                        let body = Array("\(number) \(round)".utf8)
                        let answer = try? client.request("PUT", "/", body: body, timeout: .seconds(60))
                        if answer?.body == body { right.add(1) }
                    }
                }
            }
            #expect(ready.reaches(100, within: .seconds(60)))
            go.add(1)
            #expect(done.reaches(100, within: .seconds(60)))
            #expect(right.value == 2000)
            #expect(server.log.all.isEmpty)
        }

        @Test func stoppingAnswersWhatIsParkedAndFreesTheSocket() throws {
            let before = try openDescriptors()
            let parked = Monitor<[HTTPResponder]>([])
            do {
                let server = try TestServer(path: path) { _, responder in parked.withLock { $0.append(responder) } }
                let told = Counter()
                for _ in 0..<20 {
                    startThread("wait") {
                        let client = try? server.connect()
                        if (try? client?.request("GET", "/", timeout: .seconds(60)))?.status == 503 { told.add(1) }
                    }
                }
                #expect(parked.wait(timeout: testTimeout) { $0.count == 20 ? true : nil } == true)
                // One that only just began, and one that says nothing.
                let (half, silent) = (try RawSocket(path: path), try RawSocket(path: path))
                half.send(Array("GET / HTT".utf8))
                server.stop()
                server.stop()
                #expect(told.reaches(20))
                #expect(half.readToEnd() == ([], true) && silent.readToEnd() == ([], true))
                // Too late, and harmless.
                for responder in parked.withLock({ $0 }) { responder.respond(HTTPResponse(status: 200)) }
                close(try listenUnix(path: path, mode: 0o600, group: nil).take())
            }
            parked.withLock { $0 = [] }
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= before })
        }

        // MARK: Streams

        /// A server that makes an answer piece by piece of what it is given.
        private func streaming(limit: Int = 256 << 10) throws -> (TestServer, Monitor<[HTTPStream]>) {
            let streams = Monitor<[HTTPStream]>([])
            let server = try TestServer(path: path) { _, responder in
                let stream = responder.stream(HTTPResponse(status: 200, headers: ["X": "y"]), limit: limit)
                streams.withLock { $0.append(stream) }
            }
            return (server, streams)
        }

        @Test func piecesArriveWhenTheyAreMade() throws {
            let (server, streams) = try streaming()
            let socket = try RawSocket(path: server.path)
            socket.send(request() + request("/next"))
            let stream = try #require(streams.wait(timeout: testTimeout) { $0.first })
            let reader = SocketStream(adopting: Descriptor(adopting: dup(socket.number)), peer: "server")
            var parser = ResponseParser(method: "GET", limits: HTTPResponseLimits())
            var buffer = [UInt8](repeating: 0, count: 4096)
            for number in 1...50 {
                #expect(stream.send(Array("event \(number)\n".utf8)))
                while !text(parser.response.body).hasSuffix("event \(number)\n") {
                    let count = try reader.read(into: &buffer, deadline: .now + testTimeout)
                    try #require(count > 0)
                    try parser.take(buffer[..<count])
                }
                #expect(!parser.isDone)
            }
            stream.end()
            #expect(!stream.send([1]))
            while !parser.isDone {
                let count = try reader.read(into: &buffer, deadline: .now + testTimeout)
                try #require(count > 0)
                try parser.take(buffer[..<count])
            }
            #expect(parser.response.headers["X"] == "y")
            // The connection goes on with the next request.
            #expect(streams.wait(timeout: testTimeout) { $0.count == 2 ? true : nil } == true)
        }

        @Test func aSlowReaderIsDroppedAndAQuickOneIsNot() throws {
            let (server, streams) = try streaming(limit: 10_000)
            let (slow, quick) = (try RawSocket(path: server.path), try RawSocket(path: server.path))
            slow.send(request())
            let first = try #require(streams.wait(timeout: testTimeout) { $0.first })
            quick.send(request())
            let second = try #require(streams.wait(timeout: testTimeout) { $0.count == 2 ? $0[1] : nil })
            let received = Counter()
            startThread("read") {
                let reader = SocketStream(adopting: Descriptor(adopting: dup(quick.number)), peer: "server")
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while let count = try? reader.read(into: &buffer, deadline: .now + testTimeout), count > 0 {
                    received.add(count)
                }
            }
            let piece = [UInt8](repeating: 65, count: 1000)
            var isDropped = false
            // More than any socket holds, no faster than the quick one reads.
            for number in 1...1000 {
                try #require(second.send(piece))
                if !first.send(piece) { isDropped = true }
                try #require(received.reaches(1000 * (number - 5)))
            }
            #expect(isDropped && !first.isOpen && second.isOpen)
            second.end()
            fan_end_writing(quick.number)
            #expect(received.reaches(1_000_000))
            #expect(slow.readToEnd().ended)
        }

        @Test func aClientThatGoesEndsItsStream() throws {
            let (server, streams) = try streaming()
            do {
                let socket = try RawSocket(path: server.path)
                socket.send(request())
                #expect(streams.wait(timeout: testTimeout) { $0.first?.send([1]) } == true)
            }
            #expect(eventually { streams.withLock { $0.first?.isOpen } == false })
            server.stop()
        }

        @Test func stoppingEndsStreams() throws {
            let (server, streams) = try streaming()
            let socket = try RawSocket(path: server.path)
            socket.send(request())
            let stream = try #require(streams.wait(timeout: testTimeout) { $0.first })
            server.stop()
            #expect(!stream.send([1]))
            #expect(socket.readToEnd().ended)
        }
    }

    /// The server's side of a connection, without sockets.
    @Suite struct ConversationTests {
        /// Whatever comes, it neither traps nor keeps more than its limits, and answers what it handled.
        @Test func junkNeverTraps() {
            var generator = SeededGenerator(seed: 0x10ca1)
            let model = Array(
                ("PUT /a?b=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"
                    + "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").utf8
            )
            var limits = HTTPLimits()
            limits.maximumBodyBytes = 1000
            limits.maximumHeaderBytes = 500
            var (handled, refused) = (0, 0)
            for _ in 0..<30_000 {
                var bytes = model
                for _ in 0..<Int.random(in: 0...3, using: &generator) {
                    let place = Int.random(in: 0..<bytes.count, using: &generator)
                    switch Int.random(in: 0..<3, using: &generator) {
                    case 0: bytes[place] = .random(in: .min ... .max, using: &generator)
                    case 1: bytes.remove(at: place)
                    default: bytes.insert(bytes[Int.random(in: 0..<bytes.count, using: &generator)], at: place)
                    }
                }
                var conversation = ServerConversation(peer: .local(uid: 0), limits: limits)
                reading: while !bytes.isEmpty {
                    let count = min(bytes.count, Int.random(in: 1...40, using: &generator))
                    conversation.take(bytes[..<count])
                    bytes.removeFirst(count)
                    while true {
                        switch conversation.next() {
                        case .handle(let request):
                            handled += 1
                            #expect(request.body.count <= limits.maximumBodyBytes)
                            #expect(conversation.phase == .handling && conversation.unsent.isEmpty)
                            conversation.answer(HTTPResponse(status: 200, body: request.body))
                        case .refused: refused += 1
                        case .wait:
                            if conversation.unsent.isEmpty { continue reading }
                        }
                        #expect(conversation.unsent.starts(with: Array("HTTP/1.1 ".utf8)))
                        conversation.sent(conversation.unsent.count)
                        if conversation.phase == .over { break reading }
                    }
                }
            }
            #expect(handled > 20_000 && refused > 5_000)
        }

        /// What a handler echoes cannot become a line of the head.
        @Test func aHeadHasNoLinesOfItsValues() {
            var conversation = ServerConversation(peer: .local(uid: 0), limits: HTTPLimits())
            conversation.take(Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8)[...])
            guard case .handle = conversation.next() else {
                Issue.record("no request")
                return
            }
            conversation.answer(HTTPResponse(status: 200, headers: ["A": "b\r\nEvil: 1", "C": "d", "E\n": "f"]))
            let text = String(decoding: conversation.unsent, as: UTF8.self)
            #expect(text == "HTTP/1.1 200 \r\nC: d\r\nContent-Length: 0\r\n\r\n")
        }
    }
}
