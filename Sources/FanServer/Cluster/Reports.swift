internal import FanCore
internal import FanDatabase
internal import FanSystem

/// Which of a member's reports is the later one: its server counts them from its start on.
struct ReportNumber: Comparable, Sendable {
    /// The start of the member's server.
    var start: Int
    /// The report since then.
    var count: Int

    /// The header that a forwarded report has its number in.
    static let header = "Fanmesh-Report"

    init(start: Int, count: Int) {
        self.start = start
        self.count = count
    }

    /// Reads the header's value, such as `3.17`.
    init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count <= 40, let start = Int(parts[0]), let count = Int(parts[1]),
            start >= 0, count >= 0
        else { return nil }
        self.init(start: start, count: count)
    }

    /// The header's value.
    var text: String { "\(start).\(count)" }

    static func < (a: ReportNumber, b: ReportNumber) -> Bool { (a.start, a.count) < (b.start, b.count) }
}

/// How far the reports of one member have come: several may be on their way at once, and in any order.
struct ReportSlot: Sendable {
    /// The latest number that was seen.
    var number: ReportNumber?
    /// How many are being written.
    var pending = 0
    /// Whether a write failed: what the database has is not known then.
    var isDoubtful = false
    /// Counts the reports in the order in which the database got them.
    var written = 0
    /// The order of the one in memory.
    var shown = 0
}

/// The members' reports, of which the leader writes down what is new.
struct Reports {
    let leader: Leadership

    /// Takes a report, and writes it when it says something new.
    ///
    /// - Parameters:
    ///   - report: the report.
    ///   - name: whose it is.
    ///   - number: which of its reports it is; nil to take it for the latest.
    /// - Returns: whether it was written; one that a later one has overtaken is not.
    /// - Throws: ``ClusterError``.
    func take(_ report: NodeReport, of name: String, number: ReportNumber? = nil) throws(ClusterError) -> Bool {
        _ = try leader.member(name)
        let json = report.document.compactJSONText
        guard json.utf8.count <= NodeReport.maximumBytes else {
            throw ClusterError(
                .tooLarge,
                "the report of '\(name)' has \(json.utf8.count) bytes, at most 65536 are taken"
            )
        }
        let mustWrite = leader.model.withLock { model in
            var slot = model.slots[name] ?? ReportSlot()
            if let number {
                if let latest = slot.number, number < latest { return false }
                slot.number = number
            }
            defer { model.slots[name] = slot }
            // What is being written now may be something else than what is in memory.
            if slot.pending == 0, !slot.isDoubtful, model.reports[name]?.lasting == report.lasting {
                model.reports[name] = report
                return false
            }
            slot.pending += 1
            return true
        }
        guard mustWrite else { return false }
        let now = wallClockMilliseconds() / 1000
        do throws(ClusterError) {
            let order = try leader.write { transaction -> Int? in
                _ = try transaction.presentMember(name)
                let order: Int? = leader.model.withLock { model in
                    if let number, let latest = model.slots[name]?.number, number < latest { return nil }
                    model.slots[name, default: ReportSlot()].written += 1
                    return model.slots[name]?.written
                }
                if order != nil { try transaction.saveReport(name, json: json, now: now) }
                return order
            }
            leader.model.withLock { model in
                guard var slot = model.slots[name] else { return }
                slot.pending -= 1
                if let order, order > slot.shown {
                    slot.shown = order
                    slot.isDoubtful = false
                    model.reports[name] = report
                }
                model.slots[name] = slot
            }
            return order != nil
        } catch {
            leader.model.withLock { model in
                model.slots[name]?.pending -= 1
                model.slots[name]?.isDoubtful = true
            }
            throw error
        }
    }

    /// The answer to a report.
    func receipt(stored: Bool) -> Document {
        [
            "schema": "fanmesh.receipt/v1", "generation": .number(leader.state.generation), "stored": .bool(stored),
        ]
    }
}
