import FanLab
import FanSystem
import FanTLS
import TestSupport
import Testing

@Suite struct IdentityTests {
    @Test func anIdentityIsReadBackFromItsText() throws {
        let identity = try Identity.generate(commonName: "node1")
        let again = try Identity(certificatePEM: identity.certificatePEM, keyPEM: identity.keyPEM)
        #expect(again.fingerprint == identity.fingerprint)
        #expect(identity.fingerprint.count == 64)
        #expect(try Identity.generate(commonName: "node1").fingerprint != identity.fingerprint)
        #expect(identity.certificatePEM.hasPrefix("-----BEGIN CERTIFICATE-----\n"))
        #expect(identity.keyPEM.hasPrefix("-----BEGIN PRIVATE KEY-----\n"))
    }

    @Test func openSSLAgreesAboutTheCertificate() throws {
        let directory = try TestDirectory()
        let file = directory.file("certificate")
        let identity = try Identity.generate(commonName: "node1")
        try File.replace(file, with: identity.certificatePEM)
        let command = ["openssl", "x509", "-in", file, "-noout", "-text", "-fingerprint", "-sha256"]
        let result = try RunningProcess(ProcessRequest(command)).wait()
        #expect(result.isSuccess, "\(result.explanation)")
        for part in [
            "Subject: CN = node1", "Issuer: CN = node1", "ASN1 OID: prime256v1", "ecdsa-with-SHA256", "CA:FALSE",
            "Digital Signature", "TLS Web Server Authentication, TLS Web Client Authentication",
        ] {
            #expect(result.output.contains(part), "\(part)")
        }
        let digits = result.output.split(separator: "Fingerprint=").last?.filter(\.isHexDigit).lowercased()
        #expect(digits == identity.fingerprint)
        let verified = ["openssl", "verify", "-check_ss_sig", "-CAfile", file, file]
        #expect(try RunningProcess(ProcessRequest(verified)).wait().isSuccess)
    }

    @Test func whatDoesNotBelongTogetherIsRefused() throws {
        let (one, two) = (Identities.server, Identities.client)
        #expect(throws: TLSError.self) { try Identity(certificatePEM: one.certificatePEM, keyPEM: two.keyPEM) }
        #expect(throws: TLSError.self) { try Identity(certificatePEM: "", keyPEM: one.keyPEM) }
        #expect(throws: TLSError.self) { try Identity(certificatePEM: one.certificatePEM, keyPEM: "") }
        #expect(throws: TLSError.self) { try Identity(certificatePEM: one.keyPEM, keyPEM: one.certificatePEM) }
        let cut = String(one.certificatePEM.prefix(200))
        #expect(throws: TLSError.self) { try Identity(certificatePEM: cut, keyPEM: one.keyPEM) }
    }

    @Test func digestsAndRandomBytes() {
        #expect(sha256Hex([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(sha256Hex(Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        let random = (0..<100).map { _ in randomBytes(32) }
        #expect(Set(random).count == 100)
        #expect(random.allSatisfy { $0.count == 32 })
        #expect(randomBytes(0).isEmpty)
    }
}
