internal import CGnuTLS
internal import Glibc

/// A key and its self-signed certificate.
public struct Identity: Sendable {
    /// The certificate.
    public let certificatePEM: String
    /// The private key: never to be shown or logged.
    public let keyPEM: String
    /// The SHA-256 of the certificate's DER, in lower-case hexadecimal digits.
    public let fingerprint: String

    let credentials: Credentials

    /// Reads a certificate and its key.
    ///
    /// - Parameters:
    ///   - certificatePEM: one certificate.
    ///   - keyPEM: its private key, not encrypted.
    /// - Throws: ``TLSError``, also when they do not belong together.
    public init(certificatePEM: String, keyPEM: String) throws(TLSError) {
        fingerprint = try Self.fingerprint(ofPEM: certificatePEM)
        credentials = try Credentials(certificatePEM: certificatePEM, keyPEM: keyPEM)
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
    }

    /// Makes an ECDSA P-256 key and a certificate that is valid from yesterday on, for ten years.
    ///
    /// - Parameter commonName: the certificate's subject, for people: trust never depends on it.
    /// - Returns: the identity.
    /// - Throws: ``TLSError``.
    public static func generate(commonName: String) throws(TLSError) -> Identity {
        let key = try PrivateKey()
        let certificate = try Certificate()
        try certificate.fill(commonName: commonName, key: key)
        return try Identity(certificatePEM: certificate.export(GNUTLS_X509_FMT_PEM).text, keyPEM: key.pem())
    }

    /// The fingerprint of a certificate.
    ///
    /// - Throws: ``TLSError``.
    public static func fingerprint(ofPEM text: String) throws(TLSError) -> String {
        let certificate = try Certificate()
        try certificate.read(text)
        return sha256Hex(try certificate.export(GNUTLS_X509_FMT_DER))
    }
}

extension [UInt8] {
    fileprivate var text: String { String(decoding: self, as: UTF8.self) }
}

/// Calls a function with bytes as GnuTLS wants them.
private func withDatum(
    _ text: String,
    _ body: (UnsafePointer<gnutls_datum_t>) -> Int32
) -> Int32 {
    var bytes = Array(text.utf8)
    return unsafe bytes.withUnsafeMutableBufferPointer { bytes in
        var datum = unsafe gnutls_datum_t(data: bytes.baseAddress, size: UInt32(bytes.count))
        return unsafe body(&datum)
    }
}

/// Takes bytes that GnuTLS has allocated.
private func taking(
    _ operation: String,
    _ body: (UnsafeMutablePointer<gnutls_datum_t>) -> Int32
) throws(TLSError) -> [UInt8] {
    var datum = unsafe gnutls_datum_t()
    try TLSError.check(unsafe body(&datum), operation)
    defer { unsafe fan_gnutls_free(datum.data) }
    return unsafe Array(UnsafeBufferPointer(start: datum.data, count: Int(datum.size)))
}

@safe
private struct PrivateKey: ~Copyable {
    let key: OpaquePointer

    init() throws(TLSError) {
        var made: OpaquePointer?
        try TLSError.check(unsafe gnutls_x509_privkey_init(&made), "make a key")
        guard let made = unsafe made else { throw TLSError(operation: "make a key", cause: "no key") }
        let bits = gnutls_sec_param_to_pk_bits(GNUTLS_PK_ECDSA, GNUTLS_SEC_PARAM_HIGH)
        let result = unsafe gnutls_x509_privkey_generate(made, GNUTLS_PK_ECDSA, bits, 0)
        guard result >= 0 else {
            unsafe gnutls_x509_privkey_deinit(made)
            throw TLSError(operation: "make a key", cause: TLSError.text(result))
        }
        unsafe key = made
    }

    deinit {
        unsafe gnutls_x509_privkey_deinit(key)
    }

    func pem() throws(TLSError) -> String {
        try unsafe taking("write a key") { datum in
            unsafe gnutls_x509_privkey_export2_pkcs8(
                key,
                GNUTLS_X509_FMT_PEM,
                nil,
                UInt32(GNUTLS_PKCS_PLAIN.rawValue),
                datum
            )
        }.text
    }
}

