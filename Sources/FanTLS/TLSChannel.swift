internal import CGnuTLS
internal import CLinux
internal import FanSystem
internal import Glibc

/// A TLS session over a socket that never blocks; each call holds the session for itself.
final class TLSChannel: PumpEnd {
    enum Step: Equatable {
        case done
        /// Wait until the socket can be read (`POLLIN`) or written (`POLLOUT`).
        case wait(Int32)
        case failed(String)
    }

    @safe
    private struct State: ~Copyable {
        let session: OpaquePointer
        /// A record that was taken but not sent completely.
        var isSending = false
        var isClosing = false
        var broken: String?
    }

    private let socket: Descriptor
    private let state: Lock<State>
    private let credentials: Credentials
    private let pin: Pin?

    /// What a client found at the server, told by the handshake.
    private final class Pin: Sendable {
        let trusted: Set<String>
        let found = Lock<String?>(nil)

        init(_ trusted: Set<String>) {
            self.trusted = trusted
        }
    }

    /// TLS 1.3 alone, and no curve, cipher or signature below 128 bits.
    private static let priorities = "SECURE128:-VERS-ALL:+VERS-TLS1.3"

    /// Begins a session.
    ///
    /// - Parameters:
    ///   - descriptor: a connected socket, non-blocking.
    ///   - identity: what is shown to the other side.
    ///   - trusting: for a client the fingerprints of which the server must have one; nil for a server, which asks for
    ///     a certificate and takes any.
    /// - Throws: ``TLSError``.
    init(
        descriptor: consuming Descriptor,
        identity: Identity,
        trusting: Set<String>?
    ) throws(TLSError) {
        let role: gnutls_init_flags_t = trusting == nil ? GNUTLS_SERVER : GNUTLS_CLIENT
        let flags = UInt32(role.rawValue) | UInt32(GNUTLS_NONBLOCK.rawValue) | UInt32(GNUTLS_NO_SIGNAL.rawValue)
        var made: OpaquePointer?
        try TLSError.check(unsafe gnutls_init(&made, flags), "start tls")
        guard let session = unsafe made else { throw TLSError(operation: "start tls", cause: "no memory") }
        pin = trusting.map { Pin($0) }
        credentials = identity.credentials
        unsafe gnutls_transport_set_int2(session, descriptor.number, descriptor.number)
        socket = descriptor
        var result = unsafe gnutls_priority_set_direct(session, Self.priorities, nil)
        if result >= 0 {
            result = unsafe gnutls_credentials_set(
                session,
                GNUTLS_CRD_CERTIFICATE,
                UnsafeMutableRawPointer(credentials.credentials)
            )
        }
        if let pin {
            unsafe gnutls_session_set_ptr(session, Unmanaged.passUnretained(pin).toOpaque())
            unsafe gnutls_session_set_verify_function(session) { session in
                guard let session = unsafe session, let pointer = unsafe gnutls_session_get_ptr(session) else {
                    return -1
                }
                let pin = unsafe Unmanaged<Pin>.fromOpaque(pointer).takeUnretainedValue()
                guard let found = unsafe TLSChannel.certificate(of: session).map(sha256Hex) else { return -1 }
                pin.found.withLock { $0 = found }
                return pin.trusted.contains(found) ? 0 : -1
            }
        } else {
            unsafe gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE)
        }
        unsafe state = Lock(State(session: session))
        try TLSError.check(result, "start tls")
    }

    deinit {
        state.withLock { unsafe gnutls_deinit($0.session) }
    }

    /// The certificate of the other side, if it showed exactly one.
    private static func certificate(of session: OpaquePointer) -> [UInt8]? {
        var count: UInt32 = 0
        guard let list = unsafe gnutls_certificate_get_peers(session, &count), count == 1 else { return nil }
        let der = unsafe list.pointee
        return unsafe Array(UnsafeBufferPointer(start: der.data, count: Int(der.size)))
    }

    /// The fingerprint of the other side's certificate, after the handshake.
    func peerFingerprint() -> String? {
        state.withLock { state in unsafe Self.certificate(of: state.session) }.map(sha256Hex)
    }

    /// The fingerprint of a server that was not among the trusted ones.
    var untrustedFingerprint: String? {
        guard let pin, let found = pin.found.withLock({ $0 }), !pin.trusted.contains(found) else { return nil }
        return found
    }

    /// Goes on with the handshake.
    func handshake() -> Step {
        state.withLock { state in
            while true {
                let result = unsafe gnutls_handshake(state.session)
                if result == GNUTLS_E_SUCCESS { return .done }
                if result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED {
                    return .wait(
                        unsafe gnutls_record_get_direction(state.session) == 1 ? Int32(POLLOUT) : Int32(POLLIN)
                    )
                }
                guard gnutls_error_is_fatal(result) != 0 else { continue }
                let text = unsafe Self.text(result, state.session)
                // Tells the other side why; a socket that is full or gone cannot be told.
                unsafe gnutls_alert_send_appropriate(state.session, result)
                return .failed(text)
            }
        }
    }

    private static func text(_ code: Int32, _ session: OpaquePointer) -> String {
        let text = TLSError.text(code)
        switch code {
        case GNUTLS_E_FATAL_ALERT_RECEIVED, GNUTLS_E_WARNING_ALERT_RECEIVED:
            let alert = unsafe gnutls_alert_get(session)
            let name = unsafe gnutls_alert_get_name(alert).map { unsafe String(cString: $0) } ?? "\(alert.rawValue)"
            return "the other side refused: \(name)"
        // An older version offers no cipher of this one.
        case GNUTLS_E_UNSUPPORTED_VERSION_PACKET, GNUTLS_E_NO_CIPHER_SUITES: return "\(text): TLS 1.3 is needed"
        case GNUTLS_E_CERTIFICATE_REQUIRED, GNUTLS_E_NO_CERTIFICATE_FOUND: return "no client certificate was shown"
        case GNUTLS_E_PREMATURE_TERMINATION, GNUTLS_E_PULL_ERROR, GNUTLS_E_PUSH_ERROR:
            return "the connection was closed by the other side"
        default: return text
        }
    }

    /// The socket's number; it stays open as long as this object lives.
    var descriptor: Int32 { socket.number }

    /// Why the last operation failed.
    var failure: String { state.withLock { $0.broken } ?? "the connection was closed" }

    var isBroken: Bool { state.withLock { $0.broken != nil } }

    var hasBuffered: Bool { state.withLock { unsafe gnutls_record_check_pending($0.session) > 0 } }

    var hasUnsent: Bool { state.withLock { ($0.isSending || $0.isClosing) && $0.broken == nil } }

    func receive(into buffer: inout [UInt8]) -> PumpResult {
        state.withLock { state in
            for _ in 0..<16 {
                let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                    unsafe gnutls_record_recv(state.session, bytes.baseAddress, bytes.count)
                }
                if count > 0 { return .moved(count) }
                if count == 0 { return .ended }
                let code = Int32(clamping: count)
                if code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED { return .blocked }
                if gnutls_error_is_fatal(code) != 0 {
                    state.broken = unsafe Self.text(code, state.session)
                    return .failed
                }
            }
            state.broken = "too many warnings"
            return .failed
        }
    }

    func send(_ buffer: [UInt8], _ range: Range<Int>) -> PumpResult {
        state.withLock { state in
            guard state.broken == nil else { return .failed }
            guard !state.isSending, !state.isClosing else { return .blocked }
            var sent = 0
            while sent < range.count {
                let count = unsafe buffer[(range.lowerBound + sent)..<range.upperBound].withUnsafeBytes { bytes in
                    unsafe gnutls_record_send(state.session, bytes.baseAddress, min(bytes.count, 16 << 10))
                }
                if count < 0 {
                    let code = Int32(clamping: count)
                    if code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED {
                        // The record is made already; only its rest has to go out.
                        state.isSending = true
                        return .moved(sent + min(range.count - sent, 16 << 10))
                    }
                    state.broken = unsafe Self.text(code, state.session)
                    return .failed
                }
                sent += count
            }
            return .moved(sent)
        }
    }

    func flush() -> PumpResult {
        state.withLock { state in
            guard state.broken == nil else { return .failed }
            if state.isSending {
                let count = unsafe gnutls_record_send(state.session, nil, 0)
                let code = Int32(clamping: min(count, 0))
                if code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED { return .blocked }
                guard code == 0 else {
                    state.broken = unsafe Self.text(code, state.session)
                    return .failed
                }
                state.isSending = false
            }
            return Self.close(&state, descriptor)
        }
    }

    /// Says that no more bytes will come.
    func finish() {
        state.withLock { state in
            guard state.broken == nil else { return }
            state.isClosing = true
            if !state.isSending { _ = Self.close(&state, descriptor) }
        }
    }

    /// Ends the connection; the descriptor goes with the last reference.
    func close() { fan_end(descriptor) }

    private static func close(_ state: inout State, _ descriptor: Int32) -> PumpResult {
        guard state.isClosing else { return .moved(0) }
        let result = unsafe gnutls_bye(state.session, GNUTLS_SHUT_WR)
        if result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED { return .blocked }
        state.isClosing = false
        fan_end_writing(descriptor)
        return .moved(0)
    }
}
