import FanSystem
import Foundation
import Testing

@Suite struct ServiceManagerTests {
    private static func manager(_ variables: [String: String], processID: Int32 = 42) -> ServiceManager {
        ServiceManager(variable: { variables[$0] }, processID: processID)
    }

    @Test func theWatchdogIsForTheProcessThatItNames() {
        #expect(Self.manager(["WATCHDOG_USEC": "200000"]).watchdog == .milliseconds(200))
        #expect(Self.manager(["WATCHDOG_USEC": "200000", "WATCHDOG_PID": "42"]).watchdog == .milliseconds(200))
        #expect(Self.manager(["WATCHDOG_USEC": "200000", "WATCHDOG_PID": "43"]).watchdog == nil)
        #expect(Self.manager(["WATCHDOG_USEC": "junk"]).watchdog == nil)
        #expect(Self.manager([:]).watchdog == nil)
    }

    @Test(arguments: [
        ["LISTEN_FDS": "1"], ["LISTEN_FDS": "1", "LISTEN_PID": "43"], ["LISTEN_FDS": "-3", "LISTEN_PID": "42"],
        ["LISTEN_FDS": "junk", "LISTEN_PID": "42"], ["LISTEN_PID": "42"],
    ])
    func whatIsPassedToAnotherProcessIsNotTaken(_ variables: [String: String]) {
        #expect(Self.manager(variables).takeInherited().isEmpty)
    }

    /// Whoever runs a program by hand in a service's shell gets lines with the time, not with priorities.
    @Test func theJournalIsKnownByItsStream() {
        var status = stat()
        #expect(unsafe fstat(STDERR_FILENO, &status) == 0)
        func reads(_ text: String?) -> Bool {
            ServiceManager.readsStandardError { $0 == "JOURNAL_STREAM" ? text : nil }
        }
        #expect(reads("\(status.st_dev):\(status.st_ino)"))
        #expect(!reads("\(status.st_dev):\(status.st_ino + 1)"))
        #expect(!reads("1:2") && !reads("junk") && !reads("") && !reads(nil))
    }

    /// A line's end in a text must not begin another assignment.
    @Test func anAssignmentIsOneLine() throws {
        let path = "/tmp/fanmesh-notify-\(getpid())"
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        let bound = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe bind(descriptor, address, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        defer {
            close(descriptor)
            _ = unsafe unlink(path)
        }
        let manager = Self.manager(["NOTIFY_SOCKET": path])
        manager.send("READY=1", "STATUS=broken\nSTOPPING=1\u{1b}")
        manager.keep(descriptor, name: "map-1")
        var texts: [String] = []
        for _ in 0..<2 {
            var bytes = [UInt8](repeating: 0, count: 256)
            let count = unsafe recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            texts.append(String(decoding: bytes[..<max(count, 0)], as: UTF8.self))
        }
        #expect(texts == ["READY=1\nSTATUS=broken STOPPING=1 ", "FDSTORE=1\nFDNAME=map-1\nFDPOLL=0"])
    }
}
