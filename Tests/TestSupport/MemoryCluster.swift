internal import FanCore
public import FanStore
internal import FanSystem

/// A cluster in this process's memory.
public final class MemoryCluster: TestCluster {
    /// What its messages call it.
    public static let profile = StoreProfile(
        name: "the cluster in memory",
        joining: "let the test add it",
        starting: "let the test bring it back",
        permission: "nobody is kept from it",
        log: "the test",
        version: "it has but one"
    )

    private struct State {
        var contents = TestClusterContents()
        var isAway = false
    }

    private let state = Monitor(State())

    /// Makes one without settings and members.
    public init() {}

    /// Makes it answer nobody, or everybody again.
    public func setAway(_ isAway: Bool) { state.withLock { $0.isAway = isAway } }

    /// All that it holds.
    public func contents() throws(StoreError) -> TestClusterContents {
        try state.withLock { state throws(StoreError) in
            guard !state.isAway else {
                throw StoreError(.notRunning(attempt: "ask for its contents", cause: "it is away"), of: Self.profile)
            }
            return state.contents
        }
    }

    /// Changes what it holds.
    public func change(_ edit: (inout TestClusterContents) -> Void) throws(StoreError) {
        _ = try contents()
        state.withLock { state in
            let (settings, members) = (state.contents.settings, state.contents.members)
            edit(&state.contents)
            guard (settings, members) != (state.contents.settings, state.contents.members) else { return }
            state.contents.version = "\((Int(state.contents.version) ?? 0) + 1)"
        }
    }

    /// Waits for a change.
    public func wait(after version: String, for time: Duration) {
        _ = state.wait(timeout: time) { $0.contents.version != version || $0.isAway ? true : nil }
    }
}
