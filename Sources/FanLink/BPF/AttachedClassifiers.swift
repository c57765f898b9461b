internal import FanCore

/// How a classifier is attached to a device.
public enum ClassifierMechanism: String, CaseIterable, Sendable {
    /// The multi-program hook of Linux 6.6 and later.
    case tcx
    /// A direct-action filter of a clsact queueing discipline, on every kernel.
    case clsact
}

/// The programs at the classifier hooks of one device, ours and others'.
public struct AttachedClassifiers: Equatable, Sendable {
    /// One program, or one filter of another kind.
    public struct Program: Equatable, Sendable {
        /// The side of the device.
        public var direction: ClassifierDirection
        /// How it is attached.
        public var mechanism: ClassifierMechanism
        /// Its number in the kernel, 0 for a filter that is no program.
        public var id: UInt32
        /// Its name; the kind of a filter that is no program.
        public var name: String
        /// Where a clsact filter stands.
        var place: ClsactPlace?

        /// What the name says of a program of ours.
        var ours: ClassifierName? { ClassifierName(name) }
    }

    /// All of them: ingress first, TCX first, each in the order in which they run.
    public var programs: [Program]

    /// Names of the programs and filters that are not ours.
    public var foreign: [String] { programs.filter { $0.ours == nil }.map(\.name) }

    /// The digest of our classifier on one side, nil when there is none.
    public func digest(_ direction: ClassifierDirection) -> String? {
        ours(direction).first?.ours?.digest
    }

    /// How our classifier on one side is attached, nil when there is none.
    public func mechanism(_ direction: ClassifierDirection) -> ClassifierMechanism? {
        ours(direction).first?.mechanism
    }

    /// Our programs on one side.
    func ours(_ direction: ClassifierDirection) -> [Program] {
        programs.filter { $0.ours?.direction == direction && $0.direction == direction }
    }

    /// Whether the outer source was pinned by the egress classifier that is attached; nil where none is.
    var outerSource: OuterSource? { ours(.egress).first?.ours?.outerSource }
}
