import FanCore
import TestSupport
import Testing

/// Roles are written as one letter per node: V voter, S standby, - spare; lower case (and _) offline; the leader is
/// followed by *; then @ and a failure domain, = and a pinned role's letter.
func roleNodes(_ text: String) throws -> [RoleNode] {
    var nodes: [RoleNode] = []
    for (index, word) in text.split(separator: " ").enumerated() {
        let id = UInt64(index + 1)
        var node = RoleNode(id: id, name: "node\(id)", role: .spare)
        var rest = word
        let letter = rest.removeFirst()
        node.role = try #require(role(letter))
        node.isOnline = "VS-".contains(letter)
        while let next = rest.popFirst() {
            switch next {
            case "*": node.isLeader = true
            case "@": node.failureDomain = rest.popFirst().map { String($0) } ?? ""
            case "=": node.pinnedRole = rest.popFirst().flatMap(role)
            default: Issue.record("'\(next)' in \(text)")
            }
        }
        nodes.append(node)
    }
    return nodes
}

private func role(_ letter: Character) -> DatabaseRole? {
    switch letter {
    case "V", "v": .voter
    case "S", "s": .standby
    case "-", "_": .spare
    default: nil
    }
}

@Suite struct RolePlannerTests {
    static let changes: [(String, String?)] = [
        // Nobody leads: nobody can change anything.
        ("", nil), ("V", nil), ("V V -", nil), ("v V -", nil),
        // Fewer than three: one voter.
        ("V*", nil), ("V* -", nil), ("V* V", "demote node2 to spare"), ("V V*", "demote node1 to spare"),
        ("V* S", "demote node2 to spare"), ("V* _", nil), ("V* s", "demote node2 to spare"),
        ("V* -=V", "promote node2 to voter"), ("V* V=V", "transfer leadership to node2"),
        ("V V*=V", "demote node1 to spare"), ("V* _=V", nil), ("V*=S -", nil),
        // From three: three voters, whoever comes first.
        ("V* - -", "promote node2 to voter"), ("V* V -", "promote node3 to voter"), ("V* V V", nil),
        ("V* V V -", "promote node4 to standby"), ("V* V V S -", "promote node5 to standby"), ("V* V V S S", nil),
        ("V* V V S S - -", nil), ("V* V V S S S -", "demote node6 to spare"), ("V* V V V", "demote node4 to spare"),
        ("V V V V*", "demote node3 to spare"), ("V* V V V V", "demote node5 to spare"),
        // A voter is lost: a standby first, then a spare; only then is the lost one no voter any more.
        ("V* V v", nil), ("V* V v -", "promote node4 to voter"), ("V* V v - S", "promote node5 to voter"),
        ("V* V v V", "demote node3 to spare"), ("V* V v _", nil), ("V* V v s -", "promote node5 to voter"),
        ("V* v v V V", "demote node2 to spare"),
        // The same for standbys.
        ("V* V V s -", "promote node5 to standby"), ("V* V V s s - -", "promote node6 to standby"),
        ("V* V V s s S -", "promote node7 to standby"), ("V* V V s S S", "demote node4 to spare"), ("V* V V s", nil),
        ("V* V V s S", nil),
        // Unused failure domains, then low id; a standby before a spare of a better domain.
        ("V*@a V@b -@a -@b -@c", "promote node5 to voter"), ("V*@a V@b -@a -@b", "promote node3 to voter"),
        ("V*@a V@b -@a -@c", "promote node4 to voter"),
        ("V*@a V@b S@a -@c", "promote node3 to voter"), ("V*@a V@b S@a S@c", "promote node4 to voter"),
        ("V*@a V@b V@c S@x -@x -@y", "promote node6 to standby"), ("V*@a V@b V@a V@c", "demote node3 to spare"),
        ("V*@a V@b V@c V@b", "demote node4 to spare"),
        // Pinned roles.
        ("V* V V -=V", "promote node4 to voter"), ("V* V V V=V", "demote node3 to spare"),
        ("V* V=V V=V -=V", "promote node4 to voter"), ("V*=V V=V V=V -=V", nil),
        ("V* V=V V=V V=V", "transfer leadership to node2"), ("V V*=V V=V V=V", "demote node1 to spare"),
        ("V* V - -=-", "promote node3 to voter"), ("V* V -=- -", "promote node4 to voter"),
        ("V* V=- V -", "promote node4 to voter"), ("V* V=- V V", "demote node2 to spare"),
        ("V* V=S V V", "demote node2 to standby"), ("V*=- V V V", "transfer leadership to node2"),
        ("V*=- V V -", "promote node4 to voter"), ("V* V V -=-", nil), ("V* V V -=S -", "promote node4 to standby"),
        ("V* V V S S -=S", "promote node6 to standby"), ("V* V V S S S=S", "demote node5 to spare"),
        ("V* V V S=- -", "demote node4 to spare"),
        // A pin gives way where fewer than three voters would answer.
        ("V* V V=-", nil), ("V* V -=-", "promote node3 to voter"), ("V* V v -=-", "promote node4 to voter"),
        ("V*=- V=- V=-", nil), ("V* V V=- v", "demote node4 to spare"),
        // One that answers is kept while the quorum needs it.
        ("V* V V V v v v", "demote node5 to spare"), ("V* V V V V v v", "demote node5 to spare"),
    ]

