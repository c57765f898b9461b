public import FanCore
internal import FanSystem

/// How one network stands on this host.
public struct NetworkStatus: Sendable {
    /// The network as it was asked for.
    public var spec: NetworkSpec
    /// This host's part of the overlay.
    public var slice: FanSlice
    /// The steps that would make it right again, empty when it is.
    public var pending: [Change]
    /// What the classifiers counted; nil without eBPF or without the privilege to read it.
    public var counters: ForwardingCounters?
    /// The MTU of the underlay's interface in bytes; nil where its address is gone.
    public var underlayMTUBytes: Int?
    /// Where this host would move to, now that its underlay address is gone; nil where that does not arise.
    public var renumbering: Renumbering?
    /// What should be looked at.
    public var warnings: [Finding]

    /// The worst of the warnings.
    public var verdict: Verdict { warnings.verdict }

    /// The codes that the warnings may have: who has just looked at the kernel knows them best.
    public static let codes: Set<String> = [
        "underlay-address-gone", "underlay-down", "mtu-too-large", "route-overlap", "no-source-check",
        "forward-dropped", "machine-changed", "identity-gone", "device-not-ours", "overlay-out-of-shape",
    ]
}

extension OverlayManager {
    /// The networks that were brought up on this host, by name.
    ///
    /// - Throws: ``FileError``.
    public func networkNames() throws -> [String] {
        try state.networkNames()
    }

    /// The record of a network, nil when it was never brought up.
    ///
    /// - Throws: ``StateError``, ``FileError``.
    public func record(of network: String) throws -> NetworkSpec? {
        try state.network(network)
    }

    /// Compares a network's record with the kernel.
    ///
    /// Requires: CAP_BPF to look at classifiers.
    ///
    /// - Parameter spec: the network's record.
    /// - Returns: the comparison, with what to do about each difference.
    /// - Throws: ``StateError``, ``FileError`` and the kernel's errors.
    public func status(of spec: NetworkSpec) throws -> NetworkStatus {
        try status(of: spec, look(at: spec.name))
    }

    /// Reads what there is of a network.
    func look(at network: String) throws -> KernelSight {
        let facts = try kernel.hostFacts()
        return KernelSight(facts: facts, observed: try kernel.observe(network: network, facts: facts))
    }

    /// Compares a network's record with what was just read of the kernel.
    func status(
        of spec: NetworkSpec,
        _ sight: KernelSight,
        _ memory: DeviceMemory = DeviceMemory()
    ) throws -> NetworkStatus {
        let (facts, observed) = (sight.facts, sight.observed)
        var status = NetworkStatus(
            spec: spec,
            slice: try spec.mapping.slice(of: spec.host),
            pending: [],
            counters: observed.vxlan == nil ? nil : try kernel.counters(network: spec.name),
            underlayMTUBytes: underlayLink(spec, facts)?.mtuBytes,
            renumbering: try? Renumbering(spec, facts),
            warnings: []
        )
        status.warnings += hostWarnings(spec, facts)
        if let underlay = underlayLink(spec, facts) {
            status.warnings += try HostSettings(kernel: kernel).warnings(spec, underlay, facts)
        }
        status.warnings += filterWarnings(spec, observed)
        if try state.isCopy() {
            status.warnings.add(
                code: "machine-changed",
                severity: .error,
                message: "'\(state.path)' was made on another machine, whose identity this host may not have as well",
                remedy: "run: fanmesh up, which makes a new one"
            )
            return status
        }
        guard let nodeID = try state.nodeID() else {
            status.warnings.add(
                code: "identity-gone",
                severity: .error,
                message:
                    "this node's id is missing from the state directory, so no device can be told to be its own",
                remedy: "restore '\(state.path)/node-id' from a backup; without one the devices can only be made anew, "
                    + "after a restart of this host with: fanmesh up"
            )
            return status
        }
        let former = try state.formerNetwork(spec.name)
        do throws(PlanError) {
            let desired: DesiredState
            do throws(FanMappingError) { desired = try DesiredState(spec, nodeID: nodeID) } catch {
                return status
            }
            let former = former.flatMap { try? DesiredState($0, nodeID: nodeID) }
            status.pending = try desired.plan(from: observed, former: former, memory: memory)
        } catch {
            status.warnings.add(
                code: "device-not-ours",
                severity: .error,
                message: "\(error)",
                remedy: "rename the device, or stop the program that made it, then run: fanmesh up"
            )
        }
        if !status.pending.isEmpty {
            let steps = status.pending.map(\.description).joined(separator: "; ")
            status.warnings.add(
                code: "overlay-out-of-shape",
                severity: .error,
                message: "\(status.pending.count) step\(status.pending.count == 1 ? "" : "s") missing: \(steps)",
                remedy: "run: fanmesh up with the options it was first run with"
            )
        }
        return status
    }

    /// The interface that has this host's underlay address, nil when none has.
    func underlayLink(_ spec: NetworkSpec, _ facts: HostFacts) -> LinkFacts? {
        facts.addresses.first { $0.address.address == spec.host }.flatMap { facts.link(index: $0.linkIndex) }
    }

