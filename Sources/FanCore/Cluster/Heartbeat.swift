/// What a member tells the leader every few seconds.
public struct Heartbeat: Hashable, Sendable {
    /// Who it is.
    public var name: String
    /// The cluster it thinks it is in.
    public var clusterID: String
    /// The generation of the state that it has.
    public var generation = 0
    /// The start that it is in.
    public var incarnation = 0
    /// Its version of fanmesh.
    public var version = FanmeshVersion.text
    /// Its version of the schema.
    public var schema = 0
    /// Its clock, in milliseconds since 1970.
    public var clock: Int64 = 0
    /// How long the answer may be held back.
    public var wait = Duration.zero
    /// Whether an agent is connected to it.
    public var hasAgent = false
    /// Whether its overlay was never verified yet.
    public var isJoining = false
    /// What its disk knows of its earlier heartbeats.
    public var beatCount = BeatCount()
    /// How many heartbeats its disk knew of when it started.
    public var formerBeats = 0
    /// Whether its database, which votes, takes others for the voters than the leader does.
    public var hasOtherVoters = false
    /// The term of its leadership, when it announces that; nil otherwise.
    public var term: Int?
}

extension Heartbeat: DocumentShape {
    /// A member that has said nothing but who it is.
    public init(name: String, clusterID: String) { (self.name, self.clusterID) = (name, clusterID) }

    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Heartbeat")
        name = try table.value("name", \.name)
        clusterID = try table.value("cluster_id", \.clusterID)
        generation = try table.number(.generation, \.generation)
        incarnation = try table.number(.incarnation, \.incarnation)
        version = try table.value("version", \.version)
        schema = try table.number(.schemaVersion, \.schema)
        clock = try table.number(.clock, \.clock)
        wait = .milliseconds(try table.number(.heartbeatWait, \.wait.milliseconds))
        hasAgent = try table.value("agent", \.hasAgent)
        isJoining = try table.value("joining", \.isJoining)
        beatCount.run = try table.value("run", \.beatCount.run, default: "")
        beatCount.beats = try table.number(.beats, \.beatCount.beats, default: 0)
        formerBeats = try table.number(.formerBeats, \.formerBeats, default: 0)
        hasOtherVoters = try table.value("other_voters", \.hasOtherVoters, default: false)
        term = try table.optionalNumber(.leadsTerm, \.term)
    }
}

/// How far a member's disk has come: a counter that is on the disk before anybody hears of it.
///
/// Who starts with less than others have heard was restored from an old copy, and may have forgotten what it voted
/// and acknowledged since.
public struct BeatCount: Hashable, Sendable {
    /// One run of the member's server.
    public var run: String
    /// The counter.
    public var beats: Int

    /// Describes how far it has come.
    public init(run: String = "", beats: Int = 0) { (self.run, self.beats) = (run, beats) }
}
