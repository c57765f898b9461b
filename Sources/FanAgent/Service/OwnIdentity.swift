internal import FanCore
internal import FanSystem

/// Who this node is, by its state directory.
struct OwnIdentity {
    let nodeID: String
    /// What to say about it.
    private(set) var lines: [LogLine] = []

    /// Reads or makes the node's id; on a copy of another machine's disk it gets a new one, and what the other knew of
    /// its cluster is dropped.
    init(_ state: StateDirectory) throws {
        let lock = try state.lock()
        let isCopy = try state.isCopy()
        let known = try state.nodeID()
        nodeID = known ?? StateDirectory.newNodeID()
        if isCopy {
            try ClusterMemory(stateDirectory: state.path).remove()
            try PinnedSettings.remove(stateDirectory: state.path)
            lines.append(
                LogLine(
                    level: .warning,
                    code: "machine-changed",
                    message: "'\(state.path)' was made on another machine: this node has a new id, \(nodeID)"
                )
            )
        }
        if known == nil { try state.save(nodeID: nodeID) } else { try state.bind() }
        _ = consume lock
    }
}
