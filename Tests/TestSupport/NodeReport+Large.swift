public import FanCore

extension NodeReport {
    /// The report of a member of a large cluster in which much is wrong: every fourth peer is not reached.
    public func failing(peers: Int) -> NodeReport {
        var report = self
        report.reachability.peers = (1...peers).map { number in
            NodeReport.Reachability.Peer(
                name: "node\(number)",
                isReachable: number % 4 != 0,
                roundTrip: .microseconds(412),
                diagnosis: number % 4 == 0 ? "UDP 8472 is blocked" : ""
            )
        }
        report.warnings = (1...100).map { number in
            Finding(
                code: number % 9 == 0 ? "peer-unreachable" : "warning-\(number % 9)",
                severity: number % 9 == 0 ? .error : .warning,
                message: "node\(number) at 172.31.16.\(number) does not answer over the overlay, and not at all",
                remedy: "allow UDP 8472 between both hosts, and look whether its agent runs"
            )
        }
        return report
    }
}
