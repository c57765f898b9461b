internal import CBPF
internal import FanSystem
internal import Glibc

/// Where a filter stands among those of its hook.
struct ClsactPlace: Equatable, Sendable {
    var priority: UInt32
    var handle: UInt32

    /// Where we put ours: before all others, under a handle that nobody is given by default.
    static let ours = ClsactPlace(priority: 1, handle: 0xfa0)
}

/// Direct-action filters of the clsact queueing discipline.
enum Clsact {
    /// Attaches the program with this descriptor, or puts it in the place of the one that stands there.
    static func attach(
        _ program: Int32,
        to ifindex: Int,
        _ direction: ClassifierDirection,
        at place: ClsactPlace = .ours,
        replacing: Bool = false
    ) throws(BPFError) {
        var hook = hook(ifindex, direction)
        let created = unsafe bpf_tc_hook_create(&hook)
        guard created == 0 || created == -EEXIST else {
            throw .failed("add", "queueing discipline clsact to link \(ifindex)", created)
        }
        var options = options(place)
        options.prog_fd = program
        options.flags = replacing ? BPF_TC_F_REPLACE.rawValue : 0
        let result = unsafe bpf_tc_attach(&hook, &options)
        guard result == 0 else { throw .failed("attach", "\(direction) classifier to link \(ifindex)", result) }
    }

    /// Detaches what stands at a place; nothing there is fine.
    ///
    /// The queueing discipline stays: it may be another's.
    static func detach(
        from ifindex: Int,
        _ direction: ClassifierDirection,
        at place: ClsactPlace
    ) throws(BPFError) {
        var hook = hook(ifindex, direction)
        var options = options(place)
        let result = unsafe bpf_tc_detach(&hook, &options)
        guard result == 0 || result == -ENOENT else {
            throw .failed("detach", "\(direction) classifier from link \(ifindex)", result)
        }
    }

    private static func hook(_ ifindex: Int, _ direction: ClassifierDirection) -> bpf_tc_hook {
        var hook = bpf_tc_hook()
        hook.sz = Int(FAN_TC_HOOK_SIZE)
        hook.ifindex = Int32(ifindex)
        hook.attach_point = direction == .ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS
        return hook
    }

    private static func options(_ place: ClsactPlace) -> bpf_tc_opts {
        var options = bpf_tc_opts()
        options.sz = Int(FAN_TC_OPTS_SIZE)
        options.handle = place.handle
        options.priority = place.priority
        return options
    }
}
