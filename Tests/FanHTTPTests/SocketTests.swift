import CLinux
import FanCore
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import TestSupport
import Testing

extension RealSockets {
    /// Listening sockets, the pump, and the threads below.
    @Suite struct SocketTests {
        @Test func aSocketThatNobodyListensOnIsReplaced() throws {
            let directory = try TestDirectory()
            let path = directory.file("s")
            close(try listenUnix(path: path, mode: 0o600, group: nil).take())
            let listener = try listenUnix(path: path, mode: 0o640, group: "root")
            let error = #expect(throws: HTTPError.self) {
                close(try listenUnix(path: path, mode: 0o600, group: nil).take())
            }
            #expect(error?.description.contains("another server listens there") == true)
            _ = try HTTPConnection.unix(path: path, timeout: testTimeout)
            var status = stat()
            unsafe #expect(stat(path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o640)
            #expect(fcntl(listener.number, F_GETFD) & FD_CLOEXEC != 0)
        }

        @Test func otherFilesAreNotReplaced() throws {
            let directory = try TestDirectory()
            let path = directory.file("s")
            try File.replace(path, with: "precious")
            #expect(throws: HTTPError.self) { close(try listenUnix(path: path, mode: 0o600, group: nil).take()) }
            #expect(try File.read(path) == "precious")
            #expect(throws: HTTPError.self) {
                close(try listenUnix(path: directory.file("t"), mode: 0o600, group: "fan-no-such-group").take())
            }
            #expect(throws: HTTPError.self) {
                close(
                    try listenUnix(path: directory.file(String(repeating: "x", count: 120)), mode: 0o600, group: nil)
                        .take()
                )
            }
            #expect(throws: HTTPError.self) {
                close(try listenUnix(path: directory.file("none/s"), mode: 0o600, group: nil).take())
            }
            #expect(try File.names(in: directory.path) == ["s"])
        }

        @Test func aPortThatIsTakenIsRefused() throws {
            let listener = try listenTCP(SocketAddress(loopback, port: 0))
            let port = UInt16(fan_local_port(listener.number))
            let error = #expect(throws: HTTPError.self) {
                close(try listenTCP(SocketAddress(loopback, port: port)).take())
            }
            #expect(error?.description.hasPrefix("listen on '127.0.0.1:\(port)': address already in use") == true)
            #expect(throws: HTTPError.self) {
                close(try listenTCP(SocketAddress(IPv4Address(198, 51, 100, 1), port: 0)).take())
            }
            #expect(fcntl(listener.number, F_GETFD) & FD_CLOEXEC != 0)
        }

        private func pair() throws -> [Int32] {
            var ends: [Int32] = [-1, -1]
            try unsafe #require(fan_socket_pair(&ends) == 0)
            return ends
        }

        private func stream(_ number: Int32) -> SocketStream {
            SocketStream(adopting: Descriptor(adopting: number), peer: "test")
        }

        @Test func thePumpCarriesBothWaysAndPassesEndsOn() throws {
            let before = try openDescriptors()
            do {
                let (left, right) = (try pair(), try pair())
                pump(SocketEnd(adopting: left[1]), SocketEnd(adopting: right[0]))
                let (a, b) = (stream(left[0]), stream(right[1]))
                let deadline = ContinuousClock.now + testTimeout
                var buffer = [UInt8](repeating: 0, count: 100)
                try a.write([1, 2, 3], deadline: deadline)
                #expect(try b.read(into: &buffer, deadline: deadline) == 3)
                // One direction ends; the other one goes on.
                fan_end_writing(left[0])
                #expect(try b.read(into: &buffer, deadline: deadline) == 0)
                try b.write([4, 5], deadline: deadline)
                #expect(try a.read(into: &buffer, deadline: deadline) == 2)
                fan_end_writing(right[1])
                #expect(try a.read(into: &buffer, deadline: deadline) == 0)
            }
            // Both ends of the pump are closed too; its own two descriptors stay.
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= before + 2 })
        }

        /// Who only writes learns at once that the other side is gone, and what was sent before arrives.
        @Test(arguments: [0, 1]) func aWholePumpEndsWithItsFirstEnd(side: Int) throws {
            for _ in 0..<20 {
                let (left, right) = (try pair(), try pair())
                pump(SocketEnd(adopting: left[1]), SocketEnd(adopting: right[0]), endsWhole: true)
                let ends = [stream(left[0]), stream(right[1])]
                let descriptors = [left[0], right[1]]
                try ends[side].write([1, 2, 3], deadline: .now + testTimeout)
                fan_end_writing(descriptors[side])
                var buffer = [UInt8](repeating: 0, count: 10)
                #expect(try ends[1 - side].read(into: &buffer, deadline: .now + testTimeout) == 3)
                let began = ContinuousClock.now
                let isKnown = eventually(within: .seconds(1)) {
                    (try? ends[1 - side].write([4], deadline: .now + testTimeout)) == nil
                }
                #expect(isKnown && began.duration(to: .now) < .seconds(1))
            }
        }

        /// What is sent to somebody who stands still is not kept for longer than that.
        @Test func aWholePumpDoesNotWaitForWhoStandsStill() throws {
            let (left, right) = (try pair(), try pair())
            pump(SocketEnd(adopting: left[1]), SocketEnd(adopting: right[0]), endsWhole: true)
            let (a, b) = (stream(left[0]), stream(right[1]))
            let part = [UInt8](repeating: 7, count: 64 << 10)
            var buffer = part
            // Slow, but not still.
            for _ in 0..<60 {
                while unsafe fan_stream_send(left[0], part, part.count) > 0 {}
                #expect(try b.read(into: &buffer, deadline: .now + testTimeout) > 0)
                usleep(50_000)
            }
            let began = ContinuousClock.now
            while (try? a.write(part, deadline: .now + testTimeout)) != nil {}
            let took = began.duration(to: .now)
            #expect(took > .seconds(1) && took < .seconds(8), "\(took)")
        }

        @Test func thePumpHoldsBackWhoSendsTooMuch() throws {
            let (left, right) = (try pair(), try pair())
            pump(SocketEnd(adopting: left[1]), SocketEnd(adopting: right[0]))
            let (a, b) = (stream(left[0]), stream(right[1]))
            let size = 8 << 20
            let part = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 9) }
            // Nobody reads: the pump takes what the sockets hold and a buffer, and no more.
            var taken = 0
            while taken < size {
                let count = unsafe part[taken...].withUnsafeBytes {
                    unsafe fan_stream_send(left[0], $0.baseAddress, $0.count)
                }
                if count < 0, fan_poll_one(left[0], Int32(POLLOUT), 300) == 0 { break }
                taken += max(0, count)
            }
            #expect(taken < 2 << 20)
            let rest = taken
            startThread("send") { try? a.write(Array(part[rest...]), deadline: .now + testTimeout) }
            var received = 0
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while received < size {
                let count = try b.read(into: &buffer, deadline: .now + testTimeout)
                try #require(count > 0 && buffer[..<count] == part[received..<received + count])
                received += count
            }
        }

        @Test func aBrokenSideEndsThePump() throws {
            let before = try openDescriptors()
            for _ in 0..<50 {
                let (left, right) = (try pair(), try pair())
                pump(SocketEnd(adopting: left[1]), SocketEnd(adopting: right[0]))
                let a = stream(left[0])
                try a.write([UInt8](repeating: 0, count: 1000), deadline: .now + testTimeout)
                close(right[1])
                // Whoever is left sees an end or an error, not silence.
                var buffer = [UInt8](repeating: 0, count: 10)
                #expect((try? a.read(into: &buffer, deadline: .now + testTimeout)) ?? 0 == 0)
            }
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= before + 2 })
        }

        @Test func manyPumpsAtOnce() throws {
            var streams: [(SocketStream, SocketStream)] = []
            for _ in 0..<200 {
                let (left, right) = (try pair(), try pair())
                pump(SocketEnd(adopting: left[1]), SocketEnd(adopting: right[0]))
                streams.append((stream(left[0]), stream(right[1])))
            }
            let deadline = ContinuousClock.now + testTimeout
            for round in 0..<20 {
                for (index, (a, b)) in streams.enumerated() {
                    let (from, to) = round.isMultiple(of: 2) ? (a, b) : (b, a)
                    try from.write([UInt8(index & 255), UInt8(round)], deadline: deadline)
                    var buffer = [UInt8](repeating: 0, count: 10)
                    #expect(try to.read(into: &buffer, deadline: deadline) == 2)
                    #expect(buffer[0] == UInt8(index & 255) && buffer[1] == UInt8(round))
                }
            }
        }

        @Test func aWorkerPoolRunsJobsInParallelAndRefusesTooMany() {
            let pool = WorkerPool(name: "test", threads: 2, queueLimit: 3)
            let gate = Counter()
            let began = Counter()
            let done = Counter()
            // Two jobs must run at the same time for both to have begun.
            for _ in 0..<2 {
                let taken = pool.submit {
                    began.add(1)
                    _ = gate.reaches(1)
                    done.add(1)
                }
                #expect(taken)
            }
            #expect(began.reaches(2))
            for _ in 0..<3 { #expect(pool.submit { done.add(1) }) }
            #expect(!pool.submit { done.add(100) })
            gate.add(1)
            #expect(done.reaches(5))
            pool.stop()
            #expect(!pool.submit { done.add(100) })
            #expect(done.value == 5)
        }

        @Test func aWorkerPoolKeepsTheOrderOfItsJobs() {
            let pool = WorkerPool(name: "test", threads: 1, queueLimit: 10_000)
            let seen = Monitor<[Int]>([])
            for number in 0..<5000 { #expect(pool.submit { seen.withLock { $0.append(number) } }) }
            pool.stop()
            let all = seen.wait(timeout: testTimeout) { $0.count == 5000 ? $0 : nil }
            #expect(all == Array(0..<5000))
        }

        @Test func aMonitorTimesOut() {
            let monitor = Monitor(0)
            #expect(monitor.wait(timeout: .milliseconds(50)) { $0 > 0 ? true : nil } == nil)
            #expect(monitor.wait(timeout: .seconds(-1)) { $0 == 0 ? true : nil } == true)
        }
    }
}
