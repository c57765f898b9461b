internal import CGnuTLS

/// The SHA-256 of bytes, as 64 lower-case hexadecimal digits.
public func sha256Hex(_ bytes: [UInt8]) -> String {
    var digest = [UInt8](repeating: 0, count: 32)
    let result = unsafe digest.withUnsafeMutableBytes { digest in
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes.baseAddress, bytes.count, digest.baseAddress)
        }
    }
    precondition(result == 0, "sha-256 failed: \(TLSError.text(result))")
    return hexadecimal(digest)
}

/// Bytes as lower-case hexadecimal digits, two each.
public func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(2 * bytes.count)
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// Random bytes that are fit for keys and tokens.
public func randomBytes(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let result = unsafe bytes.withUnsafeMutableBytes { bytes in
        unsafe gnutls_rnd(GNUTLS_RND_KEY, bytes.baseAddress, bytes.count)
    }
    precondition(result == 0, "the random generator failed: \(TLSError.text(result))")
    return bytes
}
