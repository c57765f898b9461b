internal import CBPF
public import FanCore
internal import FanSystem
internal import Glibc

/// The classifiers on the devices of this thread's network namespace.
public enum ClassifierKernel {
    /// Lists the programs at a device's classifier hooks.
    ///
    /// Requires: CAP_NET_ADMIN, and CAP_SYS_ADMIN to name programs that are attached by TCX. Idempotent: yes.
    ///
    /// - Parameter ifindex: the device.
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
    ///   - ifindex: the device.
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
    }

    /// Detaches our classifiers from a device and leaves others' alone.
    ///
    /// Requires: as for attaching. Idempotent: yes. Undo: attach again.
    ///
    /// - Parameter ifindex: the device.
    /// - Throws: ``BPFError``.
    public static func detach(from ifindex: Int) throws(BPFError) {
        let found = try attached(on: ifindex)
        // Outgoing first: what comes in is checked until the end.
        for program in found.ours(.egress) + found.ours(.ingress) {
            try detach(program, from: ifindex)
        }
    }

    /// Reads the counts of our classifiers on a device.
    ///
    /// Requires: CAP_SYS_ADMIN. Idempotent: yes.
    ///
    /// - Parameter ifindex: the device.
    /// - Returns: the counts of both directions together, nil where none of ours is attached.
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
            guard error.code == ENOENT else { throw error }
            return nil
        }
    }
}

extension AttachedClassifiers {
    /// The counters of our programs, nil where there are none or of another shape.
    func openCounters() throws(BPFError) -> CounterMap? {
        guard let program = ours(.egress).first ?? ours(.ingress).first else { return nil }
        return try CounterMap.open(among: BPFProgram(id: program.id).info().mapIDs)
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
    /// What stands there now; held open, because the kernel forgets a program that is replaced.
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
        if let replaced {
            let program = try BPFProgram(id: replaced.id)
            self.old = program.descriptor.number
            self.held = consume program
        } else {
            self.old = nil
            self.held = nil
        }
        self.place = replaced?.place ?? .ours
        self.others = ours.filter { $0 != replaced }
    }

    borrowing func place(_ program: borrowing BPFProgram) throws(BPFError) {
        let new = program.descriptor.number
        switch mechanism {
        case .tcx: try TCX.attach(new, to: ifindex, direction, replacing: old)
        case .clsact: try Clsact.attach(new, to: ifindex, direction, at: place, replacing: old != nil)
        }
    }

    /// Restores what was there before `program` was placed.
    borrowing func takeBack(_ program: borrowing BPFProgram) throws(BPFError) {
        switch mechanism {
        case .tcx:
            guard let old else { return try TCX.detach(program, from: ifindex, direction) }
            try TCX.attach(old, to: ifindex, direction, replacing: program.descriptor.number)
        case .clsact:
            guard let old else { return try Clsact.detach(from: ifindex, direction, at: place) }
            try Clsact.attach(old, to: ifindex, direction, at: place, replacing: true)
        }
    }

    borrowing func removeOthers() throws(BPFError) {
        for program in others { try ClassifierKernel.detach(program, from: ifindex) }
    }
}
