internal import FanCore
internal import FanSystem

/// Whether `fanmesh check` finds what is broken in a lab, fault by fault.
public struct LabSelfTest {
    /// What a check said of a fault.
    public struct Detection: Sendable {
        /// The fault's name.
        public var fault: String
        /// The codes that are right.
        public var expected: [String]
        /// The code that the check gave.
        public var code: String
        /// Its sentence.
        public var message: String
        /// How long the check took.
        public var time: Duration
        /// Whether it is right.
        public var isRight: Bool
    }

    private let cluster: ClusterLab

    /// Takes a cluster of two nodes or more, all of them ONLINE: `node2` is hit, `node1` checks.
    public init(_ cluster: ClusterLab) { self.cluster = cluster }

    /// Checks while nothing is broken.
    ///
    /// - Parameter count: how often.
    /// - Returns: what was called broken, a sentence each; empty when nothing was.
    /// - Throws: ``LabError`` when a check cannot be run.
    public func falseAlarms(in count: Int) throws(LabError) -> [String] {
        var alarms: [String] = []
        for _ in 0..<count {
            let (document, _) = try check()
            guard document["verdict"] != "healthy" else { continue }
            alarms += (try? document.list("causes").map { try $0.text("message") }) ?? [document.compactJSONText]
        }
        return alarms
    }

    /// Breaks something, checks, and mends it.
    ///
    /// - Parameter fault: what to break.
    /// - Returns: what the check said.
    /// - Throws: ``LabError`` when something cannot be run, or when the lab is not well again after it.
    public func detect(_ fault: LabFault) throws(LabError) -> Detection {
        let pair = try LabFault.Pair(node.name, observedBy: observer.name, lab: cluster.lab.plan.name)
        try fault.inject(pair)
        var found: (document: Document, time: Duration)
        do throws(LabError) { found = try check() } catch {
            try? fault.undo(pair)
            throw error
        }
        try fault.undo(pair)
        let peers = (try? found.document.list("peers")) ?? []
        let peer = peers.first { $0["name"] == .string(node.name) } ?? .null
        let code = (try? peer.text("code")) ?? ""
        let message = (try? peer.text("diagnosis")) ?? found.document.compactJSONText
        let told = fault.told(pair)
        let detection = Detection(
            fault: fault.name,
            expected: fault.codes.map(\.rawValue),
            code: code,
            message: message,
            time: found.time,
            isRight: fault.codes.contains { $0.rawValue == code } && (told.isEmpty || message.contains(told))
        )
        try waitUntilWell(after: fault)
        return detection
    }

    private var observer: LabNode { cluster.node(1) }
    private var node: LabNode { cluster.node(2) }

    private func check() throws(LabError) -> (document: Document, time: Duration) {
        // What ARP learned before would answer for a while.
        _ = try observer.namespace.run("ip", "neigh", "flush", "dev", "fan0")
        let words = observer.fanmesh(cluster.start.executable, ["check", "--format", "json"])
        let result = try observer.namespace.run(ProcessRequest(words))
        guard let document = try? Document(json: result.output.utf8) else {
            throw .command(node: observer.name, command: "fanmesh check", result: result)
        }
        return (document, result.elapsed)
    }

    private func waitUntilWell(after fault: LabFault) throws(LabError) {
        let limit = Duration.seconds(30)
        let end = ContinuousClock.now + limit
        var last = ""
        repeat {
            let document = try check().document
            if document["verdict"] == "healthy" { return }
            last = document["causes"].compactJSONText
            sleepThread(for: .milliseconds(200))
        } while ContinuousClock.now < end
        throw .waited(limit, for: "health after the fault '\(fault.name)'", last: last)
    }
}
