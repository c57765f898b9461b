internal import FanAgent
internal import FanCore
internal import FanLab
internal import FanLink
internal import FanProbe
internal import FanStore
internal import FanSystem
internal import Glibc

extension CommandFailure {
    /// Explains an error of whatever layer, with what to do about the common ones.
    init(_ error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as StoreError: self.init(store: error)
        case is FanMappingError, is TokenError, is ClusterInputError, LabError.invalidName, LabError.nodeCount,
            LabError.underlayTooSmall, LabError.guestCount, LabError.sliceTooSmall, LabError.mtu, LabError.mapping,
            LabError.noNode:
            self = .badInput("\(error)")
        case OverlayError.badRequest(let cause):
            self = .badInput("\(error)", remedy: Self.remedy(for: cause))
        default: self.init("\(error)", remedy: Self.remedy(for: Self.cause(of: error)))
        }
    }

    private static func cause(of error: any Error) -> any Error {
        switch error {
        case OverlayError.refused(let cause), OverlayError.failed(_, let cause, _): cause
        default: error
        }
    }

    private static func remedy(for cause: any Error) -> String? {
        let code: Int32? =
            switch cause {
            case let error as NetlinkError: error.code
            case let error as FileError: error.code
            case let error as ProbeError: error.reason.errno
            case let error as BPFError: error.code
            default: nil
            }
        switch code {
        case EPERM, EACCES:
            return geteuid() == 0
                ? "this root lacks the capability: CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF are needed"
                : "run it as root, for example with sudo"
        case EADDRINUSE:
            return "another program owns the UDP port; see 'ss -lunp', stop it or use --port on every host"
        case EROFS, ENOSPC: return "free or remount the disk, or choose another --state-dir"
        default: return nil
        }
    }

    // MARK: - The store

    /// Explains an error of the store, or of the way to it.
    init(store error: StoreError) {
        self.init(
            "\(error)",
            remedy: error.remedy ?? (error.store == .server ? Self.remedy(for: error.refusal) : nil),
            exitCode: Self.exitCode(of: error)
        )
    }

    private static func exitCode(of error: StoreError) -> ExitCode {
        switch error.reason {
        case .notRunning: .agentNotRunning
        case .permissionDenied: .problem
        // What was asked for may have been done all the same.
        case .timeout, .disconnected, .malformed: .undetermined
        case .refused(let refusal):
            switch refusal.code {
            case "bad_request", "too_large", "token_malformed": .usage
            case "agent_missing": .agentNotRunning
            // Nobody knows whether it was done, and the remedy says how to find out.
            case "timeout", "unknown": .undetermined
            default: .problem
            }
        }
    }

    /// What to do about the errors of this node's server where it does not say so itself.
    private static func remedy(for refusal: APIError?) -> String? {
        switch refusal?.code {
        case "not_configured": "run 'fanmesh init' on the cluster's first node, or 'fanmesh join TOKEN'"
        case "already_configured": "run 'fanmesh leave' first"
        case "agent_missing": "run: systemctl start fanmesh-agent"
        case "no_quorum":
            "start fanmesh-server on the members that are down; if they are lost for good, see 'fanmesh cluster recover --help'"
        case "not_found": "see 'fanmesh cluster list'"
        case "disk_full": "free some space below the server's state directory"
        default: nil
        }
    }
}
