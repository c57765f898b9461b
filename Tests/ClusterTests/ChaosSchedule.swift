import FanCore
import FanLab
import TestSupport

/// Which node a fault is meant for; who leads is seen when its time has come.
enum ChaosTarget: Hashable, Sendable, CustomStringConvertible {
    case leader
    /// The others, in order of their numbers from the leader on.
    case follower(Int)

    var description: String {
        switch self {
        case .leader: "leader"
        case .follower(let number): "follower\(number)"
        }
    }

    func node(leader: Int, of count: Int) -> Int {
        switch self {
        case .leader: leader
        case .follower(let number): (leader - 1 + 1 + number % (count - 1)) % count + 1
        }
    }
}

/// What can go wrong.
enum ChaosFault: Hashable, Sendable, CustomStringConvertible {
    /// SIGKILL; started again afterwards.
    case kill([ClusterDaemon], ChaosTarget)
    /// SIGSTOP; SIGCONT afterwards.
    case halt([ClusterDaemon], ChaosTarget)
    /// SIGTERM of a server; started again afterwards.
    case restart(ChaosTarget)
    /// SIGKILL of all servers.
    case blackout
    /// The cables: these nodes reach only each other.
    case split([ChaosTarget])
    /// These two reach each other no more.
    case cut(ChaosTarget, ChaosTarget)
    /// A node hears nothing from another, which hears it all the same; from all others if there is none.
    case deafen(ChaosTarget, ChaosTarget?)
    /// The same for the servers' port only: the overlay must not notice.
    case deafenServer(ChaosTarget, ChaosTarget?)
    /// A pinned role, unpinned afterwards.
    case pin(ChaosTarget, DatabaseRole)

    var description: String {
        func names(_ daemons: [ClusterDaemon]) -> String { daemons.map(\.rawValue).joined(separator: "+") }
        return switch self {
        case .kill(let daemons, let target): "kill \(names(daemons)) of \(target)"
        case .halt(let daemons, let target): "halt \(names(daemons)) of \(target)"
        case .restart(let target): "restart the server of \(target)"
        case .blackout: "kill all servers"
        case .split(let group): "split \(group.map(\.description).joined(separator: "+")) off"
        case .cut(let one, let other): "cut \(one) from \(other)"
        case .deafen(let target, let source): "\(target) hears nothing from \(source?.description ?? "anybody")"
        case .deafenServer(let target, let source):
            "the server of \(target) hears nothing from \(source?.description ?? "anybody")"
        case .pin(let target, let role): "pin \(target) as \(role.rawValue)"
        }
    }

    /// Whether there can be only one of its kind at a time.
    var isNetwork: Bool {
        switch self {
        case .split, .cut, .deafen, .deafenServer: true
        case .kill, .halt, .restart, .blackout, .pin: false
        }
    }
}

/// Faults that hold for a while at the same time, and the rest before them.
struct ChaosStep: Hashable, Sendable, CustomStringConvertible {
    var rest: Duration
    var faults: [ChaosFault]
    var hold: Duration
    /// Whether all must be well again afterwards before it goes on.
    var isCheckpoint = false

    var description: String {
        "after \(rest.milliseconds) ms: \(faults.map(\.description).joined(separator: ", ")) for \(hold.milliseconds) ms"
            + (isCheckpoint ? "; then all ONLINE" : "")
    }
}

/// What is done to a cluster, all of it from one seed.
struct ChaosSchedule: Sendable {
    /// One run.
    struct Request: Hashable, Sendable, CustomStringConvertible {
        var seed: UInt64
        var nodes: Int
        var seconds: Int

        var description: String {
            "FANMESH_CHAOS_SEED=\(seed) FANMESH_CHAOS_NODES=\(nodes) FANMESH_CHAOS_SECONDS=\(seconds)"
        }
    }

    /// How long faults go on before all must be well.
    static let round = Duration.seconds(25)

    let steps: [ChaosStep]

    init(_ request: Request) {
        var random = SeededGenerator(seed: request.seed)
        var steps: [ChaosStep] = []
        var (total, round) = (Duration.zero, Duration.zero)
        while total < .seconds(request.seconds) {
            var step = Self.step(nodes: request.nodes, &random)
            let length = step.rest + step.hold + .milliseconds(700)
            total += length
            round += length
            if round >= Self.round || total >= .seconds(request.seconds) {
                step.isCheckpoint = true
                round = .zero
            }
            steps.append(step)
        }
        self.steps = steps
    }

    private static func step(nodes: Int, _ random: inout SeededGenerator) -> ChaosStep {
        var faults = [fault(nodes: nodes, &random)]
        if Int.random(in: 0..<4, using: &random) == 0 {
            let second = fault(nodes: nodes, &random)
            let fits = !(second.isNetwork && faults[0].isNetwork) && second != .blackout && faults[0] != .blackout
            if fits { faults.append(second) }
        }
        // Short ones find other races than long ones.
        let isShort = Bool.random(using: &random)
        return ChaosStep(
            rest: .milliseconds(Int.random(in: 100...1800, using: &random)),
            faults: faults,
            hold: .milliseconds(
                isShort ? Int.random(in: 50...900, using: &random) : Int.random(in: 900...5000, using: &random)
            )
        )
    }

    private static func fault(nodes: Int, _ random: inout SeededGenerator) -> ChaosFault {
        let others = Int.random(in: 0..<nodes - 1, using: &random)
        let target = Int.random(in: 0..<5, using: &random) < 2 ? ChaosTarget.leader : .follower(others)
        let other: ChaosTarget =
            target == .leader ? .follower(others) : Bool.random(using: &random) ? .leader : .follower(others + 1)
        let daemons: [ClusterDaemon] =
            switch Int.random(in: 0..<6, using: &random) {
            case 0: [.agent]
            case 1: [.server, .agent]
            default: [.server]
            }
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<24: return .kill(daemons, target)
        case 24..<42: return .halt(daemons, target)
        case 42..<50: return .restart(target)
        case 50..<52: return .blackout
        case 52..<64: return .split([target])
        case 64..<70 where nodes > 3: return .split([target, other])
        case 64..<76: return .cut(target, other)
        case 76..<81: return .deafen(target, Bool.random(using: &random) ? other : nil)
        case 81..<88: return .deafenServer(target, Bool.random(using: &random) ? other : nil)
        default: return .pin(target, [.spare, .spare, .standby, .voter][Int.random(in: 0..<4, using: &random)])
        }
    }
}
