/// The version of fanmesh, the same for all of its programs.
public enum FanmeshVersion {
    /// The version as text.
    public static let text = "0.2.0"
}
