public import FanCore
public import FanStore
internal import FanSystem

/// A cluster that a test makes and changes, in a store without any server.
public protocol TestCluster: Sendable {
    /// What its messages call it.
    static var profile: StoreProfile { get }
    /// All that it holds.
    ///
    /// - Throws: ``StoreError``.
    func contents() throws(StoreError) -> TestClusterContents
    /// Changes what it holds; whoever waits for that learns of it.
    ///
    /// - Throws: ``StoreError``.
    func change(_ edit: (inout TestClusterContents) -> Void) throws(StoreError)
    /// Makes it answer nobody, or everybody again.
    func setAway(_ isAway: Bool) throws
    /// Waits until the version of what it holds is another one, at most for so long.
    func wait(after version: String, for time: Duration)
}

/// What a cluster for tests holds.
public struct TestClusterContents: Hashable, Sendable {
    /// Another one after each change of settings or members.
    public var version = "0"
    /// The overlay, nil while there is no cluster.
    public var settings: OverlayConfig?
    /// All members.
    public var members: [ClusterView.Node] = []
    /// What members last reported, by name.
    public var reports: [String: NodeReport] = [:]
    /// What waits for members' agents, by name.
    public var mail: [String: Mailbox] = [:]

    /// Holds nothing.
    public init() {}
}

/// The kinds of clusters without a server.
public enum TestClusterKind: CaseIterable, Sendable {
    /// In this process's memory.
    case memory
    /// In a directory of files.
    case directory

    /// Makes one without settings and members.
    public func make() throws -> any TestCluster {
        switch self {
        case .memory: MemoryCluster()
        case .directory: try DirectoryCluster()
        }
    }
}

extension TestCluster {
    /// What its messages call it.
    public var profile: StoreProfile { Self.profile }

    /// Adds a member.
    public func add(_ name: String, _ nodeID: String, at address: IPv4Address) throws(StoreError) {
        try change { $0.members.append(.init(name: name, nodeID: nodeID, underlayAddress: address)) }
    }

    /// The store of a node.
    public func store(of nodeID: String) -> any ClusterStore { TestStore(cluster: self, nodeID: nodeID) }
}

/// What one node has of a cluster for tests.
private struct TestStore<Cluster: TestCluster>: ClusterStore {
    let cluster: Cluster
    let nodeID: String

    var profile: StoreProfile { Cluster.profile }

    func watch(after version: String?, wait: Duration) throws(StoreError) -> ClusterView {
        if let version { cluster.wait(after: version, for: wait) }
        let contents = try cluster.contents()
        var view = ClusterView(version: contents.version)
        guard let settings = contents.settings, let own = contents.members.first(where: { $0.nodeID == nodeID }) else {
            return view
        }
        view.standing = .member
        (view.name, view.settings, view.members) = (own.name, settings, contents.members)
        return view
    }

    func report(_ report: NodeReport) throws(StoreError) -> Bool {
        let name = try requireMember(try cluster.contents())
        var isNew = false
        try cluster.change { contents in
            isNew = contents.reports[name]?.lasting != report.lasting
            contents.reports[name] = report
        }
        return isNew
    }

    func listing() throws(StoreError) -> MemberList {
        let contents = try cluster.contents()
        _ = try requireMember(contents)
        let rows = contents.members.map { node in
            let report = contents.reports[node.name]
            let member = Member(
                id: 0,
                name: node.name,
                nodeID: node.nodeID,
                address: SocketAddress(node.underlayAddress),
                underlayAddress: node.underlayAddress,
                fingerprint: "",
                version: report?.version ?? "",
                schema: 0,
                joinedAt: 0
            )
            let status = MemberStatus(
                member: member,
                role: .spare,
                state: report == nil ? .joining : .online,
                message: report == nil ? "its overlay is not verified yet" : "fully operational",
                report: report
            )
            return MemberRow(status, mapping: contents.settings?.mapping, members: contents.members.count)
        }
        return MemberList(members: rows, leader: nil, tolerance: "", warnings: [])
    }

    func send(_ text: String, to name: String) throws(StoreError) {
        let contents = try cluster.contents()
        let message = AgentMessage(from: try requireMember(contents), text)
        var refusal = APIError(.notFound, "there is no member '\(name)'")
        var isTaken = false
        if contents.members.contains(where: { $0.name == name }) {
            try cluster.change { contents in
                do throws(APIError) {
                    try contents.mail[name, default: Mailbox()].put(message, for: name, at: .now)
                    isTaken = true
                } catch { refusal = error }
            }
        }
        if !isTaken { throw StoreError(.refused(refusal), of: profile) }
    }

    func messages(wait: Duration) throws(StoreError) -> [AgentMessage] {
        let end = ContinuousClock.now + wait
        while true {
            let own = try requireMember(try cluster.contents())
            var messages: [AgentMessage] = []
            try cluster.change { messages = $0.mail[own]?.take(at: .now) ?? [] }
            guard messages.isEmpty, ContinuousClock.now < end else { return messages }
            sleepThread(for: .milliseconds(10))
        }
    }

    /// This node's name.
    private func requireMember(_ contents: TestClusterContents) throws(StoreError) -> String {
        guard contents.settings != nil, let own = contents.members.first(where: { $0.nodeID == nodeID }) else {
            let refusal = APIError(status: 409, code: "not_configured", "this node is in no cluster")
            throw StoreError(.refused(refusal), of: profile)
        }
        return own.name
    }
}
