internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Glibc

/// One call, on its way through the server.
struct Call: Sendable {
    let local: LocalNode
    let endpoint: Endpoint
    let request: HTTPRequest
    let responder: HTTPResponder
    /// What stands in the place of `{name}` in the path; empty where there is none.
    var name = ""
    /// What makes this request one and the same however often it arrives; empty where nothing is changed.
    var key = ""

    /// The member that calls: by its certificate, or this node's own for its local socket.
    var member: Member? {
        guard let node = local.member else { return nil }
        switch request.peer {
        case .local: return node.state.members.first { $0.name == node.membership.name }
        case .remote(_, let fingerprint): return node.state.members.first { $0.fingerprint == fingerprint }
        }
    }

    /// Whether this member itself calls: over its own socket, or with its own certificate.
    var isOwn: Bool {
        switch request.peer {
        case .local: true
        case .remote(_, let fingerprint): local.member?.nodeIdentity.fingerprint == fingerprint
        }
    }

    /// The user that called, as the member says where it was: `root (0)`.
    var caller: String {
        switch request.peer {
        case .local(let uid): return "\(userName(uid)) (\(uid))"
        case .remote:
            let said = request.headers["Fanmesh-Caller"] ?? ""
            let isPlain = said.utf8.count <= 64 && said.utf8.allSatisfy { (32...126).contains($0) }
            return isPlain && !said.isEmpty ? said : "server"
        }
    }

    /// Whether a member takes itself out.
    var isLeaving: Bool {
        endpoint == .removeMember && flag(.leaving) && member?.name == name
    }

    // MARK: what it says

    /// The body as a document.
    func body() throws(ClusterError) -> Document {
        guard !request.body.isEmpty else { return [:] }
        do throws(DocumentError) {
            let document = try Document(json: request.body)
            guard case .object = document else { throw DocumentError(path: "", problem: "is not an object") }
            return document
        } catch { throw ClusterError(error) }
    }

    /// The body, read as something.
    func body<Value>(_ read: (Document) throws(DocumentError) -> Value) throws(ClusterError) -> Value {
        let document = try body()
        do throws(DocumentError) { return try read(document) } catch { throw ClusterError(error) }
    }

    /// What the query says, nil when it does not; what is not described has no effect.
    func text(_ parameter: Endpoint.Parameter) -> String? {
        precondition(endpoint.description.query.contains(parameter), "'\(parameter.name)' is not described")
        return request.query[parameter.name]
    }

    /// Whether the query says so.
    func flag(_ parameter: Endpoint.Parameter) -> Bool { text(parameter).map { $0 != "0" } ?? false }

    /// A number of the query, nil when it is not there.
    func number(_ parameter: Endpoint.Parameter) throws(ClusterError) -> Int? {
        guard let text = text(parameter), let field = parameter.number else { return nil }
        do throws(DocumentError) { return try field.take(parsing: text) } catch { throw ClusterError(error) }
    }

    /// What the head says, nil when it does not.
    func header(_ header: Endpoint.Header) -> String? {
        precondition(endpoint.description.headers.contains(header), "'\(header.name)' is not described")
        return request.headers[header.name]
    }

    /// The key of this request: the caller's own, or a new one.
    func idempotencyKey() throws(ClusterError) -> String {
        guard let key = header(.idempotencyKey) else { return hexadecimal(randomBytes(16)) }
        guard (16...128).contains(key.utf8.count), key.utf8.allSatisfy({ (33...126).contains($0) }) else {
            throw ClusterError(
                .badRequest,
                "the Idempotency-Key is not 16 to 128 visible characters",
                remedy: "make a random one for each request, such as 32 hexadecimal digits"
            )
        }
        return key
    }

    /// What the request says about the change that it asks for.
    var changeRequest: ChangeRequest {
        ChangeRequest(
            key: key,
            content: "\(request.method) \(target)\n\(String(decoding: request.body, as: UTF8.self))",
            condition: request.headers[Endpoint.Header.ifMatch.name],
            ticket: request.headers[LeaderLink.ticketHeader]
        )
    }

    // MARK: on its way to the leader

    /// The path with its query, as it came.
    private var target: String {
        let parts = request.path.split(separator: "/", omittingEmptySubsequences: false)
        let path = parts.map { HTTPTarget.escape(String($0)) }.joined(separator: "/")
        guard !request.query.isEmpty else { return path }
        let query = request.query.sorted { $0.key < $1.key }.map { key, value in
            "\(HTTPTarget.escape(key))=\(HTTPTarget.escape(value))"
        }
        return path + "?" + query.joined(separator: "&")
    }

    /// The same for the leader, when it answers in this server's place.
    var forLeader: LeaderRequest {
        var headers = LeaderRequest.headers
        headers["Fanmesh-Caller"] = caller
        for header in [Endpoint.Header.ifMatch, .idempotencyKey] {
            if let value = request.headers[header.name] { headers[header.name] = value }
        }
        if !key.isEmpty { headers[Endpoint.Header.idempotencyKey.name] = key }
        return LeaderRequest(
            endpoint,
            target,
            body: request.body.isEmpty ? nil : request.body,
            headers: headers,
            mayBeSentOn: isOwn || request.method == "GET" && request.headers["Fanmesh-Forwarded"] == nil
        )
    }
}

/// The name of a user of this machine, `?` when it has none.
private func userName(_ uid: UInt32) -> String {
    var record = unsafe passwd()
    var found: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 16 << 10)
    let code = unsafe getpwuid_r(uid, &record, &buffer, buffer.count, &found)
    guard code == 0, unsafe found != nil, let name = unsafe record.pw_name else { return "?" }
    let text = unsafe String(cString: name)
    return text.utf8.allSatisfy({ (33...126).contains($0) }) ? String(text.prefix(32)) : "?"
}
