import FanCore
import FanDatabase
import TestSupport
import Testing

/// libraft 0.22.1 may take a snapshot between two changes of the configuration that it applies together, as it does after
/// a start: that holds only the first of them, and so does every later one, until a start finds nothing else.
struct StaleConfigurationTests {
    /// Does what the leader's server does about it.
    @Test func whatIsWrittenAnewIsKept() throws {
        let nodes = try Nodes(log: LogLength(changes: 1024, trailing: 1024))
        try nodes.form(3)
        let client = try nodes.openClient(1)
        try client.execute("CREATE TABLE x (a INTEGER)")
        func write(_ count: Int) throws {
            for number in 0..<count { try client.execute("INSERT INTO x VALUES (\(number))") }
            try eventually("node 2's copy") {
                try nodes.node(2).copy().text() == nodes.node(1).copy().text() ? () : nil
            }
        }
        func voters() throws -> [UInt64] {
            try nodes.client(2).cluster().filter { $0.role == .voter }.map(\.id)
        }
        try write(100)
        for _ in 1...8 {
            nodes.stop(2)
            try nodes.start(2, mayBeEmpty: false, log: LogLength(changes: 16, trailing: 32))
            try client.add(id: 9, address: nodes.address(9))
            try client.remove(id: 9)
            try write(20)
            #expect(try voters() == [1, 2, 3])
        }
    }
}
