internal import CLinux
internal import FanSystem
internal import Glibc

/// The daemons of a lab, found by their mark: so those of a crashed lab are found too.
enum LabDaemons {
    private static let limit = Duration.seconds(10)
    private static let attempts = 8
    /// How long a process may have no variables before it is taken for one that was started without any.
    private static let startLimit = Duration.seconds(1)

    /// Kills every process that carries the lab's mark and is in one of its namespaces, and waits until all are gone.
    ///
    /// Idempotent: yes.
    ///
    /// - Parameters:
    ///   - lab: the lab's name.
    ///   - namespaces: the lab's namespaces.
    /// - Throws: ``LabError`` when one does not go.
    static func kill(lab: String, in namespaces: [NetworkNamespace]) throws(LabError) {
        let places = Set(namespaces.compactMap { FileIdentity($0.path) })
        // A daemon may have started another process while it was being looked for.
        for _ in 0..<attempts {
            let found = running(lab: lab, in: places)
            if found.isEmpty { return }
            for (id, descriptor) in found {
                let result = fan_signal_process(descriptor.number, SIGKILL)
                try require(result, "kill", "process \(id) of lab '\(lab)'", ignoring: [ESRCH])
            }
            guard ProcessEnd.wait(found.map(\.descriptor.number), atMost: limit) else {
                throw .system(operation: "kill", object: "processes of lab '\(lab)'", code: ETIMEDOUT)
            }
            // Those that this process started are its children, and nobody else's to reap.
            for (_, descriptor) in found { _ = ProcessEnd.reap(descriptor.number) }
        }
        throw .system(operation: "kill", object: "processes of lab '\(lab)'", code: EAGAIN)
    }

    /// The ids of a lab's daemons and of what they started.
    static func processes(lab: String, in namespaces: [NetworkNamespace]) -> [Int32] {
        running(lab: lab, in: Set(namespaces.compactMap { FileIdentity($0.path) })).map(\.id)
    }

    private static func running(
        lab: String,
        in places: Set<FileIdentity>
    ) -> [(id: Int32, descriptor: SharedDescriptor)] {
        let mark = Array("\(LabDaemon.mark)=\(lab)/".utf8)
        return ((try? File.names(in: "/proc")) ?? []).compactMap(Int32.init).compactMap { id in
            let opened = fan_process_descriptor(id)
            guard opened >= 0 else { return nil }
            // What is read below is about the process that the descriptor stands for, or about none.
            let descriptor = SharedDescriptor(Descriptor(adopting: opened))
            guard
                let place = FileIdentity("/proc/\(id)/ns/net"), places.contains(place),
                let text = variables(id),
                text.utf8.split(separator: 0).contains(where: { $0.starts(with: mark) }),
                fan_signal_process(descriptor.number, 0) == 0
            else { return nil }
            return (id, descriptor)
        }
    }

    /// The variables of a process.
    ///
    /// One that was just started has none until its program is loaded.
    private static func variables(_ id: Int32) -> String? {
        let end = ContinuousClock.now + startLimit
        while let text = (try? File.read("/proc/\(id)/environ")) ?? nil {
            if !text.isEmpty || ContinuousClock.now >= end { return text }
            usleep(1000)
        }
        return nil
    }
}

/// A descriptor that several hold.
private final class SharedDescriptor {
    private let descriptor: Descriptor
    var number: Int32 { descriptor.number }

    init(_ descriptor: consuming Descriptor) {
        self.descriptor = descriptor
    }
}

/// What makes a file, or a namespace, the same as another.
struct FileIdentity: Hashable {
    let device: UInt64
    let inode: UInt64

    /// Nil when the file cannot be looked at.
    init?(_ path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
    }
}
