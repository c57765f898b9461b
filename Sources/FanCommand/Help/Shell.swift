/// A shell that completion scripts are written for.
enum Shell: String, CaseIterable, Sendable {
    case bash
    case zsh
    case fish

    /// The script that completes the command table's words in this shell.
    func completion(of root: Command) -> String {
        switch self {
        case .bash: BashCompletion(root: root).render()
        case .zsh: ZshCompletion(root: root).render()
        case .fish: FishCompletion(root: root).render()
        }
    }

    /// The text as one word of a shell.
    static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
