internal import FanCore
internal import FanStore

extension CommandFailure {
    /// Explains an error of the store, or of the way to it.
    init(_ error: StoreError) {
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