@safe
private struct Certificate: ~Copyable {
    let certificate: OpaquePointer

    init() throws(TLSError) {
        var made: OpaquePointer?
        try TLSError.check(unsafe gnutls_x509_crt_init(&made), "make a certificate")
        guard let made = unsafe made else { throw TLSError(operation: "make a certificate", cause: "no certificate") }
        unsafe certificate = made
    }

    deinit {
        unsafe gnutls_x509_crt_deinit(certificate)
    }

    func read(_ pem: String) throws(TLSError) {
        let result = unsafe withDatum(pem) { unsafe gnutls_x509_crt_import(certificate, $0, GNUTLS_X509_FMT_PEM) }
        try TLSError.check(result, "read a certificate")
    }

    func fill(commonName: String, key: borrowing PrivateKey) throws(TLSError) {
        let operation = "make a certificate"
        var serial = randomBytes(16)
        // Positive, and not zero.
        serial[0] = serial[0] & 0x7f | 0x40
        let name = Array(commonName.utf8)
        let day = 86_400
        try TLSError.check(unsafe gnutls_x509_crt_set_version(certificate, 3), operation)
        try TLSError.check(unsafe gnutls_x509_crt_set_serial(certificate, serial, serial.count), operation)
        try TLSError.check(unsafe gnutls_x509_crt_set_key(certificate, key.key), operation)
        try TLSError.check(unsafe gnutls_x509_crt_set_activation_time(certificate, time(nil) - day), operation)
        try TLSError.check(unsafe gnutls_x509_crt_set_expiration_time(certificate, time(nil) + 3650 * day), operation)
        let named = unsafe gnutls_x509_crt_set_dn_by_oid(
            certificate,
            GNUTLS_OID_X520_COMMON_NAME,
            0,
            name,
            UInt32(name.count)
        )
        try TLSError.check(named, operation)
        try TLSError.check(unsafe gnutls_x509_crt_set_basic_constraints(certificate, 0, -1), operation)
        let usage = UInt32(GNUTLS_KEY_DIGITAL_SIGNATURE)
        try TLSError.check(unsafe gnutls_x509_crt_set_key_usage(certificate, usage), operation)
        for purpose in [GNUTLS_KP_TLS_WWW_SERVER, GNUTLS_KP_TLS_WWW_CLIENT] {
            try TLSError.check(unsafe gnutls_x509_crt_set_key_purpose_oid(certificate, purpose, 0), operation)
        }
        let signed = unsafe gnutls_x509_crt_sign2(certificate, certificate, key.key, GNUTLS_DIG_SHA256, 0)
        try TLSError.check(signed, operation)
    }

    func export(_ format: gnutls_x509_crt_fmt_t) throws(TLSError) -> [UInt8] {
        try unsafe taking("write a certificate") { unsafe gnutls_x509_crt_export2(certificate, format, $0) }
    }
}

/// A certificate with its key as sessions use it.
// @unchecked: made once, then only read by the sessions that refer to it, which GnuTLS allows from any thread.
@safe
final class Credentials: @unchecked Sendable {
    let credentials: OpaquePointer

    init(certificatePEM: String, keyPEM: String) throws(TLSError) {
        let operation = "read a certificate and its key"
        var made: OpaquePointer?
        try TLSError.check(unsafe gnutls_certificate_allocate_credentials(&made), operation)
        guard let made = unsafe made else { throw TLSError(operation: operation, cause: "no memory") }
        unsafe credentials = made
        let result = unsafe withDatum(certificatePEM) { certificate in
            unsafe withDatum(keyPEM) { key in
                unsafe gnutls_certificate_set_x509_key_mem(made, certificate, key, GNUTLS_X509_FMT_PEM)
            }
        }
        try TLSError.check(result, operation)
    }

    deinit {
        unsafe gnutls_certificate_free_credentials(credentials)
    }
}
