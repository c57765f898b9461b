internal import FanAgent
internal import FanLink
internal import FanProbe
internal import FanSystem
internal import Glibc

extension CommandFailure {
    /// Explains an error of the layers below, with what to do about the common ones.
    init(operation error: any Error) {
        if let known = error as? CommandFailure {
            self = known
            return
        }
        self.init("\(error)", remedy: Self.remedy(for: Self.cause(of: error)), exitCode: Self.exitCode(of: error))
    }

    private static func exitCode(of error: any Error) -> ExitCode {
        if case OverlayError.badRequest = error { .usage } else { .problem }
    }

    private static func cause(of error: any Error) -> any Error {
        switch error {
        case OverlayError.badRequest(let cause), OverlayError.refused(let cause),
            OverlayError.failed(_, let cause, _):
            cause
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
}
