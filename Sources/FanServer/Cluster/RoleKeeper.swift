internal import FanDatabase
internal import FanSystem

/// Gives every member the role that it should have, while this node leads.
struct RoleKeeper {
    let node: ClusterNode

    /// Works until the member ends.
    func run() {
        var client: DatabaseClient?
        var wait = Duration.seconds(2)
        var busy = 0
        var backoff = Duration.milliseconds(250)
        var notBefore = ContinuousClock.now
        while !node.mustStop {
            node.roleSignal.wait(atMost: wait)
            // A step that fails may cost the lead, and who takes it again tries again: not without a pause.
            while !node.mustStop, notBefore > .now { node.roleSignal.wait(atMost: notBefore - .now) }
            wait = .seconds(2)
            guard let leadership = node.leadership else {
                client = nil
                continue
            }
            do {
                let connection: DatabaseClient
                if let client {
                    connection = client
                } else {
                    connection = try DatabaseClient(descriptor: node.database.connectLocally(), timeout: .seconds(20))
                }
                client = connection
                while !node.mustStop, let done = try leadership.roles.adjust(connection) {
                    node.log.notice("roles", done)
                }
                busy = 0
                backoff = .milliseconds(250)
            } catch {
                node.log.warning("roles-not-adjusted", "\(error)")
                backoff = min(backoff * 2, .seconds(2))
                notBefore = .now + backoff
                wait = .zero
                busy = error.isBusy ? busy + 1 : 0
                // The library may take a change for unfinished for ever; another leader knows better.
                if busy >= 4, let connection = client, let successor = try? leadership.roles.handOver(connection) {
                    node.log.notice(
                        "handed-over",
                        "'\(successor)' leads the database now, since no role can be changed here"
                    )
                    busy = 0
                }
                client = nil
            }
        }
    }
}
