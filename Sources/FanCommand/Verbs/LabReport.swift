internal import FanAgent
internal import FanCore
internal import FanLab
internal import FanProbe

/// How long the parts of a lab's run took.
struct LabTimes: Hashable, Sendable {
    var up: Duration
    var check: Duration
    var down: Duration
}

/// A lab as people and programs see it.
enum LabReport {
    /// The widest matrix that is shown; a larger lab shows its nodes and what failed.
    static let matrixLimit = 16
    /// How many failures are explained.
    static let failureLimit = 20

    /// A lab that is up, with its cluster if it has one.
    static func report(_ plan: LabPlan, _ nodes: [LabNode], cluster: Report? = nil) -> Report {
        let document = Document.object(fields(plan, nodes) + field(cluster))
        let table = Table(["name", "address", "slice", "bridge_address"], nodes.map(self.document))
        return Report(document, sections: [.table(table)] + (cluster?.sections ?? []), rows: table)
    }

    private static func field(_ cluster: Report?) -> [Document.Field] {
        cluster.map { [Document.Field(key: "cluster", value: $0.document)] } ?? []
    }

    /// A lab that was checked.
    static func report(
        _ plan: LabPlan,
        _ nodes: [LabNode],
        _ result: LabCheckResult,
        _ times: LabTimes,
        cluster: Report? = nil
    ) -> Report {
        let records = result.pairs.map(self.document)
        let verdict: Verdict = result.isSuccess ? .healthy : .error
        let head: Document = ["schema": "fanmesh.lab/v1", "verdict": .string(verdict.rawValue)]
        let found: Document = [
            "pairs": .number(result.pairs.count),
            "failed": .number(result.failures.count),
            "icmp_bytes": .number(result.echoBytes),
            "tcp_bytes": .number(result.streamBytes),
            "worst_rtt_ms": .milliseconds(result.worstRoundTrip),
            "up_ms": .milliseconds(times.up),
            "check_ms": .milliseconds(times.check),
            "down_ms": .milliseconds(times.down),
            "results": .array(records),
        ]
        let fields = head.fields + self.fields(plan, nodes).dropFirst() + field(cluster) + found.fields
        let columns = ["from", "to", "icmp", "tcp", "rtt_ms", "failure"]
        return Report(
            .object(fields),
            sections: (cluster?.sections ?? []) + matrix(result) + [.lines(lines(result, times))],
            rows: Table(columns, records)
        )
    }

    private static func matrix(_ result: LabCheckResult) -> [Report.Section] {
        guard result.endpoints.count <= matrixLimit, let header = result.matrix.first else { return [] }
        // Cells are looked up by position, because two names may hold the same text once dots are split.
        let columns = header.indices.map { position in
            Table.Column("c\(position)", title: header[position], isNumber: position > 0)
        }
        let records = result.matrix.dropFirst().map { row in
            Document.object(row.enumerated().map { Document.Field(key: "c\($0.offset)", value: .string($0.element)) })
        }
        return [.table(Table(columns, records))]
    }

    private static func lines(_ result: LabCheckResult, _ times: LabTimes) -> [Report.Line] {
        var lines: [Report.Line] = result.failures.prefix(failureLimit).map { pair in
            Report.Line(
                "\(pair.from.name) -> \(pair.to.name) (\(pair.to.address)): \(pair.failure ?? "")",
                mark: .failure
            )
        }
        if result.failures.count > failureLimit {
            lines.append(Report.Line("and \(result.failures.count - failureLimit) more", mark: .failure))
        }
        let sent = "full-size ICMP (\(result.echoBytes) bytes) and TCP (\(result.streamBytes / 1024) KiB, compared)"
        let worst = result.worstRoundTrip.map { ", worst round trip \($0.millisecondsText) ms" } ?? ""
        if result.isSuccess {
            lines.append(Report.Line("healthy: all \(result.pairs.count) pairs, \(sent)\(worst)", mark: .ok))
        } else {
            let count = "\(result.failures.count) of \(result.pairs.count) pairs"
            lines.append(Report.Line("error: \(count) failed, \(sent)\(worst)", mark: .failure))
        }
        lines.append(
            Report.Line(
                "up in \(times.up.millisecondsText) ms, checked in \(times.check.millisecondsText) ms, "
                    + "removed in \(times.down.millisecondsText) ms"
            )
        )
        return lines
    }

    private static func fields(_ plan: LabPlan, _ nodes: [LabNode]) -> [Document.Field] {
        let document: Document = [
            "schema": "fanmesh.lab/v1",
            "name": .string(plan.name),
            "underlay": .text(plan.mapping.underlay),
            "overlay": .text(plan.mapping.overlay),
            "network": .string(plan.network),
            "mtu": .number(plan.mtuBytes),
            "nodes": .array(nodes.map(self.document)),
        ]
        return document.fields
    }

    private static func document(_ node: LabNode) -> Document {
        [
            "name": .string(node.name),
            "address": .text(node.address),
            "slice": .text(node.slice.prefix),
            "bridge_address": .text(node.slice.bridgeAddress),
            "guests": .array(node.guests.map { ["name": .string($0.name), "address": .text($0.address)] }),
        ]
    }

    private static func document(_ pair: LabPair) -> Document {
        [
            "from": .string(pair.from.name),
            "to": .string(pair.to.name),
            "icmp": pair.echoWorks ? "ok" : "fail",
            "tcp": pair.streamWorks ? "ok" : "fail",
            "rtt_ms": .milliseconds(pair.echo.roundTrip),
            "failure": .text(pair.failure),
        ]
    }
}
