import FanCore
import FanDatabase
import Testing

@Suite(.serialized) struct ClusterTablesTests {
    @Test func theConfigurationComesBackAsItWasStored() throws {
        let nodes = try Nodes()
        let database = Database(node: try nodes.start(1))
        defer { database.stop() }
        var config = ClusterConfig(
            clusterID: "0123",
            mapping: try FanMapping(
                overlay: try IPv4Prefix(parsing: "240.0.0.0/8"),
                underlay: try IPv4Prefix(parsing: "172.31.16.0/20")
            )
        )
        #expect(try database.write { transaction in try transaction.loadConfig() } == nil)
        for change in 0..<3 {
            config.mtuBytes = change == 1 ? 1400 : nil
            config.network = change == 2 ? "12" : "fan0"
            let stored = config
            try database.write { transaction in try transaction.saveConfig(stored) }
            #expect(try database.read { transaction in try transaction.loadConfig() } == config)
        }
    }
}