    @Test(arguments: changes)
    func plansTheNextChange(text: String, expected: String?) throws {
        let planner = RolePlanner(nodes: try roleNodes(text).shuffled())
        #expect(planner.nextChange()?.description == expected)
    }

    static let targets: [(String, Int, Int, String?)] = [
        ("V* V V - -", 5, 0, "promote node4 to voter"), ("V* V V V V S", 5, 0, "demote node6 to spare"),
        ("V* V V V V", 3, 2, "demote node5 to spare"), ("V* V V - -", 3, 0, nil),
        ("V* V V S", 3, 0, "demote node4 to spare"),
        ("V* V V S S -", 3, 3, "promote node6 to standby"), ("V* V V -=- v", 5, 0, nil),
        ("V* V V", 1, 0, "demote node3 to spare"),
    ]

    @Test(arguments: targets)
    func respectsTargets(text: String, voters: Int, standbys: Int, expected: String?) throws {
        let planner = RolePlanner(nodes: try roleNodes(text), voterTarget: voters, standbyTarget: standbys)
        #expect(planner.nextChange()?.description == expected)
    }

    static let handovers: [(String, UInt64, [String])] = [
        ("V*", 1, []),
        ("V* -", 1, ["promote node2 to voter", "transfer leadership to node2", "demote node1 to spare"]),
        ("V* -", 2, []), ("V* _", 1, []), ("V* V V", 1, ["transfer leadership to node2"]), ("V* V V", 2, []),
        ("V* v V", 1, ["transfer leadership to node3"]),
        ("V* V V S", 1, ["promote node4 to voter", "transfer leadership to node2", "demote node1 to spare"]),
        ("V* V V S", 2, ["promote node4 to voter", "demote node2 to spare"]),
        ("V* V V - S -", 2, ["promote node5 to voter", "demote node2 to spare"]), ("V* V V S", 4, []),
        ("V* V V S -", 4, ["promote node5 to standby", "demote node4 to spare"]), ("V* V V S -", 5, []),
        (
            "V*@a V@b V@c -@b -@a", 1,
            ["promote node5 to voter", "transfer leadership to node2", "demote node1 to spare"]
        ),
        ("V* V=- V -", 1, ["promote node4 to voter", "transfer leadership to node3", "demote node1 to spare"]),
        ("V* V V -=-", 1, ["promote node4 to voter", "transfer leadership to node2", "demote node1 to spare"]),
        ("V* V V", 9, []),
    ]

    @Test(arguments: handovers)
    func handsOver(text: String, leaving: UInt64, expected: [String]) throws {
        #expect(RolePlanner(nodes: try roleNodes(text)).handover(leaving: leaving).map(\.description) == expected)
    }

    /// Grown one by one, as clusters are: the roles of the reference at each size.
    @Test func growsToTheTargets() {
        var nodes: [RoleNode] = []
        let expected = ["V", "V-", "VVV", "VVVS", "VVVSS", "VVVSS-", "VVVSS--"]
        for (index, roles) in expected.enumerated() {
            let id = UInt64(index + 1)
            let first = index == 0
            nodes.append(RoleNode(id: id, name: "node\(id)", role: first ? .voter : .spare, isLeader: first))
            settle(&nodes)
            #expect(letters(nodes) == roles)
        }
        // And back, each leaving by a handover.
        for roles in expected.dropLast().reversed() {
            let id = nodes[0].id
            for step in RolePlanner(nodes: nodes).handover(leaving: id) { apply(step, to: &nodes) }
            #expect(!nodes[0].isLeader)
            nodes.removeFirst()
            settle(&nodes)
            #expect(letters(nodes).filter { $0 == "V" }.count == roles.filter { $0 == "V" }.count)
            #expect(letters(nodes).filter { $0 == "S" }.count == roles.filter { $0 == "S" }.count)
        }
    }

    /// Any cluster settles, and on the way no step takes from the leader or endangers the quorum.
    @Test func randomClustersSettle() {
        var random = SeededGenerator(seed: 0x4013)
        for _ in 0..<4000 {
            var nodes = (1...UInt64.random(in: 1...9, using: &random)).map { id in
                RoleNode(
                    id: id,
                    name: "node\(id)",
                    role: DatabaseRole.allCases.randomElement(using: &random) ?? .spare,
                    isOnline: Int.random(in: 0..<4, using: &random) > 0,
                    failureDomain: ["a", "b", "c"].randomElement(using: &random) ?? "a",
                    pinnedRole: Int.random(in: 0..<3, using: &random) == 0
                        ? DatabaseRole.allCases.randomElement(using: &random) : nil
                )
            }
            let leader = Int.random(in: 0..<nodes.count, using: &random)
            nodes[leader].isLeader = true
            nodes[leader].role = .voter
            nodes[leader].isOnline = true
            // A leader without a quorum is none.
            guard FailureTolerance(nodes: nodes).hasQuorum else { continue }
            let before = nodes
            settle(&nodes)
            let voters = nodes.filter { $0.role == .voter && $0.isOnline }
            let online = nodes.filter(\.isOnline)
            if nodes.count < 3 {
                #expect(voters.count == 1, "\(before)")
            } else {
                #expect(voters.count >= min(3, online.count), "\(before)")
                if voters.contains(where: { ($0.pinnedRole ?? .voter) != .voter }) {
                    // Nobody else could take its place.
                    #expect(!online.contains { $0.role != .voter && ($0.pinnedRole ?? .voter) == .voter }, "\(before)")
                }
            }
        }
    }

