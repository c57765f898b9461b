import FanSystem
import Testing

/// What tests, and whoever prints an object, see of a lock.
struct LockTests {
    private struct Unique: ~Copyable {
        var number = 1
    }

    private final class Holder: Sendable {
        let lock = Lock(Unique())
        let name = "holder"
    }

    /// A failing expectation shows its parts, and must not copy what cannot be copied.
    @Test func whatCannotBeCopiedIsNotShown() {
        let holder = Holder()
        var text = ""
        dump(holder, to: &text)
        #expect(text.contains("holder") && !text.contains("number"))
        #expect(holder.lock.withLock { $0.number } == 1)
    }
}
