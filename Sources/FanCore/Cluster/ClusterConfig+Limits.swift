extension ClusterConfig {
    /// The MTUs that an overlay may have: from what every IPv4 host takes to what VXLAN leaves of the largest packet.
    public static let mtuRange = 576...65_485
    /// How many voters may be asked for: an odd number, since an even one survives no more failures.
    public static let voterRange = 3...9
    /// How many standbys may be asked for.
    public static let standbyRange = 0...5
    /// For how long a token may be valid.
    public static let tokenExpiryRange: ClosedRange<Duration> = .seconds(1)...Duration.seconds(365 * 86_400)

    /// Checks how many voters are asked for.
    ///
    /// - Parameter voterTarget: the number.
    /// - Throws: ``ClusterInputError/badVoterTarget(_:)``.
    public static func check(voterTarget: Int) throws(ClusterInputError) {
        guard voterRange.contains(voterTarget), voterTarget % 2 == 1 else { throw .badVoterTarget(voterTarget) }
    }

    /// Checks the values that the types do not.
    ///
    /// - Throws: ``DocumentError`` naming the key, as it is in ``document``, and what is allowed.
    public func validate() throws(DocumentError) {
        do throws(NetworkSpecError) { try NetworkSpec.check(name: network) } catch {
            throw DocumentError(path: "network", problem: "is wrong: \(error)")
        }
        try Self.require("vni", vni, in: 1...0xff_ffff)
        try Self.require("port", port, in: 1...UInt16.max)
        if let mtuBytes { try Self.require("mtu", mtuBytes, in: Self.mtuRange) }
        try Self.require("offline_after_s", offlineAfter, in: Self.offlineRange) { "\($0.wholeSeconds)" }
        do throws(ClusterInputError) { try Self.check(voterTarget: voterTarget) } catch {
            throw DocumentError(path: "voters", problem: "is wrong: \(error)")
        }
        try Self.require("standbys", standbyTarget, in: Self.standbyRange)
        try Self.require("token_expiry_s", tokenExpiry, in: Self.tokenExpiryRange) { "\($0.wholeSeconds)" }
    }

    private static func require<Value>(
        _ key: String,
        _ value: Value,
        in range: ClosedRange<Value>,
        text: (Value) -> String = { "\($0)" }
    ) throws(DocumentError) {
        guard range.contains(value) else {
            throw DocumentError(
                path: key,
                problem: "is \(text(value)); use \(text(range.lowerBound)) to \(text(range.upperBound))"
            )
        }
    }
}
