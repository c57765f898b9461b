import FanCore
import FanLab
import Glibc
import TestSupport
import Testing

@testable import FanLink

/// Which rules of others are taken for ones that drop a bridge's frames.
@Suite(.enabled(if: isRoot)) struct ForeignChainsTests {
    struct Rules: Sendable {
        var text: String
        /// The command that each chain that drops needs.
        var remedies: [String] = []
    }

    private static func forward(_ rules: String, policy: String = "accept", table: String = "inet guard") -> String {
        "table \(table) { chain ahead { type filter hook forward priority 0; policy \(policy); \(rules)\n}; }"
    }

    private static let insert = "nft insert rule inet guard ahead iifname fan0 oifname fan0 accept"

    private static let firewalld = """
        table inet firewalld {
            chain trusted { accept; }
            chain policies { INTERFACES reject with icmpx admin-prohibited; }
            chain filter_FORWARD {
                type filter hook forward priority filter + 10; policy accept;
                ct state { established, related } accept
                iifname "lo" accept
                ct state invalid drop
                jump policies
                reject with icmpx admin-prohibited
            }
        }
        """

    static let all = [
        Rules(text: forward("")),
        Rules(text: forward("iifname eth7 drop")),
        Rules(text: forward("ip saddr 10.0.0.0/8 drop; accept")),
        Rules(text: forward("counter drop"), remedies: [insert]),
        Rules(text: forward("", policy: "drop"), remedies: [insert]),
        Rules(text: forward("iifname fan0 oifname fan0 accept", policy: "drop")),
        // Neither another device nor a drop lets anything through.
        Rules(text: forward("iifname fan01 accept; iifname fan0 drop", policy: "drop"), remedies: [insert]),
        Rules(text: forward("iifname != fan0 accept", policy: "drop"), remedies: [insert]),
        // What is forwarded is no concern of other hooks, and our own table is none of another's.
        Rules(text: "table ip x { chain y { type filter hook input priority 0; policy drop; }; }"),
        Rules(text: forward("drop", table: "ip fanmesh-fan0")),
        Rules(
            text: "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }",
            remedies: ["iptables -I FORWARD -i fan0 -o fan0 -j ACCEPT"]
        ),
        Rules(
            text: firewalld.replacing("INTERFACES", ""),
            remedies: ["firewall-cmd --permanent --zone=trusted --add-interface=fan0 && firewall-cmd --reload"]
        ),
        Rules(text: firewalld.replacing("INTERFACES", "iifname fan0 goto trusted;")),
    ]

    /// Rules for packets of the host itself, the way that they go, and the chains and rules that may drop UDP 8472.
    static let own: [(rules: String, isIncoming: Bool, suspects: [String])] = [
        ("table inet a { chain b { type filter hook input priority 0; udp dport 8472 drop; }; }", true, ["inet a b#"]),
        ("table inet a { chain b { type filter hook input priority 0; udp dport 8472 drop; }; }", false, []),
        ("table ip a { chain b { type filter hook output priority 0; udp dport 8472 reject; }; }", false, ["ip a b#"]),
        ("table ip a { chain b { type route hook output priority 0; udp dport 8473 drop; }; }", false, []),
        (
            "table inet a { chain b { type filter hook prerouting priority -300; udp dport 8472 counter drop; }; }",
            true, ["inet a b#"]
        ),
        ("table inet a { chain b { type filter hook input priority 0; policy drop; }; }", true, ["inet a b"]),
        (
            "table inet a { chain b { type filter hook input priority 0; tcp dport 22 accept; drop; }; }", true,
            ["inet a b"]
        ),
        (
            "table inet a { chain b { type filter hook input priority 0; policy drop; udp dport 8472 accept; }; }",
            true, []
        ),
        (
            "table inet a { chain c { udp dport 8472 drop; }; chain b { type filter hook input priority 0; jump c; }; }",
            true, ["inet a c#"]
        ),
        ("table bridge a { chain b { type filter hook input priority 0; policy drop; }; }", true, []),
        ("table ip fanmesh-fan0 { chain b { type filter hook input priority 0; policy drop; }; }", true, []),
    ]

    @Test(arguments: own.indices) func whatMayDropTheOverlayIsNamed(_ index: Int) throws {
        let (rules, isIncoming, suspects) = Self.own[index]
        try inFreshNamespace {
            let result = try RunningProcess(ProcessRequest(["nft", rules])).wait()
            try #require(result.isSuccess, "\(rules): \(result.explanation)")
            let found = try ForeignChains.suspects(port: 8472, isIncoming: isIncoming)
            let names = found.map { "\($0.family) \($0.table) \($0.chain)\($0.handle == nil ? "" : "#")" }
            #expect(names == suspects, "\(rules)")
            // What is said to let it through does.
            for suspect in found {
                let words = suspect.remedy(port: 8472).split(separator: " ").map(String.init)
                let mended = try RunningProcess(ProcessRequest(words)).wait()
                #expect(mended.isSuccess, "\(suspect): \(mended.explanation)")
            }
        }
    }

    @Test(arguments: all.indices) func dropsAreFoundAndNoOthers(_ index: Int) throws {
        let rules = Self.all[index]
        let found = try inFreshNamespace {
            let result = try RunningProcess(ProcessRequest(["nft", rules.text])).wait()
            try #require(result.isSuccess, "\(rules.text): \(result.explanation)")
            return try ForeignChains.dropping("fan0")
        }
        #expect(found.map { $0.remedy(bridge: "fan0") } == rules.remedies, "\(rules.text)")
    }
}

extension String {
    /// This text with other words in the place of some.
    fileprivate func replacing(_ words: String, _ others: String) -> String {
        guard let range = firstRange(of: words) else { return self }
        return self[..<range.lowerBound] + others + self[range.upperBound...]
    }
}
