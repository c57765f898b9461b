import CLinux
import FanCore
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import TestSupport
import Testing

extension RealSockets {
    /// The client against servers that do not keep to the rules.
    @Suite struct ClientTests {
        /// Says the same to each connection, whatever it asks, and then closes it or not.
        final class Script: Sendable {
            let directory: TestDirectory
            let path: String
            private let listener: Int32

            init(_ parts: [[UInt8]], closes: Bool = true, repeats: Bool = false) throws {
                directory = try TestDirectory()
                path = directory.file("s")
                listener = try listenUnix(path: path, mode: 0o600, group: nil).take()
                let listener = listener
                startThread("script") {
                    while true {
                        guard fan_poll_one(listener, Int32(POLLIN), 60_000) != 0 else { return }
                        let number = fan_accept(listener)
                        guard number >= 0 else { return }
                        startThread("scripted") { Self.serve(number, parts, closes, repeats) }
                    }
                }
            }

            private static func serve(_ number: Int32, _ parts: [[UInt8]], _ closes: Bool, _ repeats: Bool) {
                let stream = SocketStream(adopting: Descriptor(adopting: number), peer: "client")
                let deadline = ContinuousClock.now + testTimeout
                var buffer = [UInt8](repeating: 0, count: 65_536)
                guard (try? stream.read(into: &buffer, deadline: deadline)) ?? 0 > 0 else { return }
                repeat {
                    for part in parts {
                        guard (try? stream.write(part, deadline: deadline)) != nil else { return }
                        usleep(1000)
                    }
                } while repeats
                if !closes { while (try? stream.read(into: &buffer, deadline: deadline)) ?? 0 > 0 {} }
            }

            deinit { fan_end(listener) }
        }

        private func failure(of script: Script, timeout: Duration = testTimeout) throws -> HTTPError.Reason? {
            let client = try HTTPConnection.unix(path: script.path, timeout: testTimeout)
            let error = #expect(throws: HTTPError.self) { try client.request("GET", "/", timeout: timeout) }
            #expect(!client.isOpen)
            // It stays closed.
            #expect(throws: HTTPError.self) { try client.request("GET", "/", timeout: timeout) }
            return error?.reason
        }

        private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

        @Test func garbageIsRefused() throws {
            let reason = try failure(of: Script([bytes("220 smtp ready\r\n")]))
            #expect(reason == .malformed("the status line"))
        }

        @Test func endlessHeadersAreRefused() throws {
            let script = try Script(
                [bytes("HTTP/1.1 200 OK\r\n"), bytes("A: \(String(repeating: "a", count: 10_000))")],
                repeats: true
            )
            #expect(try failure(of: script) == .tooLarge("headers"))
            let many = String(repeating: "A: b\r\n", count: 200)
            let fields = try Script([bytes("HTTP/1.1 200 OK\r\n\(many)\r\n")])
            #expect(try failure(of: fields) == .tooLarge("more than 100 header fields"))
        }

        @Test func endlessBodiesAreRefused() throws {
            let part = bytes("HTTP/1.1 200 OK\r\n\r\n") + [UInt8](repeating: 65, count: 1 << 20)
            let script = try Script([part], repeats: true)
            var limits = HTTPResponseLimits()
            limits.bodyBytes = 4 << 20
            let client = try HTTPConnection.unix(path: script.path, timeout: testTimeout, limits: limits)
            let error = #expect(throws: HTTPError.self) { try client.request("GET", "/", timeout: testTimeout) }
            #expect(error?.reason == .tooLarge("a body of more than \(4 << 20) bytes"))
        }

        @Test(arguments: ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"])
        func anEarlyEndIsAnError(_ text: String) throws {
            #expect(try failure(of: Script([bytes(text)])) == .closed("before the answer was complete"))
        }

        @Test func bytesBehindTheAnswerEndTheConnection() throws {
            let script = try Script(
                [bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n")],
                closes: false
            )
            let client = try HTTPConnection.unix(path: script.path, timeout: testTimeout)
            #expect(try client.request("GET", "/", timeout: testTimeout).body == bytes("ok"))
            #expect(!client.isOpen)
        }

        @Test func anUnwantedAnswerEndsTheConnection() throws {
            let script = try Script(
                [bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), bytes("HTTP/1.1 200 OK\r\n")],
                closes: false
            )
            let client = try HTTPConnection.unix(path: script.path, timeout: testTimeout)
            #expect(try client.request("GET", "/", timeout: testTimeout).body == bytes("ok"))
            #expect(eventually { !client.isOpen })
        }

        @Test func silenceTimesOut() throws {
            let script = try Script([bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")], closes: false)
            #expect(try failure(of: script, timeout: .milliseconds(200)) == .timeout("read from"))
            let slow = try Script([bytes("HTTP/1.1 100 Continue\r\n\r\n")], closes: false, repeats: true)
            #expect(try failure(of: slow, timeout: .milliseconds(300)) == .timeout("read from"))
        }

        @Test func anUpgradeThatWasNotAskedForIsRefused() throws {
            let script = try Script([bytes("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")], closes: false)
            #expect(try failure(of: script) == .malformed("an upgrade that was not asked for"))
        }

        @Test func aThreadThatWaitsIsFreedByClosing() throws {
            let script = try Script([], closes: false)
            let client = try HTTPConnection.unix(path: script.path, timeout: testTimeout)
            let failed = Counter()
            startThread("wait") {
                do { _ = try client.request("GET", "/", timeout: .seconds(60)) } catch { failed.add(1) }
            }
            usleep(100_000)
            #expect(client.isOpen)
            client.close()
            #expect(failed.reaches(1))
            #expect(!client.isOpen)
        }

        @Test func noServerIsExplained() throws {
            let directory = try TestDirectory()
            let path = directory.file("none")
            let error = #expect(throws: HTTPError.self) { try HTTPConnection.unix(path: path, timeout: testTimeout) }
            let text = "connect to '\(path)': no such file or directory (ENOENT); is it running?"
            #expect(error?.description == text)
        }
    }
}
