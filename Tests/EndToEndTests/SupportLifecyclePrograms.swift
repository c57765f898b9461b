import CBPF
import FanCore
import FanLab
import Glibc

/// The eBPF programs that the kernel holds, in all network namespaces.
enum LifecyclePrograms {
    struct Program {
        var id: UInt32
        var name: String
        var maps: [UInt32]
    }

    /// The programs whose name holds the identity of a host's classifiers.
    static func named(of host: LifecycleHost) throws -> [Program] {
        let mapping = host.node.plan.mapping
        let spec = ClassifierSpec(mapping: mapping, host: host.node.address, vni: mapping.defaultVNI)
        return all().filter { $0.name.hasSuffix(spec.digest) }
    }

    static func all() -> [Program] {
        var found: [Program] = []
        var id: UInt32 = 0
        while unsafe bpf_prog_get_next_id(id, &id) == 0 {
            let descriptor = bpf_prog_get_fd_by_id(id)
            // It may have gone since.
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            var info = bpf_prog_info()
            var maps = [UInt32](repeating: 0, count: 8)
            let result = unsafe maps.withUnsafeMutableBufferPointer { buffer in
                info.nr_map_ids = UInt32(buffer.count)
                info.map_ids = UInt64(UInt(bitPattern: buffer.baseAddress))
                var length = UInt32(MemoryLayout<bpf_prog_info>.size)
                return unsafe bpf_obj_get_info_by_fd(descriptor, &info, &length)
            }
            guard result == 0 else { continue }
            let name = unsafe withUnsafeBytes(of: info.name) {
                unsafe String(decoding: unsafe $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            found.append(Program(id: id, name: name, maps: Array(maps.prefix(Int(info.nr_map_ids)))))
        }
        return found
    }

    static func mapExists(_ id: UInt32) -> Bool {
        let descriptor = bpf_map_get_fd_by_id(id)
        guard descriptor >= 0 else { return false }
        close(descriptor)
        return true
    }
}
