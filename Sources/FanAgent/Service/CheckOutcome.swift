public import FanCore

/// What a check of this host and its peers found; JSON: `fanmesh.check/v1`.
public struct CheckOutcome: Sendable {
    /// This host's side, a line per check.
    public var checks: [HostCheck]
    /// The peers.
    public var peers: [PeerResult]

    /// Puts both sides together.
    public init(checks: [HostCheck], peers: [PeerResult]) {
        self.checks = checks
        self.peers = peers
    }

    /// The worst of all.
    public var verdict: Verdict { findings.verdict }

    /// What was found out about each, the host's side first.
    public var findings: [Finding] { checks.map(\.finding) + peers.map(\.finding) }

    /// Why peers are not well, the most probable first.
    public var causes: [CauseGroup] { CauseGroup.groups(of: peers) }

    /// The outcome as an object.
    public var document: Document {
        [
            "schema": "fanmesh.check/v1",
            "verdict": .string(verdict.rawValue),
            "host": .array(checks.map(\.document)),
            "peers": .array(peers.map(Self.document)),
            "causes": .array(causes.map(Self.document)),
        ]
    }

    private static func document(_ group: CauseGroup) -> Document {
        [
            "code": .string(group.cause.rawValue),
            "severity": .string(group.cause.severity.rawValue),
            "subjects": .array(group.subjects.map { .string($0) }),
            "message": .string(group.message),
            "remedy": .string(group.remedy),
        ]
    }

    private static func document(_ result: PeerResult) -> Document {
        [
            "name": .string(result.target.name),
            "underlay_address": .text(result.target.underlayAddress),
            "overlay_address": .text(result.target.overlayAddress),
            "guest_address": .text(result.target.guestAddress),
            "layers": [
                "underlay": .string(result.layers.underlay.rawValue),
                "vxlan": .string(result.layers.vxlan.rawValue),
                "guest": .string(result.layers.guest.rawValue),
                "tcp": .string(result.layers.tcp.rawValue),
                "mtu": .string(result.layers.mtu.rawValue),
                "checksum": .string(result.layers.checksum.rawValue),
            ],
            "rtt_ms": .milliseconds(result.roundTrip),
            "path_mtu": .number(result.pathMTUBytes),
            "code": .string(result.finding.code),
            "diagnosis": .string(result.finding.message),
            "remedy": .string(result.finding.remedy),
            "legs": result.proof?.legs ?? .null,
        ]
    }
}

extension Change {
    /// The step as an object: `{action, object, text}`.
    public var document: Document {
        ["action": .string(action), "object": .string(object), "text": .text(self)]
    }
}
