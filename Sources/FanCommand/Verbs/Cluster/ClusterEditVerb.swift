internal import FanCore
internal import FanStore
internal import FanSystem
internal import Glibc

/// `fanmesh cluster edit`: the settings that all members share.
enum ClusterEditVerb {
    static let settings = CommandArgument(
        name: "KEY=VALUE",
        arity: .variadic,
        help: "what to change; without any, the settings are opened in an editor, or read from standard input"
    )

    static let command = Command(
        name: "edit",
        summary: "change the cluster's settings",
        discussion: [
            "Keys: \(Setting.all.map { "\($0.key) (\($0.help))" }.joined(separator: "; ")).",
            "The overlay, the underlay, VNI and port are fixed by 'fanmesh init': to change them is to make another "
                + "cluster. Without a KEY=VALUE, $VISUAL or $EDITOR opens the settings as YAML; off a terminal they "
                + "are read as YAML from standard input. No secret is ever among them. When somebody else changed the "
                + "settings while they were open, nothing is changed, and it is said which ones differ.",
        ],
        arguments: [settings],
        examples: [
            Example("fanmesh cluster edit", "in an editor"),
            Example("fanmesh cluster edit offline_after_s=10 voters=5", "from a script"),
        ],
        exitNotes: [ExitNote(.success, "changed, or nothing to change")] + ClusterVerb.exitNotes,
        handler: run
    )

    /// One setting that can be changed.
    struct Setting {
        let key: String
        let help: String
        /// Whether it is a number; otherwise a text.
        var isNumber = true

        static let all = [
            Setting(key: "offline_after_s", help: "seconds without a heartbeat until a member is OFFLINE, 2 to 3600"),
            Setting(key: "voters", help: "how many voters the database should have, odd"),
            Setting(key: "standbys", help: "how many standbys the database should have"),
            Setting(key: "token_expiry_s", help: "seconds that a join token is valid"),
            Setting(key: "mtu", help: "the overlay's MTU in bytes, or auto for each host's underlay less 50"),
            Setting(key: "forwarder", help: "auto, ebpf or fdb", isNumber: false),
            Setting(
                key: "administrators",
                help: "the members from which the cluster may be administered, such as node1,node2, or all",
                isNumber: false
            ),
        ]
    }

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let words = invocation.arguments(settings)
        var changes: [Document.Field]
        // Who decides by the settings that were shown changes those and no later ones.
        var tag: String?
        if words.isEmpty {
            let shown = try invocation.administration().cluster()
            tag = shown.tag
            let current = shown.config
            let input = invocation.environment.input
            let wanted =
                input.isTerminal
                ? try edited(current, invocation)
                : try settings(of: input.all(limit: YAMLDocument.maximumBytes, what: "the settings"))
            changes = wanted.filter { current[$0.key] != $0.value }
        } else {
            changes = try words.map { word throws(CommandFailure) in try field(word) }
        }
        guard !changes.isEmpty else {
            invocation.show(.changes(["nothing to change"]))
            return .success
        }
        try invocation.administration().edit(changes, ifTagged: tag)
        invocation.show(.changes(changes.map { "\($0.key) is now \($0.value == .null ? "auto" : $0.value.plainText)" }))
        return .success
    }

    // MARK: - Words

    private static func field(_ word: String) throws(CommandFailure) -> Document.Field {
        guard let equals = word.firstIndex(of: "=") else {
            throw .badInput("'\(word)' is not of the form KEY=VALUE", remedy: "see 'fanmesh cluster edit --help'")
        }
        let key = String(word[..<equals])
        let text = String(word[word.index(after: equals)...])
        return try checked(Document.Field(key: key, value: Int128(text).map { .integer($0) } ?? .string(text)))
    }

    /// The setting in the form that the server takes, or what is wrong with it.
    private static func checked(_ field: Document.Field) throws(CommandFailure) -> Document.Field {
        guard let setting = Setting.all.first(where: { $0.key == field.key }) else {
            let nearest = NearestName.find(field.key, in: Setting.all.map(\.key))
            throw .badInput(
                "the cluster has no setting '\(field.key)' that can be changed",
                remedy: nearest.map { "did you mean '\($0)'?" }
                    ?? "the settings are \(Setting.all.map(\.key).joined(separator: ", "))"
            )
        }
        if setting.key == "mtu", field.value == "auto" { return Document.Field(key: field.key, value: .null) }
        switch (field.value, setting.isNumber) {
        case (.integer(let number), true) where number >= 0: return field
        case (.string, false): return field
        default:
            throw .badInput("\(field.key) cannot be '\(field.value.plainText)': it is \(setting.help)")
        }
    }

    // MARK: - YAML

    /// The settings as YAML with what they mean.
    static func yaml(_ config: Document) -> String {
        let settings = Setting.all.map { setting in
            let value = config[setting.key]
            let shown: Document = value == .null ? "auto" : value
            return "# \(setting.help)\n" + Document.object([Document.Field(key: setting.key, value: shown)]).yaml
        }
        let fixed = ["cluster_id", "network", "overlay", "underlay", "vni", "port"].map {
            "# \($0): \(config[$0].plainText)\n"
        }
        return "# The settings of this cluster. Lines that you remove leave a setting as it is.\n"
            + settings.joined() + "\n# Fixed:\n" + fixed.joined()
    }

    static func settings(of yaml: [UInt8]) throws(CommandFailure) -> [Document.Field] {
        let parsed = try CommandFailure.reading("the settings") { try YAMLDocument(parsing: yaml) }
        guard case .object(let fields) = parsed.document else {
            throw .badInput("the settings: the document is not of the form KEY: VALUE")
        }
        return try fields.map { field throws(CommandFailure) in
            do throws(CommandFailure) { return try checked(field) } catch {
                throw .badInput("line \(parsed.lines[field.key] ?? 1): \(error.message)", remedy: error.remedy)
            }
        }
    }

    /// Opens the settings in an editor until they can be used.
    private static func edited(_ config: Document, _ invocation: Invocation) throws -> [Document.Field] {
        let variables = ["VISUAL", "EDITOR"].compactMap { invocation.environment.variable($0) }
        let editor = variables.first { !$0.isEmpty } ?? "vi"
        let directory = try temporaryDirectory()
        let path = "\(directory)/settings.yaml"
        defer {
            try? File.remove(path)
            unsafe rmdir(directory)
        }
        try File.replace(path, with: yaml(config))
        while true {
            let code = invocation.environment.shell("\(editor) \(Shell.quoted(path))")
            guard code == 0 else {
                throw CommandFailure(
                    "the editor '\(editor)' ended with \(code); nothing was changed",
                    remedy: "choose another with EDITOR=…, or write: fanmesh cluster edit KEY=VALUE"
                )
            }
            do { return try settings(of: Array((try File.read(path) ?? "").utf8)) } catch {
                invocation.output.explain(CommandFailure(error))
                let isAgain = try Prompt(invocation: invocation).confirm("Edit again?", default: true)
                guard isAgain else { throw CommandFailure("nothing was changed", exitCode: .usage) }
            }
        }
    }

    /// A new directory that nobody else can write to, under /tmp since it lives only as long as the editor.
    private static func temporaryDirectory() throws(FileError) -> String {
        let pattern = "/tmp/fanmesh-XXXXXX"
        var template = Array(pattern.utf8CString)
        let isMade = unsafe template.withUnsafeMutableBufferPointer { buffer in
            unsafe buffer.baseAddress.map { unsafe mkdtemp($0) != nil } ?? false
        }
        guard isMade else { throw FileError(operation: "make directory", path: pattern, code: errno) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
