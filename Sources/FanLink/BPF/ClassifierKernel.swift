internal import CBPF
public import FanCore
internal import FanSystem
internal import Glibc

/// The classifiers on the devices of this thread's network namespace.
public enum ClassifierKernel {
    /// Lists the programs at a device's classifier hooks.
    ///
    /// Requires: CAP_NET_ADMIN, and CAP_SYS_ADMIN to name programs that are attached by TCX; without it such a one that
    /// is not kept counts as another's, named by its number. Idempotent: yes.
    ///
    /// - Parameter ifindex: the device's interface index.
    /// - Returns: ours and others'.
    /// - Throws: ``BPFError``.
    public static func attached(on ifindex: Int) throws(BPFError) -> AttachedClassifiers {
        var programs: [AttachedClassifiers.Program] = []
        for direction in ClassifierDirection.allCases {
            for id in try TCX.query(ifindex, direction) ?? [] {
                guard let name = try name(ofProgram: id) else { continue }
                programs.append(
                    AttachedClassifiers.Program(direction: direction, mechanism: .tcx, id: id, name: name)
                )
            }
            programs += try Clsact.query(ifindex, direction)
        }
        return AttachedClassifiers(programs: programs)
    }

    /// Attaches loaded classifiers, in the place of older ones of ours, so that the device is filtered all the time.
    ///
    /// The ingress side, which protects, comes first. Where the second fails the first is taken back.
    ///
    /// Requires: CAP_NET_ADMIN, and CAP_SYS_ADMIN to replace programs that are attached by TCX. Idempotent: yes.
    /// Undo: ``detach(from:)``.
    ///
    /// - Parameters:
    ///   - classifiers: what to attach; they live on by being attached.
    ///   - ifindex: the device's interface index.
    ///   - mechanism: how; nil for that of the ones in place, or else TCX where the kernel has it and clsact elsewhere.
    /// - Throws: ``BPFError``.
    public static func attach(
        _ classifiers: borrowing LoadedClassifiers,
        to ifindex: Int,
        by mechanism: ClassifierMechanism? = nil
    ) throws(BPFError) {
        let before = try attached(on: ifindex)
        let newest = try available(on: ifindex)
        let chosen = mechanism ?? before.mechanism(.ingress) ?? newest
        try KeptObjects.hold(classifiers, for: ifindex)
        let ingress = try Placement(ifindex, .ingress, chosen, replacing: before)
        let egress = try Placement(ifindex, .egress, chosen, replacing: before)
        try ingress.place(classifiers.ingress)
        do throws(BPFError) {
            try egress.place(classifiers.egress)
        } catch {
            try ingress.takeBack(classifiers.ingress)
            throw error
        }
        try egress.removeOthers()
        try ingress.removeOthers()
        try KeptObjects.keep(on: ifindex)
    }

    /// Detaches our classifiers from a device and leaves others' alone.
    ///
    /// Requires: as for attaching. Idempotent: yes. Undo: attach again.
    ///
    /// - Parameter ifindex: the device's interface index.
    /// - Throws: ``BPFError``.
    public static func detach(from ifindex: Int) throws(BPFError) {
        let found = try attached(on: ifindex)
        // Outgoing first: what comes in is checked until the end.
        for program in found.ours(.egress) + found.ours(.ingress) {
            try detach(program, from: ifindex)
        }
        try KeptObjects.keep(on: ifindex)
    }

    /// Reads the counts of our classifiers on a device.
    ///
    /// Requires: CAP_SYS_ADMIN for what this process does not keep. Idempotent: yes.
    ///
    /// - Parameter ifindex: the device's interface index.
    /// - Returns: the counts of both directions together, nil where none of ours is attached or can be opened.
    /// - Throws: ``BPFError``.
    public static func counters(on ifindex: Int) throws(BPFError) -> ForwardingCounters? {
        try attached(on: ifindex).openCounters()?.total()
    }

    static func detach(_ program: AttachedClassifiers.Program, from ifindex: Int) throws(BPFError) {
        switch program.mechanism {
        case .tcx: try TCX.detach(BPFProgram(id: program.id), from: ifindex, program.direction)
        case .clsact: try Clsact.detach(from: ifindex, program.direction, at: program.place ?? .ours)
        }
    }

