internal import CLinux
internal import FanSystem
internal import Glibc

extension Descriptor {
    /// Adopts the result of a shim: a descriptor, or a negative errno.
    init(_ result: Int32, _ operation: String, _ object: String) throws(LabError) {
        guard result >= 0 else { throw .system(operation: operation, object: object, code: -result) }
        self.init(adopting: result)
    }

    /// Watches a process that was just started; one that cannot be watched is killed, with its group.
    static func watching(_ process: Int32) throws(LabError) -> Descriptor {
        do throws(LabError) {
            return try Descriptor(fan_process_descriptor(process), "watch", "process \(process)")
        } catch {
            var status: Int32 = 0
            _ = fan_signal_group(process, SIGKILL)
            _ = unsafe fan_reap_blocking(process, &status)
            throw error
        }
    }
}

/// Runs a file operation, turning its error into one of ours.
func file<R>(_ body: () throws(FileError) -> R) throws(LabError) -> R {
    do throws(FileError) {
        return try body()
    } catch {
        throw .system(operation: error.operation, object: error.path, code: error.code)
    }
}

/// Throws where a shim returned a negative errno that is not among those to be ignored.
func require(
    _ result: Int32,
    _ operation: String,
    _ object: String,
    ignoring ignored: [Int32] = []
) throws(LabError) {
    guard result >= 0 || ignored.contains(-result) else {
        throw .system(operation: operation, object: object, code: -result)
    }
}
