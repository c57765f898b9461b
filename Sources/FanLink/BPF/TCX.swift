internal import CBPF
internal import FanSystem
internal import Glibc

/// The multi-program hooks of Linux 6.6 and later.
///
/// A program that is attached stays, without any descriptor kept open.
enum TCX {
    /// More programs than one hook can hold (BPF_MPROG_MAX of the kernel's include/linux/bpf_mprog.h is 64).
    private static let capacity = 64

    /// The numbers of the programs on one side of a device in the order they run; nil on a kernel without TCX.
    ///
    /// Requires: CAP_NET_ADMIN.
    static func query(_ ifindex: Int, _ direction: ClassifierDirection) throws(BPFError) -> [UInt32]? {
        var ids: [UInt32] = Array(repeating: 0, count: capacity)
        var count = UInt32(capacity)
        let result = unsafe bpf_prog_query(Int32(ifindex), direction.tcxType, 0, nil, &ids, &count)
        if result == -EINVAL { return nil }
        guard result == 0 else { throw .failed("query", "classifiers of link \(ifindex)", result) }
        return Array(ids.prefix(Int(count)))
    }

    /// Attaches a program before all others, or in the place of another; both are given by their descriptors.
    static func attach(
        _ program: Int32,
        to ifindex: Int,
        _ direction: ClassifierDirection,
        replacing old: Int32? = nil
    ) throws(BPFError) {
        var options = bpf_prog_attach_opts()
        options.sz = MemoryLayout<bpf_prog_attach_opts>.size
        options.flags = UInt32(FAN_F_BEFORE)
        if let old {
            options.flags = UInt32(BPF_F_REPLACE)
            options.replace_prog_fd = old
        }
        let result = unsafe bpf_prog_attach_opts(
            program,
            Int32(ifindex),
            direction.tcxType,
            &options
        )
        guard result == 0 else { throw .failed("attach", "\(direction) classifier to link \(ifindex)", result) }
    }

    /// Detaches a program; one that is gone is fine.
    static func detach(
        _ program: borrowing BPFProgram,
        from ifindex: Int,
        _ direction: ClassifierDirection
    ) throws(BPFError) {
        let result = bpf_prog_detach2(program.descriptor.number, Int32(ifindex), direction.tcxType)
        guard result == 0 || result == -ENOENT else {
            throw .failed("detach", "\(direction) classifier from link \(ifindex)", result)
        }
    }
}

extension ClassifierDirection {
    fileprivate var tcxType: bpf_attach_type {
        switch self {
        case .ingress: bpf_attach_type(UInt32(FAN_TCX_INGRESS))
        case .egress: bpf_attach_type(UInt32(FAN_TCX_EGRESS))
        }
    }
}
