internal import FanAgent
internal import FanCore
internal import FanSystem
internal import Glibc

/// What `init` was told by options, a preseed and answers, and what it makes of it.
struct InitPlan {
    /// What is known so far.
    var preseed: Preseed
    /// Whether what is missing is asked for; otherwise defaults are taken.
    let asks: Bool
    /// How the found underlay is widened.
    let rounding: UnderlayRounding

    /// The node with every choice made.
    struct Node {
        var name: String
        var underlay: UnderlayChoice
        var config: ClusterConfig
        var preseed: Preseed

        var underlayAddress: IPv4Address { underlay.address }
    }

    /// Collects what the command line says and its preseed, or else this host's file; options go before both.
    init(_ invocation: Invocation) throws(CommandFailure) {
        let file = invocation.value(InitVerb.preseed)
        asks = file == nil && !invocation.flag(InitVerb.yes) && !invocation.flag(InitVerb.dump)
        rounding = invocation.value(MapVerb.rounding).flatMap(UnderlayRounding.init) ?? .none
        var known: Preseed
        if let file { known = try Self.read(file, invocation) } else { known = try HostAnswers.read(invocation) }
        if let name = try invocation.value(InitVerb.name, as: Self.label) { known.name = name }
        if let domain = try invocation.value(JoinVerb.failureDomain, as: Self.label) { known.failureDomain = domain }
        if let address = try invocation.value(InitVerb.address, as: { try SocketAddress(parsing: $0) }) {
            known.address = address
        }
        if let policy = ReaddressVerb.chosenPolicy(invocation) { known.onAddressChange = policy }
        try NetworkOptions.read(
            into: &known.overlay,
            invocation,
            underlay: InitVerb.underlay,
            overlay: InitVerb.overlay,
            mtuRange: ClusterConfig.mtuRange
        )
        preseed = known
    }

    private static func label(_ text: String) throws(ClusterInputError) -> String {
        try DNSLabel.check(text)
        return text
    }

    private static func read(_ file: String, _ invocation: Invocation) throws(CommandFailure) -> Preseed {
        let what = file == "-" ? "the preseed" : "the preseed '\(file)'"
        let bytes: [UInt8] = try CommandFailure.reading(what) {
            guard file != "-" else {
                return try invocation.environment.input.all(limit: YAMLDocument.maximumBytes, what: what)
            }
            guard let text = try File.read(file) else { throw FileError(operation: "open", path: file, code: ENOENT) }
            return Array(text.utf8)
        }
        return try HostAnswers.preseed(bytes, what)
    }

    // MARK: - Questions

    /// Whether anything that a joiner does not choose is known, so that it cannot be a join any more.
    private var isBootstrap: Bool {
        preseed.document.fields.contains { !Preseed.joinerKeys.contains($0.key) } || rounding != .none
    }

    /// Asks whether to join instead.
    mutating func askForToken(_ invocation: Invocation) throws(CommandFailure) {
        guard asks, preseed.clusterToken == nil, !isBootstrap else { return }
        let prompt = Prompt(invocation: invocation)
        guard try prompt.confirm("Would you like to join an existing cluster?", default: false) else { return }
        preseed.clusterToken = try prompt.ask("Please provide the join token") { token in
            _ = try JoinToken(parsing: token)
            return token
        }
    }

