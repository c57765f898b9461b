internal import FanCore
internal import FanSystem

/// What agents of members say to each other: from the sender's server straight to the receiver's, and nowhere written
/// down.
struct Messages {
    let node: ClusterNode
    /// Who waits for what comes for this node's agent.
    let receivers: WaitList
    /// How long the receiver's server may take.
    var timeout = Duration.seconds(3)

    /// Hands a message of this node's agent to another member's server.
    ///
    /// - Throws: ``ClusterError`` that names the receiver: there is none of that name, its server does not answer or
    ///   does not know this member, its mailbox is full, or the message is too long.
    func send(_ text: String, to name: String) throws(ClusterError) {
        if let refusal = node.refusal { throw refusal.asFailure }
        guard let receiver = node.state.members.first(where: { $0.name == name }) else { throw .noMember(name) }
        guard name != node.membership.name else { return try take(AgentMessage(from: name, text)) }
        do throws(ClusterError) {
            let body: Document = ["text": .string(text)]
            _ = try node.link.call(receiver.address, .deliverMessage, body, timeout: timeout) {
                ClusterError(.unavailable, "\($0)", remedy: "see 'fanmesh cluster show \(name)'")
            }
        } catch { throw Self.refusal(error, of: name) }
    }

    /// What the receiver's server refused, as this node's agent is told.
    static func refusal(_ error: ClusterError, of name: String) -> ClusterError {
        // What another server says of itself, such as that it is in no cluster, is not said of this node.
        let isOwn = [.rateLimited, .tooLarge, .notAuthorized].contains(error.code)
        let code = isOwn ? error.code : .unavailable
        // What its mailbox refuses names the receiver already.
        let isNamed = error.message.contains("'\(name)'")
        let message = isNamed ? error.message : "'\(name)' did not take the message: \(error.message)"
        return ClusterError(code, message, remedy: error.remedy)
    }

    /// Keeps a message for this node's agent, which may wait for it.
    func take(_ message: AgentMessage) throws(ClusterError) {
        do throws(APIError) {
            try node.mailbox.withLock { mailbox throws(APIError) in
                try mailbox.put(message, for: node.membership.name, at: .now)
            }
        } catch {
            throw ClusterError(ClusterError.Code(rawValue: error.code) ?? .failed, error.message, remedy: error.remedy)
        }
        receivers.wake()
    }

    /// Takes out what waits for this node's agent, now when there is something, else when something comes or the time is
    /// over.
    ///
    /// No thread waits meanwhile.
    func receive(within wait: Duration, _ answer: @escaping @Sendable ([AgentMessage]) -> Void) {
        let respond: @Sendable () -> Void = { [node] in answer(node.mailbox.withLock { $0.take(at: .now) }) }
        guard wait > .zero, isEmpty else { return respond() }
        receivers.park(until: .now + wait, respond)
        if !isEmpty { receivers.wake() }
    }

    private var isEmpty: Bool { node.mailbox.withLock { $0.entries.isEmpty } }
}
