/// Finds members that contradict each other or the cluster.
public enum ConflictFinder {
    /// The conflicts among the members and their reports, in the order of the members.
    ///
    /// - Parameters:
    ///   - config: what the members agree on.
    ///   - members: all members.
    ///   - reports: their last reports, by name.
    /// - Returns: a warning for each conflict, naming both members.
    public static func conflicts(
        config: ClusterConfig,
        members: [Member],
        reports: [String: NodeReport]
    ) -> [Finding] {
        var warnings: [Finding] = []
        var ownerOfAddress: [IPv4Address: String] = [:]
        var ownerOfSlice: [IPv4Prefix: String] = [:]
        for member in members {
            let report = reports[member.name]
            let registered = member.underlayAddress
            if let owner = ownerOfAddress[registered] {
                warnings.append(sameAddress(registered, owner, member.name))
            } else {
                ownerOfAddress[registered] = member.name
            }
            if let slice = report?.slice ?? (try? config.mapping.slice(of: registered).prefix) {
                if let owner = ownerOfSlice[slice] {
                    warnings.append(sameSlice(slice, owner, member.name))
                } else {
                    ownerOfSlice[slice] = member.name
                }
            }
        }
        for member in members {
            guard let address = reports[member.name]?.underlayAddress, address != member.underlayAddress else {
                continue
            }
            if let owner = ownerOfAddress[address] {
                warnings.append(sameAddress(address, owner, member.name))
            } else {
                warnings.append(movedAddress(member, address))
            }
        }
        return warnings + settings(config, members, reports) + unequalMTUs(members, reports)
    }

    /// Members whose overlay carries less than the others': what is larger is lost on the way to them.
    private static func unequalMTUs(_ members: [Member], _ reports: [String: NodeReport]) -> [Finding] {
        let found = members.compactMap { member in reports[member.name]?.mtuBytes.map { (member.name, $0) } }
        guard let least = found.min(by: { $0.1 < $1.1 }), let most = found.max(by: { $0.1 < $1.1 }),
            least.1 < most.1
        else { return [] }
        let others = found.filter { $0.1 == least.1 }.count - 1
        let names = least.0 + (others > 0 ? " and \(others) more" : "")
        return [
            Finding(
                code: "mtu-conflict",
                severity: .warning,
                message: "the overlay's MTU is \(least.1) on \(names), and \(most.1) on \(most.0): "
                    + "larger packets do not arrive there",
                remedy: "run: fanmesh cluster edit mtu=\(least.1)"
            )
        ]
    }

    private static func sameAddress(_ address: IPv4Address, _ first: String, _ second: String) -> Finding {
        Finding(
            code: "address-conflict",
            severity: .error,
            message: "\(first) and \(second) both have underlay address \(address)",
            remedy: "give one of them another address and let it join again; 'ip -4 address' on both shows who has it"
        )
    }

    private static func sameSlice(_ slice: IPv4Prefix, _ first: String, _ second: String) -> Finding {
        Finding(
            code: "slice-conflict",
            severity: .error,
            message: "\(first) and \(second) both use slice \(slice)",
            remedy:
                "run 'fanmesh status' on both: a slice follows from the underlay address and the map, so one of them "
                + "has the wrong one"
        )
    }

    private static func movedAddress(_ member: Member, _ address: IPv4Address) -> Finding {
        Finding(
            code: "address-changed",
            severity: .error,
            message: "\(member.name) uses underlay address \(address), but it joined with \(member.underlayAddress), "
                + "to which the other members send",
            remedy: "give \(member.name) its address back, or run there: fanmesh readdress"
        )
    }

    /// Something that every member must have the same of.
    private struct Setting: Sendable {
        let code: String
        let name: String
        let value: @Sendable (OverlaySettings) -> String
    }

    private static let settings = [
        Setting(code: "map-conflict", name: "map") { "\($0.mapping.overlay) on \($0.mapping.underlay)" },
        Setting(code: "vni-conflict", name: "VNI") { "\($0.vni)" },
        Setting(code: "port-conflict", name: "UDP port") { "\($0.port)" },
    ]

    private static func settings(
        _ config: ClusterConfig,
        _ members: [Member],
        _ reports: [String: NodeReport]
    ) -> [Finding] {
        var warnings: [Finding] = []
        for setting in settings {
            let wanted = setting.value(config.overlay.settings)
            let found = members.compactMap { member in
                reports[member.name]?.settings.map(setting.value).map { (name: member.name, value: $0) }
            }
            let right = found.first { $0.value == wanted }
            for wrong in found where wrong.value != wanted {
                let other = right ?? found.first { $0.name != wrong.name }
                let compared = other.map { ", \($0.name) \($0.value)" } ?? ""
                warnings.add(
                    code: setting.code,
                    severity: .error,
                    message: "\(wrong.name) uses \(setting.name) \(wrong.value)\(compared); "
                        + "the cluster's is \(wanted)",
                    remedy: "if the cluster's is meant, run on \(wrong.name): fanmesh accept; if not, see who changed "
                        + "it: fanmesh cluster audit"
                )
            }
        }
        return warnings
    }
}