    private func hostWarnings(_ spec: NetworkSpec, _ facts: HostFacts) -> [Finding] {
        var warnings: [Finding] = []
        if let link = underlayLink(spec, facts) {
            let highest = link.mtuBytes - NetworkSpec.encapsulationBytes
            if spec.mtuBytes > highest {
                warnings.add(
                    code: "mtu-too-large",
                    severity: .error,
                    message: "the overlay's MTU \(spec.mtuBytes) does not fit into \(link.name)'s \(link.mtuBytes)",
                    remedy: "run: fanmesh up --mtu \(highest)"
                )
            }
            if !link.isUp {
                warnings.add(
                    code: "underlay-down",
                    severity: .error,
                    message: "the underlay's interface \(link.name) is down",
                    remedy: "run: ip link set \(link.name) up"
                )
            }
        } else {
            let plan = try? Renumbering(spec, facts)
            let found = plan.map { "; it has \($0.to.host) on \($0.link), whose slice is \($0.to.prefix)" } ?? ""
            warnings.add(
                code: "underlay-address-gone",
                severity: .error,
                message: "this host no longer has its underlay address \(spec.host), and keeps the overlay of it"
                    + found,
                remedy: "give the address back" + (plan == nil ? "" : ", or move to the new one: fanmesh readdress")
            )
        }
        warnings += overlapWarnings(spec, facts)
        if spec.forwarder == .fdb {
            warnings.add(
                code: "no-source-check",
                severity: .warning,
                message: "the fdb forwarder cannot drop forged sources and floods ARP to every peer",
                remedy: "use a kernel that can load eBPF programs, then run: fanmesh up --forwarder ebpf"
            )
        }
        return warnings
    }

    private func filterWarnings(_ spec: NetworkSpec, _ observed: ObservedState) -> [Finding] {
        observed.foreignChains.map { chain in
            Finding(
                code: "forward-dropped",
                severity: .error,
                message: "chain '\(chain)' drops what \(spec.bridgeName) forwards between guests and to other hosts; "
                    + "it sees that since net.bridge.bridge-nf-call-iptables is 1",
                remedy: "run: \(chain.remedy(bridge: spec.bridgeName))"
            )
        }
    }

    private func overlapWarnings(_ spec: NetworkSpec, _ facts: HostFacts) -> [Finding] {
        let ours = facts.link(named: spec.bridgeName)?.index
        return facts.routes.compactMap { route in
            guard
                // A less specific route takes nothing: ours goes before it.
                route.destination.prefixBits >= spec.mapping.overlay.prefixBits, route.linkIndex != ours,
                spec.mapping.overlay.contains(route.destination.network)
            else { return nil }
            let name = route.linkIndex.flatMap { facts.link(index: $0)?.name } ?? "no interface"
            return Finding(
                code: "route-overlap",
                severity: .warning,
                message:
                    "the route to \(route.destination) by \(name) takes addresses of overlay \(spec.mapping.overlay)",
                remedy: "remove the route, or use another overlay on every host with --overlay"
            )
        }
    }

    /// Checks this host's side of a network, a line per check.
    ///
    /// - Parameters:
    ///   - spec: the network's record.
    ///   - isClusters: whether it is a cluster's, whose members have other remedies.
    /// - Returns: one line per check, in a fixed order.
    /// - Throws: as ``status(of:)``.
    public func hostChecks(of spec: NetworkSpec, isClusters: Bool = false) throws -> [HostCheck] {
        var status = try status(of: spec)
        if isClusters { status.warnings = status.warnings.map(\.inCluster) }
        var checks: [HostCheck] = []
        func check(_ name: String, codes: [String], fine: String) {
            let found = status.warnings.filter { codes.contains($0.code) }
            guard let worst = found.max(by: { $0.severity < $1.severity }) else {
                checks.append(HostCheck(check: name, result: .ok, detail: fine))
                return
            }
            checks.append(
                HostCheck(
                    check: name,
                    result: worst.severity == .error ? .fail : .warning,
                    detail: found.map(\.message).joined(separator: "; "),
                    remedy: worst.remedy
                )
            )
        }
        check(
            "underlay",
            codes: ["underlay-address-gone", "underlay-down"],
            fine: "\(spec.host) in \(spec.mapping.underlay)"
        )
        check(
            "devices",
            codes: ["machine-changed", "identity-gone", "device-not-ours", "overlay-out-of-shape"],
            fine: "\(spec.bridgeName) \(status.slice.bridgeAddress) and \(spec.vxlanName) are as planned"
        )
        check("mtu", codes: ["mtu-too-large"], fine: "\(spec.mtuBytes) fits into the underlay")
        check(
            "settings",
            codes: ["arp-ignored", "reverse-path", "forwarding-off"],
            fine: try kernel.sysctl("net/ipv4/ip_forward") == "0"
                ? "no sysctl stands in the way; IPv4 is not forwarded, so guests reach the overlay and nothing beyond"
                : "no sysctl stands in the way"
        )
        check("routes", codes: ["route-overlap"], fine: "nothing else uses \(spec.mapping.overlay)")
        check("sources", codes: ["no-source-check"], fine: "forged sources are dropped")
        checks.append(try neighbourCheck(spec))
        check("bridge-filter", codes: ["forward-dropped"], fine: "no rules drop what \(spec.bridgeName) forwards")
        return checks
    }

    private func neighbourCheck(_ spec: NetworkSpec) throws -> HostCheck {
        guard let limit = try kernel.sysctl("net/ipv4/neigh/default/gc_thresh3").flatMap({ UInt64($0) }) else {
            return HostCheck(check: "neighbours", result: .skipped, detail: "this namespace has no neighbour limit")
        }
        // Each peer may take an entry for itself and one for its bridge; the rest of the host needs some too.
        let wanted = UInt64(2 * spec.peers.count + 128)
        let room =
            "the table holds \(limit) neighbours; \(spec.peers.count) peers are known, "
            + "the underlay could hold \(spec.mapping.hostCapacity)"
        return HostCheck(
            check: "neighbours",
            result: limit < wanted ? .warning : .ok,
            detail: room,
            remedy: limit < wanted ? "run: sysctl -w net.ipv4.neigh.default.gc_thresh3=\(4 * wanted)" : ""
        )
    }
}