    /// Makes every choice, asking for what is not known yet.
    ///
    /// - Throws: ``CommandFailure``, `FanMappingError`.
    func settle(_ invocation: Invocation) throws -> Node {
        let prompt = asks ? Prompt(invocation: invocation) : nil
        let facts = try invocation.environment.hostFacts()
        var plan = preseed
        if let address = plan.address { try facts.requireOwn(address.address) }

        let hostName = invocation.environment.hostName()
        let defaultName = Self.defaultName(hostName)
        if plan.name == nil {
            plan.name = try prompt?.ask("What should this node be called?", default: defaultName, read: Self.label)
        }
        guard let name = plan.name ?? defaultName else {
            throw CommandFailure.badInput(
                "this host's name '\(hostName)' is no member's name",
                remedy: "give one with --name"
            )
        }
        plan.name = name

        let asksOverlay = plan.overlay.overlay == nil
        var choice: UnderlayChoice?
        repeat {
            if asksOverlay {
                let question = "Which overlay should the members share?"
                plan.overlay.overlay = try prompt?.ask(question, default: "\(IPv4Prefix.defaultOverlay)") {
                    try FanMapping.usableOverlay(IPv4Prefix(parsing: $0))
                }
            }
            let overlay = plan.overlay.overlay ?? .defaultOverlay
            let question = "Which underlay should it run over? (auto, an interface, a prefix, via ADDRESS)"
            if let prompt, plan.overlay.underlay == nil {
                choice = try prompt.ask(question, default: "auto") { answer -> UnderlayChoice? in
                    try choose(UnderlaySelector(parsing: answer), facts, overlay, asksOverlay ? prompt : nil)
                }
            } else {
                let selector = plan.overlay.underlay ?? .auto
                choice = try CommandFailure.reading { try choose(selector, facts, overlay, asksOverlay ? prompt : nil) }
            }
        } while choice == nil
        guard let underlay = choice else { preconditionFailure("the loop ends with a choice") }
        plan.overlay.overlay = plan.overlay.overlay ?? .defaultOverlay
        invocation.note("underlay \(underlay.prefix), this host \(underlay.address): \(underlay.reason)")
        plan.overlay.underlay = .prefix(underlay.prefix)

        let defaultAddress = SocketAddress(underlay.address)
        if plan.address == nil {
            let question = "On which address should the other members reach this node?"
            plan.address = try prompt?.ask(question, default: "\(defaultAddress)") {
                let address = try SocketAddress(parsing: $0)
                try facts.requireOwn(address.address)
                return address
            }
        }
        plan.address = plan.address ?? defaultAddress

        if let prompt, try prompt.confirm("Would you like these answers printed as a preseed?", default: false) {
            invocation.output.write(plan.document.yaml)
        }
        return Node(name: name, underlay: underlay, config: try Self.config(plan, underlay), preseed: plan)
    }

    /// Finds the underlay; nil when the overlay is what is wrong and is asked for again.
    private func choose(
        _ selector: UnderlaySelector,
        _ facts: HostFacts,
        _ overlay: IPv4Prefix,
        _ prompt: Prompt?
    ) throws -> UnderlayChoice? {
        do {
            let choice: UnderlayChoice
            // Where this node listens, inside the prefix that was named, is its address in the underlay.
            if case .prefix(let prefix) = selector, let host = preseed.address?.address, prefix.contains(host) {
                choice = try facts.chooseUnderlay(rounding.apply(to: prefix), host: host)
            } else {
                choice = try facts.chooseUnderlay(selector, overlay: overlay, rounding: rounding)
            }
            _ = try FanMapping(overlay: overlay, underlay: choice.prefix).slice(of: choice.address)
            return choice
        } catch {
            guard let prompt, (error as? any OverlayDoubt)?.concernsOverlay == true else { throw error }
            prompt.invocation.output.explain(.badInput("\(error)"))
            return nil
        }
    }

    private static func config(_ plan: Preseed, _ choice: UnderlayChoice) throws(FanMappingError) -> ClusterConfig {
        var config = ClusterConfig(clusterID: "", try plan.overlay.settings(underlay: choice.prefix))
        config.mtuBytes = plan.overlay.mtuBytes
        config.forwarder = plan.overlay.forwarder?.kind
        return config
    }

    /// The first label of the host's name in lower case, where that may be a member's name.
    static func defaultName(_ hostName: String) -> String? {
        let label = hostName.prefix { $0 != "." }.lowercased()
        return DNSLabel.isValid(label) ? label : nil
    }
}
