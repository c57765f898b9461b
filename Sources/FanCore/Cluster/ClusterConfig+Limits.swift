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
    /// - Throws: ``DocumentError`` naming the key, as it is in the document, and what is allowed.
    public func validate() throws(DocumentError) {
        do throws(NetworkSpecError) { try NetworkSpec.check(name: overlay.settings.network) } catch {
            throw DocumentError(path: "network", problem: "is wrong: \(error)")
        }
        do throws(ClusterInputError) { try Self.check(voterTarget: voterTarget) } catch {
            throw DocumentError(path: "voters", problem: "is wrong: \(error)")
        }
        // What cannot be read again is out of its range.
        _ = try ClusterConfig(document)
    }
}
