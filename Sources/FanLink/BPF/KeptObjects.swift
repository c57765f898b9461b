internal import CBPF
internal import FanCore
public import FanSystem
internal import Glibc

/// Our programs and counters on this host's devices, held open by an agent.
///
/// Opening one by its number needs CAP_SYS_ADMIN, which an agent gives up once it has started, or never had. So it opens
/// what is there before, and keeps what it attaches itself; a service manager keeps that for the next agent. Other
/// processes keep nothing.
enum KeptObjects {
    private final class Object: Sendable {
        let isMap: Bool
        let id: UInt32
        let descriptor: Descriptor

        init(isMap: Bool, id: UInt32, _ descriptor: consuming Descriptor) {
            self.isMap = isMap
            self.id = id
            self.descriptor = descriptor
        }

        /// What a service manager calls it.
        var name: String { "\(isMap ? "map" : "program")-\(id)" }
    }

    /// The place of what an earlier agent left, until it is known which devices it belongs to; no device has it.
    private static let nowhere = 0
    /// Who keeps it for the next agent, and what that one keeps.
    private static let keeper = Lock<(manager: ServiceManager, names: Set<String>)?>(nil)

    /// By device; nil in processes that keep nothing.
    private static let kept = Lock<[Int: [Object]]?>(nil)

    /// Begins to keep, in a process that is going to give its privileges up.
    ///
    /// - Parameters:
    ///   - inherited: what an earlier agent kept, by name and descriptor; what is none of this is closed.
    ///   - manager: keeps it for a later one.
    static func begin(_ inherited: [(name: String, number: Int32)], _ manager: ServiceManager) {
        var found: [Object] = []
        for (name, number) in inherited {
            let descriptor = Descriptor(adopting: number)
            let isMap = name.hasPrefix("map-")
            guard isMap || name.hasPrefix("program-"),
                let id = try? isMap ? BPFMapShape.info(of: number).id : BPFProgram.id(of: number)
            else { continue }
            found.append(Object(isMap: isMap, id: id, descriptor))
        }
        let objects = found
        kept.withLock { $0 = [nowhere: objects] }
        keeper.withLock { $0 = (manager, Set(inherited.map(\.name))) }
    }

    /// Lets go of what an earlier agent left and what belongs to no device any more.
    static func settle() {
        kept.withLock { $0?[nowhere] = nil }
        tidy()
    }

    /// Tells who keeps it for the next agent what has come and gone.
    private static func handOver() {
        let objects = kept.withLock { $0?.values.flatMap(\.self) ?? [] }
        keeper.withLock { keeper in
            guard let (manager, names) = keeper else { return }
            let now = Set(objects.map(\.name))
            for object in objects where !names.contains(object.name) {
                manager.keep(object.descriptor.number, name: object.name)
            }
            for name in names.subtracting(now) { manager.forget(name: name) }
            keeper = (manager, now)
        }
    }

    /// Keeps our programs on a device, and what they count in, in place of what was kept for that device.
    ///
    /// What cannot be opened is left out: nothing but counting and taking back a failed change needs it.
    static func keep(on ifindex: Int) throws(BPFError) {
        guard kept.withLock({ $0 != nil }) else { return }
        var found: [Object] = []
        for program in try ClassifierKernel.attached(on: ifindex).programs where program.ours != nil {
            do throws(BPFError) {
                let opened = try BPFProgram(id: program.id)
                for map in try opened.info().mapIDs {
                    found.append(Object(isMap: true, id: map, try BPFMapShape.open(id: map)))
                }
                found.append(Object(isMap: false, id: program.id, opened.intoDescriptor()))
            } catch { continue }
        }
        put(found, on: ifindex)
    }

    /// Keeps programs that are about to be attached; ``keep(on:)`` sorts out afterwards which of them stay.
    static func hold(_ classifiers: borrowing LoadedClassifiers, for ifindex: Int) throws(BPFError) {
        guard kept.withLock({ $0 != nil }) else { return }
        var held: [Object] = []
        for (isMap, number) in [
            (false, classifiers.ingress.descriptor.number), (false, classifiers.egress.descriptor.number),
            (true, classifiers.counters.descriptor.number), (true, classifiers.far.descriptor.number),
        ] {
            let id = try isMap ? BPFMapShape.info(of: number).id : BPFProgram.id(of: number)
            held.append(Object(isMap: isMap, id: id, try copy(number)))
        }
        let added = held
        kept.withLock { $0?[ifindex, default: []] += added }
    }

    /// Opens once more what is kept; nil when it is not.
    static func open(isMap: Bool, id: UInt32) throws(BPFError) -> Descriptor? {
        let found = kept.withLock { kept in
            kept?.values.lazy.flatMap(\.self).first { $0.isMap == isMap && $0.id == id }
        }
        guard let found else { return nil }
        return try copy(found.descriptor.number)
    }

    /// Lets go of what belongs to devices that are gone: only what is kept here is left of it.
    static func tidy() {
        kept.withLock { kept in
            for ifindex in kept?.keys.filter({ $0 != nowhere && !isThere($0) }) ?? [] { kept?[ifindex] = nil }
        }
        handOver()
    }

    private static func put(_ objects: [Object], on ifindex: Int) {
        kept.withLock { $0?[ifindex] = objects.isEmpty ? nil : objects }
        tidy()
    }

    private static func isThere(_ ifindex: Int) -> Bool {
        var name = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
        return unsafe if_indextoname(UInt32(ifindex), &name) != nil
    }

    private static func copy(_ number: Int32) throws(BPFError) -> Descriptor {
        let copy = fcntl(number, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw .failed("keep", "descriptor", -errno) }
        return Descriptor(adopting: copy)
    }
}

extension LinuxKernel {
    /// Opens what a network's classifiers need to be looked at and replaced, and goes on doing so for all that this
    /// process attaches: what is done with them later needs no CAP_SYS_ADMIN.
    ///
    /// Requires: CAP_BPF, and CAP_SYS_ADMIN for what is not inherited; without it what is attached already is not counted
    /// until it is replaced. Idempotent: no, `inherited` is taken over. Undo: none, it ends with the process.
    ///
    /// - Parameters:
    ///   - networks: the networks' names.
    ///   - inherited: what `manager` kept for this process, by name and descriptor.
    ///   - manager: keeps it for the next one.
    /// - Throws: ``BPFError``.
    public func keepClassifiers(
        of networks: [String],
        inherited: [(name: String, number: Int32)],
        manager: ServiceManager
    ) throws {
        KeptObjects.begin(inherited, manager)
        for network in networks {
            let index = linkIndex(of: NetworkSpec.vxlanName(of: network))
            if index > 0 { try KeptObjects.keep(on: Int(index)) }
        }
        KeptObjects.settle()
    }
}