    private func settle(_ nodes: inout [RoleNode]) {
        let start = nodes
        for _ in 0..<60 {
            guard let change = RolePlanner(nodes: nodes).nextChange() else { return }
            let able = nodes.count { $0.role == .voter && $0.isOnline }
            if case .demote(let id, _, _) = change {
                #expect(!nodes.contains { $0.id == id && $0.isLeader }, "\(change) of \(start)")
            }
            apply(change, to: &nodes)
            #expect(nodes.count { $0.role == .voter && $0.isOnline } >= min(able, nodes.count < 3 ? 1 : 3), "\(change)")
            #expect(FailureTolerance(nodes: nodes).hasQuorum, "\(change) of \(start)")
        }
        Issue.record("does not settle: \(start)")
    }

    private func apply(_ change: RoleChange, to nodes: inout [RoleNode]) {
        for index in nodes.indices {
            switch change {
            case .promote(nodes[index].id, _, let role), .demote(nodes[index].id, _, let role): nodes[index].role = role
            case .transferLeadership(let id, _):
                if nodes[index].id == id { #expect(nodes[index].role == .voter && nodes[index].isOnline) }
                nodes[index].isLeader = nodes[index].id == id
            default: break
            }
        }
    }

    private func letters(_ nodes: [RoleNode]) -> String {
        nodes.map { $0.role == .voter ? "V" : $0.role == .standby ? "S" : "-" }.joined()
    }

    static let tolerances: [(String, String)] = [
        ("V*", "0 of 1 may fail"), ("V* -", "1 of 2 may fail: the other one (node2, not node1)"),
        ("- V*", "1 of 2 may fail: the other one (node1, not node2)"), ("V* _", "0 of 2 may fail: node2 is offline"),
        ("v -", "no quorum: 0 of 1 voters online, 1 needed; bring back node1"), ("V* V", "0 of 2 may fail"),
        ("V* V V", "1 of 3 may fail"), ("V* V v", "0 of 3 may fail: node3 is offline"),
        ("V* v v", "no quorum: 1 of 3 voters online, 2 needed; bring back node2, node3"),
        ("V* V V S", "1 of 4 may fail at once, 2 one after another"),
        ("V* V V S S", "1 of 5 may fail at once, 3 one after another"),
        ("V* V V S s", "1 of 5 may fail at once, 2 one after another"),
        ("V* V v S S", "0 of 5 may fail until another one is a voter: node3 is offline"),
        ("V* V V S S - -", "1 of 7 may fail at once, 5 one after another"), ("V* V V V V", "2 of 5 may fail"),
        ("V* V V V v", "1 of 5 may fail"), ("V* V V _ _", "1 of 5 may fail"), ("V* V V -=-", "1 of 4 may fail"),
        ("V* - -", "0 of 3 may fail until another one is a voter"),
        ("V* V v s", "0 of 4 may fail: node3, node4 are offline"), ("", "no quorum: no member votes"),
        ("- -", "no quorum: no member votes"),
    ]

    @Test(arguments: tolerances)
    func saysWhoMayFail(text: String, expected: String) throws {
        #expect(FailureTolerance(nodes: try roleNodes(text)).description == expected)
    }

    /// What is promised is so: members fail one after another, each after the roles have settled.
    @Test(arguments: 3...8)
    func promisesHold(count: UInt64) {
        var random = SeededGenerator(seed: 0x701 + count)
        for _ in 0..<100 {
            var nodes = (1...count).map {
                RoleNode(id: $0, name: "node\($0)", role: $0 == 1 ? .voter : .spare, isLeader: $0 == 1)
            }
            settle(&nodes)
            let promised = FailureTolerance(nodes: nodes).oneAfterAnother
            for _ in 0..<promised {
                let victims = nodes.indices.filter { nodes[$0].isOnline }
                guard let victim = victims.randomElement(using: &random) else { break }
                nodes[victim].isOnline = false
                if nodes[victim].isLeader {
                    nodes[victim].isLeader = false
                    if let successor = nodes.firstIndex(where: { $0.isOnline && $0.role == .voter }) {
                        nodes[successor].isLeader = true
                    }
                }
                #expect(FailureTolerance(nodes: nodes).hasQuorum)
                settle(&nodes)
            }
            #expect(FailureTolerance(nodes: nodes).oneAfterAnother == 0)
        }
    }
}
