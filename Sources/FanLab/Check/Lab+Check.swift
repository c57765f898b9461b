internal import CLinux
public import FanCore
internal import FanProbe

/// An overlay address of the lab that answers: a node's bridge or a guest.
public struct LabEndpoint: Hashable, Sendable {
    /// The name, `node1` or `node1-guest1`.
    public let name: String
    /// The overlay address.
    public let address: IPv4Address
    /// Where it is.
    public let namespace: NetworkNamespace
}

extension Lab {
    /// The bridges of all nodes and all guests, a node before its guests.
    public var endpoints: [LabEndpoint] {
        nodes.flatMap { node in
            let bridge = LabEndpoint(
                name: node.name,
                address: node.slice.bridgeAddress.address,
                namespace: node.namespace
            )
            return [bridge]
                + node.guests.map { LabEndpoint(name: $0.name, address: $0.address.address, namespace: $0.namespace) }
        }
    }

    /// Sends ICMP and TCP from every endpoint to every other, all at the same time.
    ///
    /// The ICMP packets are the largest that the overlay carries, and may not be fragmented. Sockets are opened inside
    /// the endpoints' namespaces and used by one loop.
    ///
    /// Requires: root. Idempotent: yes; it leaves nothing but neighbour entries.
    ///
    /// - Parameters:
    ///   - streamBytes: how many bytes go to and fro over TCP, each of them compared; nil for 64 KiB, and less between
    ///     very many pairs: about 256 MiB in all, and no less than 1 KiB each.
    ///   - timeout: when a pair is given up.
    /// - Returns: an outcome per ordered pair.
    /// - Throws: ``LabError`` when the sockets cannot be opened, or on an interruption.
    public func check(
        streamBytes: Int? = nil,
        timeout: Duration = .seconds(5)
    ) throws(LabError) -> LabCheckResult {
        fan_raise_descriptor_limit()
        let (endpoints, interruption) = (endpoints, interruption)
        let echoBytes = plan.overlayMTUBytes
        let count = endpoints.count * (endpoints.count - 1)
        let streamBytes = streamBytes ?? min(64 << 10, max(1 << 10, (256 << 20) / max(1, count)))
        let started = ContinuousClock.now
        let outcomes = try onDedicatedThread { () throws(LabError) in
            try Self.exchange(endpoints, timeout, echoBytes, streamBytes, interruption)
        }.get()
        try interruption?.check()
        var pairs: [LabPair] = []
        var position = 0
        for from in endpoints {
            for to in endpoints where to != from {
                guard case .echo(let echo) = outcomes[position], case .tcp(let stream) = outcomes[position + 1] else {
                    preconditionFailure("outcomes come in the order of their jobs")
                }
                pairs.append(LabPair(from: from, to: to, echo: echo, stream: stream))
                position += 2
            }
        }
        return LabCheckResult(
            endpoints: endpoints,
            pairs: pairs,
            echoBytes: echoBytes,
            streamBytes: streamBytes,
            elapsed: started.duration(to: .now)
        )
    }

    private static func exchange(
        _ endpoints: [LabEndpoint],
        _ timeout: Duration,
        _ echoBytes: Int,
        _ streamBytes: Int,
        _ interruption: SignalWatch?
    ) throws(LabError) -> [ProbeOutcome] {
        // Few enough descriptors for a large lab, enough side by side for a small one.
        let streams = max(1, min(endpoints.count, 512 / max(1, endpoints.count)))
        var sources: [ProbeSource] = []
        var listeners: [ProbeListener] = []
        for endpoint in endpoints {
            try endpoint.namespace.enterOnThisThread()
            do throws(ProbeError) {
                sources.append(try ProbeSource(address: endpoint.address, tcpConnections: streams))
                listeners.append(try ProbeListener(address: endpoint.address))
            } catch {
                throw .probe(error, endpoint: endpoint.name)
            }
        }
        let echo = EchoSettings(timeout: timeout, packetBytes: echoBytes)
        let stream = TCPSettings(payloadBytes: streamBytes, connectTimeout: timeout, timeout: timeout * 2)
        var jobs: [ProbeJob] = []
        for from in endpoints.indices {
            for to in endpoints.indices where to != from {
                let address = endpoints[to].address
                jobs.append(.echo(from: sources[from], to: address, echo))
                jobs.append(.tcp(from: sources[from], to: address, port: listeners[to].port, stream))
            }
        }
        do throws(ProbeError) {
            return try ProbeEngine.run(jobs, listeners: listeners) { interruption?.signal != nil }
        } catch {
            throw .probe(error, endpoint: "all endpoints")
        }
    }
}

extension LabPlan {
    /// How many neighbour entries arise when every endpoint talks to every other, on overlay and underlay.
    public var neighbourEntries: Int {
        let endpoints = nodeCount * (1 + guestCount)
        return endpoints * (endpoints - 1) + nodeCount * (nodeCount - 1)
    }

    /// Refuses a check for which the machine's neighbour table has no room, and for which no lab makes room.
    ///
    /// Past the limit the kernel drops packets, which would look like an overlay that is broken at random.
    /// The limit is shared by all namespaces, so other labs at the same time take their part of it.
    ///
    /// - Throws: ``LabError/neighbourTable(needed:limit:)``.
    public func requireNeighbourLimit() throws(LabError) {
        // Absent where this process is not in the machine's first namespace; then no more than usual is counted on.
        let limit = (try? NeighbourLimit.limit()) ?? NeighbourLimit.maximum
        guard neighbourEntries <= max(limit, NeighbourLimit.maximum) else {
            throw .neighbourTable(needed: neighbourEntries, limit: limit)
        }
    }
}