    private static func available(on ifindex: Int) throws(BPFError) -> ClassifierMechanism {
        try TCX.query(ifindex, .ingress) == nil ? .clsact : .tcx
    }

    /// The name of a program, nil when it has just gone.
    private static func name(ofProgram id: UInt32) throws(BPFError) -> String? {
        do throws(BPFError) {
            return try BPFProgram(id: id).info().name
        } catch {
            switch error.code {
            case ENOENT: return nil
            case EPERM: return "program \(id)"
            default: throw error
            }
        }
    }
}

extension AttachedClassifiers {
    /// The counters of our programs, nil where there are none, or of another shape, or out of this process's reach.
    func openCounters() throws(BPFError) -> CounterMap? {
        guard let program = ours(.egress).first ?? ours(.ingress).first else { return nil }
        do throws(BPFError) {
            return try CounterMap(among: BPFProgram(id: program.id).info().mapIDs)
        } catch {
            guard error.code == EPERM else { throw error }
            return nil
        }
    }

    /// The numbers of our programs' maps.
    func mapIDs() throws(BPFError) -> [UInt32] {
        guard let program = ours(.egress).first ?? ours(.ingress).first else { return [] }
        return try BPFProgram(id: program.id).info().mapIDs
    }
}

/// The place of our classifier on one side of a device.
private struct Placement: ~Copyable {
    private let ifindex: Int
    private let direction: ClassifierDirection
    private let mechanism: ClassifierMechanism
    /// Whether something of ours stands there now.
    private let isReplacing: Bool
    /// What stands there now; nil where this process may not open it.
    ///
    /// It is held open, because the kernel forgets a program that is replaced, and could then not put it back.
    private let held: BPFProgram?
    private let old: Int32?
    private let place: ClsactPlace
    /// More of ours on this side: attached by the other mechanism, or twice.
    private let others: [AttachedClassifiers.Program]

    init(
        _ ifindex: Int,
        _ direction: ClassifierDirection,
        _ mechanism: ClassifierMechanism,
        replacing before: AttachedClassifiers
    ) throws(BPFError) {
        let ours = before.ours(direction)
        let replaced = ours.first { $0.mechanism == mechanism }
        self.ifindex = ifindex
        self.direction = direction
        self.mechanism = mechanism
        self.isReplacing = replaced != nil
        if let replaced, let program = try Self.open(replaced) {
            self.old = program.descriptor.number
            self.held = consume program
        } else {
            self.old = nil
            self.held = nil
        }
        self.place = replaced?.place ?? .ours
        self.others = ours.filter { $0 != replaced }
    }

    private static func open(_ program: AttachedClassifiers.Program) throws(BPFError) -> BPFProgram? {
        do throws(BPFError) {
            return try BPFProgram(id: program.id)
        } catch {
            // A filter is replaced by its place; at the other hook the kernel wants the program itself.
            guard error.code == EPERM, program.mechanism == .clsact else { throw error }
            return nil
        }
    }

    borrowing func place(_ program: borrowing BPFProgram) throws(BPFError) {
        let new = program.descriptor.number
        switch mechanism {
        case .tcx: try TCX.attach(new, to: ifindex, direction, replacing: old)
        case .clsact: try Clsact.attach(new, to: ifindex, direction, at: place, replacing: isReplacing)
        }
    }

    /// Restores what was there before `program` was placed.
    borrowing func takeBack(_ program: borrowing BPFProgram) throws(BPFError) {
        switch mechanism {
        case .tcx:
            guard let old else { return try TCX.detach(program, from: ifindex, direction) }
            try TCX.attach(old, to: ifindex, direction, replacing: program.descriptor.number)
        case .clsact:
            guard isReplacing else { return try Clsact.detach(from: ifindex, direction, at: place) }
            // The new one stays, which checks no less; the next look at the device sees that it is another's.
            guard let old else { return }
            try Clsact.attach(old, to: ifindex, direction, at: place, replacing: true)
        }
    }

    borrowing func removeOthers() throws(BPFError) {
        for program in others { try ClassifierKernel.detach(program, from: ifindex) }
    }
}
