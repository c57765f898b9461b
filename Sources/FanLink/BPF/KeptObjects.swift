internal import CBPF
internal import FanCore
internal import FanSystem
internal import Glibc

/// Our programs and counters on this host's devices, held open by an agent.
///
/// Opening one by its number needs CAP_SYS_ADMIN, which an agent gives up once it has started. So it opens what is there
/// before, and keeps what it attaches itself. Other processes keep nothing.
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
    }

    /// By device; nil in processes that keep nothing.
    private static let kept = Lock<[Int: [Object]]?>(nil)

    /// Begins to keep, in a process that is going to give its privileges up.
    static func begin() {
        kept.withLock { $0 = $0 ?? [:] }
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
            for ifindex in kept?.keys.filter({ !isThere($0) }) ?? [] { kept?[ifindex] = nil }
        }
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
    /// Requires: CAP_SYS_ADMIN and CAP_BPF; without them what is attached already is not counted until it is replaced.
    /// Idempotent: yes. Undo: none, it ends with the process.
    ///
    /// - Parameter networks: the networks' names.
    /// - Throws: ``BPFError``.
    public func keepClassifiers(of networks: [String]) throws {
        KeptObjects.begin()
        for network in networks {
            let index = linkIndex(of: NetworkSpec.vxlanName(of: network))
            if index > 0 { try KeptObjects.keep(on: Int(index)) }
        }
    }
}
