internal import FanCore
internal import FanStore

/// What this host is pinned to of its cluster's settings: what it joined with, until its operator accepts another.
struct SettingsPin {
    private let stateDirectory: String
    private var pinned: PinnedSettings?
    /// Whether the settings were pinned, and cannot be read.
    private var isLost = false

    init(stateDirectory: String) { self.stateDirectory = stateDirectory }

    /// Reads what an earlier agent was pinned to.
    mutating func load(_ journal: inout AgentJournal) {
        do { pinned = try PinnedSettings.load(stateDirectory: stateDirectory) } catch {
            isLost = true
            journal.report(.error, "settings-unreadable", "\(error); nothing is done before 'fanmesh accept'")
        }
    }

    /// Reads what the operator may have accepted on this host meanwhile; says whether that is something else.
    mutating func read(_ journal: inout AgentJournal) -> Bool {
        do {
            guard let read = try PinnedSettings.load(stateDirectory: stateDirectory), read != pinned else {
                return false
            }
            pinned = read
            isLost = false
        } catch { journal.report(.error, "settings-unreadable", "\(error)") }
        journal.note(.info, "settings-accepted", "the settings that this host is pinned to were changed on it")
        return true
    }

    /// What the store says, with the settings that this host joined with; those that come first are pinned.
    ///
    /// - Parameters:
    ///   - claimed: what the store says.
    ///   - goal: the address to which this host asked to move.
    ///   - journal: hears of what is otherwise.
    /// - Returns: what to go by, nil when that is not known.
    mutating func apply(to claimed: ClusterView, goal: IPv4Address?, _ journal: inout AgentJournal) -> ClusterView? {
        guard !isLost, let settings = PinnedSettings(claimed) else { return nil }
        if pinned == nil {
            do { try settings.save(stateDirectory: stateDirectory) } catch {
                journal.report(.error, "settings-unwritable", "\(error); after a restart they are pinned anew")
            }
        }
        if pinned != settings { follow(settings, goal, &journal) }
        let pinned = pinned ?? settings
        self.pinned = pinned
        let changes = pinned.changes(to: settings)
        if changes.isEmpty {
            journal.clear("settings-differ")
        } else {
            journal.report(.error, "settings-differ", "\(Finding.settingsPinned(changes.joined(separator: ", ")))")
        }
        return pinned.applied(to: claimed)
    }

    /// Follows a change that this host asked for itself, or that its operator accepted meanwhile.
    private mutating func follow(_ settings: PinnedSettings, _ goal: IPv4Address?, _ journal: inout AgentJournal) {
        if let accepted = (try? PinnedSettings.load(stateDirectory: stateDirectory)) ?? nil { pinned = accepted }
        guard var moved = pinned, moved.underlayAddress != settings.underlayAddress, settings.underlayAddress == goal
        else { return }
        moved.underlayAddress = settings.underlayAddress
        do { try moved.save(stateDirectory: stateDirectory) } catch {
            journal.report(.error, "settings-unwritable", "\(error); after a restart it is at its former address")
        }
        pinned = moved
        journal.note(.warning, "readdressed", "this host is at \(moved.underlayAddress) now, and has another slice")
    }

    /// What is otherwise in the cluster than this host is pinned to, nil when nothing is.
    func changes(to claimed: ClusterView) -> String? {
        guard let pinned, let settings = PinnedSettings(claimed) else { return nil }
        let changes = pinned.changes(to: settings)
        return changes.isEmpty ? nil : changes.joined(separator: ", ")
    }

    /// Forgets them: this node is in no cluster.
    mutating func remove() throws {
        try PinnedSettings.remove(stateDirectory: stateDirectory)
        pinned = nil
        isLost = false
    }
}
