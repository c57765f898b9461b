internal import FanCore
internal import FanLab
internal import FanSystem
internal import FanTLS

/// A fanmesh cluster in a lab.
///
/// Nodes are named by their numbers, from 1. All of it is removed when this object goes.
final class OurCluster {
    let cluster: ClusterLab

    /// Starts the daemons on every host, and makes the first a cluster.
    init(_ name: String, nodes: Int, _ context: BenchContext) throws {
        let start = ClusterStart(executable: context.fanmesh)
        cluster = try ClusterLab(context.plan(name, nodes: nodes), start, interruption: context.interruption)
        try cluster.lab.makeHosts()
        try cluster.startDaemons()
        try cluster.form(members: 1)
    }

    /// Lets a host join with a token.
    ///
    /// - Returns: how long the command on that host took, until its overlay was verified; the token is there before.
    func join(_ number: Int) throws -> Double {
        let token = try cluster.token(for: number)
        let arguments = ["join", "-", "--address", "\(cluster.node(number).address)"]
        let result = try cluster.fanmesh(on: number, arguments, input: token)
        guard result.isSuccess else {
            throw BenchError("\(cluster.node(number).name): 'fanmesh join' \(result.explanation)")
        }
        return result.elapsed.seconds
    }

    /// The process of a daemon.
    func id(of daemon: ClusterDaemon, on number: Int) throws -> Int32 {
        guard let process = cluster.process(daemon, on: number) else {
            throw BenchError("\(daemon.rawValue) was not started on node\(number)")
        }
        return process.id
    }

    /// Stops a member's daemon and starts it again.
    ///
    /// - Returns: how long the new one took until it told its service manager that it is ready.
    func restartUntilReady(_ daemon: ClusterDaemon, on number: Int) throws -> Double {
        guard let process = cluster.process(daemon, on: number) else {
            throw BenchError("\(daemon.rawValue) was not started on node\(number)")
        }
        try process.stop()
        let manager = try ReadySocket("\(cluster.node(number).directory)/ready")
        let began = ContinuousClock.now
        try cluster.start(daemon, on: number, environment: ["NOTIFY_SOCKET": manager.path])
        try manager.wait(atMost: .seconds(20))
        return began.duration(to: .now).seconds
    }

    func address(_ number: Int) -> SocketAddress { SocketAddress(cluster.node(number).address) }

    /// The identity that a node's server shows to others.
    func identity(_ number: Int) throws -> Identity { try identity("node", number) }

    /// The fingerprint of the certificate that all members share.
    func fingerprint() throws -> String { try identity("cluster", 1).fingerprint }

    private func identity(_ name: String, _ number: Int) throws -> Identity {
        try Identity(directory: "\(cluster.node(number).stateDirectory)/server", name: name)
    }
}

extension Identity {
    /// Reads NAME.crt and NAME.key.
    init(directory: String, name: String) throws {
        guard
            let certificate = try File.read("\(directory)/\(name).crt"),
            let key = try File.read("\(directory)/\(name).key")
        else { throw BenchError("there is no identity '\(name)' in \(directory)") }
        try self.init(certificatePEM: certificate, keyPEM: key)
    }
}
