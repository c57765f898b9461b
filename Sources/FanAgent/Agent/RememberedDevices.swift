internal import FanCore
internal import FanSystem
internal import Glibc

/// What this network's devices were when all was right, in the runtime directory: it outlives the agent, not the host.
struct RememberedDevices {
    private let directory: String
    /// Where indexes hold.
    private let scope: String
    private(set) var network: String?
    /// What is remembered.
    private(set) var known = DeviceMemory()

    /// Names the directory; nothing is read yet.
    ///
    /// - Parameters:
    ///   - directory: the runtime directory.
    ///   - scope: where indexes hold, as ``currentScope()`` says.
    init(directory: String, scope: String) {
        (self.directory, self.scope) = (directory, scope)
    }

    /// This start of the host and the calling thread's network namespace, in which no index is given twice.
    static func currentScope() -> String {
        let boot = (try? File.read("/proc/sys/kernel/random/boot_id"))?.prefix { $0 != "\n" } ?? "-"
        var name = [CChar](repeating: 0, count: 64)
        let count = unsafe readlink("/proc/thread-self/ns/net", &name, name.count)
        let bytes = name.prefix(max(0, count)).map { UInt8(bitPattern: $0) }
        return "\(boot)/\(String(decoding: bytes, as: UTF8.self))"
    }

    private func path(_ network: String) -> String { "\(directory)/devices-\(network)" }

    /// Remembers a network's, and no other's.
    mutating func open(_ network: String, _ journal: inout AgentJournal) {
        guard self.network != network else { return }
        self.network = network
        known = DeviceMemory()
        do {
            known = try File.read(path(network)).map { DeviceMemory(text: $0, scope: scope) } ?? known
        } catch { journal.report(.warning, "devices-unreadable", "\(error)") }
    }

    /// Takes in what was seen; see ``DeviceMemory/note(_:isRight:)``.
    mutating func note(_ observed: ObservedState, isRight: Bool, _ journal: inout AgentJournal) {
        let former = known
        known.note(observed, isRight: isRight)
        guard let network, known != former else { return }
        do {
            try File.replace(path(network), with: known.text(scope: scope))
            journal.clear("devices-unwritable")
        } catch {
            journal.report(.warning, "devices-unwritable", "\(error); after a restart guests' ports are not known")
        }
    }

    /// Forgets a network that is gone.
    mutating func forget(_ network: String, _ journal: inout AgentJournal) {
        if self.network == network { (self.network, known) = (nil, DeviceMemory()) }
        do { try File.remove(path(network)) } catch { journal.report(.warning, "devices-unwritable", "\(error)") }
    }
}
