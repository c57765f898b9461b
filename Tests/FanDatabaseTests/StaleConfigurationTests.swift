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
        /// Does something at the leader, which may be another one since the last time.
        func lead(_ body: (DatabaseClient) throws -> Void) throws {
            try eventually("the leader to do it") {
                do { try body(nodes.openClient(nodes.leader())) } catch is DatabaseError { return Void?.none }
                return ()
            }
        }
        try lead { try $0.execute("CREATE TABLE IF NOT EXISTS x (a INTEGER)") }
        func write(_ count: Int) throws {
            try lead { client in
                for number in 0..<count { try client.execute("INSERT INTO x VALUES (\(number))") }
            }
            try eventually("node 2's copy") {
                try nodes.node(2).copy().text() == nodes.node(1).copy().text() ? () : nil
            }
        }
        try write(100)
        for _ in 1...8 {
            nodes.stop(2)
            try nodes.start(2, mayBeEmpty: false, log: LogLength(changes: 16, trailing: 32))
            try lead { client in
                if try !client.cluster().contains(where: { $0.id == 9 }) {
                    try client.add(id: 9, address: nodes.address(9))
                }
                try client.remove(id: 9)
            }
            try write(20)
            let voters = try nodes.client(2).cluster().filter { $0.role == .voter }.map(\.id)
            #expect(voters == [1, 2, 3])
        }
    }
}
