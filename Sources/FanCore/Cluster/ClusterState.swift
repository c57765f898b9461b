/// What all members know of their cluster.
public struct ClusterState: Hashable, Sendable, DocumentShape {
    /// Grows with every change.
    public var generation: Int
    /// What they agree on.
    public var config: ClusterConfig
    /// Who they are.
    public var members: [Member]

    /// Puts it together.
    public init(generation: Int, config: ClusterConfig, members: [Member]) {
        self.generation = generation
        self.config = config
        self.members = members
    }

    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("State", schema: "state")
        generation = try table.number(.generation, \.generation)
        config = try table.value("config", \.config)
        members = try table.list("members", \.members)
    }
}
