internal import CConfine
internal import FanCore
internal import FanLink
internal import FanSystem
internal import Glibc

/// What the agent gives up once it has started, whoever started it and with whatever powers.
///
/// It keeps CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF and stays the user that it was: root without the rest still owns its
/// files and reaches the server's socket, which is root's, but nobody else's. It can run no program, change no user, enter
/// no namespace and make no process; a system call that it has no use for fails.
enum Confinement {
    /// Gives it all up; to be called before other threads are started.
    ///
    /// - Parameters:
    ///   - kernel: what of it needs more is opened before.
    ///   - state: names the networks that this is about.
    ///   - manager: keeps what was opened for the next agent, where there is a service manager.
    ///   - inherited: what it kept for this one.
    /// - Returns: what could not be given up, to be logged.
    /// - Throws: ``FileError``, ``BPFError``, ``AgentError/notConfined(code:)``.
    static func apply(
        kernel: any OverlayKernel,
        state: StateDirectory,
        manager: ServiceManager,
        inherited: [(name: String, number: Int32)]
    ) throws -> [LogLine] {
        try (kernel as? LinuxKernel)?.keepClassifiers(of: state.networkNames(), inherited: inherited, manager: manager)
        var lines: [LogLine] = []
        func warn(_ code: String, _ message: String) {
            lines.append(LogLine(level: .warning, code: code, message: message))
        }
        let result = fan_confine_capabilities(fan_agent_capabilities())
        guard result >= 0 else { throw AgentError.notConfined(code: -result) }
        if result > 0 {
            warn(
                "capabilities-not-locked",
                "without CAP_SETPCAP the bounding set stays as it was; start the agent with it, or with "
                    + "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF"
            )
        }
        let filtered = fan_confine_calls(1)
        switch -filtered {
        case 0: break
        // A kernel that was built without them.
        case ENOSYS, EINVAL: warn("calls-not-filtered", "this kernel has no system-call filters")
        default: throw AgentError.notConfined(code: -filtered)
        }
        return lines
    }
}
