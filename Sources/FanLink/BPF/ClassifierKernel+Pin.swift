internal import CBPF
internal import FanCore
internal import FanSystem
internal import Glibc

extension ClassifierKernel {
    /// Gives our classifiers on a device names in a BPF file system, for programs such as `tc` that attach by name.
    ///
    /// Requires: CAP_SYS_ADMIN. Idempotent: no. Undo: remove the file.
    ///
    /// - Parameters:
    ///   - direction: the side of the device.
    ///   - ifindex: the device's interface index.
    ///   - path: a file that is not there yet.
    /// - Throws: ``BPFError``, also when there is no classifier of ours.
    public static func pin(_ direction: ClassifierDirection, of ifindex: Int, to path: String) throws(BPFError) {
        guard let program = try attached(on: ifindex).ours(direction).first else {
            throw .failed("pin", "\(direction) classifier of link \(ifindex)", -ENOENT)
        }
        let opened = try BPFProgram(id: program.id)
        let result = unsafe bpf_obj_pin(opened.descriptor.number, path)
        _ = consume opened
        guard result == 0 else { throw .failed("pin", "\(direction) classifier to '\(path)'", result) }
    }
}
