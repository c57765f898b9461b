/// A place in a lab where commands can run: a node or a guest of a lab that is up.
public struct LabTarget: Hashable, Sendable {
    /// The place's name, `node1` or `node1-guest1`.
    public let name: String
    /// The lab's name.
    public let lab: String
    /// Its namespace.
    public let namespace: NetworkNamespace
    /// The variables that make fanmesh use the directories of the node.
    public let environment: [String: String]

    /// Finds a place in a lab, however the lab was made.
    ///
    /// - Parameters:
    ///   - name: the place's name.
    ///   - lab: the lab's name.
    /// - Throws: ``LabError/noLab(name:)``, ``LabError/noNode(_:lab:known:)``.
    public init(_ name: String, lab: String) throws(LabError) {
        try LabPlan.requireName(lab)
        let prefix = "fanlab-\(lab)-"
        let known = NetworkNamespace.all()
            .filter { LabNames.belongs($0.name, toLab: lab) }
            .map { String($0.name.dropFirst(prefix.count)) }
        guard !known.isEmpty else { throw .noLab(name: lab) }
        guard known.contains(name) else {
            let order = known.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
            throw .noNode(name, lab: lab, known: order)
        }
        self.name = name
        self.lab = lab
        namespace = NetworkNamespace(prefix + name)
        let node = name.prefix { $0 != "-" }
        let directory = "\(LabPlan.directory)/\(lab)/\(node)"
        environment =
            node == "switch"
            ? [:] : ["FANMESH_STATE_DIR": "\(directory)/state", "FANMESH_RUNTIME_DIR": "\(directory)/run"]
    }
}
