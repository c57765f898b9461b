import CLinux
import Glibc
import Synchronization

/// A command or a thread of a test that failed.
struct TestFailure: Error, CustomStringConvertible {
    var description: String
}

/// Runs a shell script that stops at the first failing command.
func shell(_ script: String) throws {
    var strings: [UnsafeMutablePointer<CChar>?] = unsafe []
    for string in ["/bin/sh", "-ec", script, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"] {
        unsafe strings.append(strdup(string))
    }
    defer { for index in unsafe strings.indices { unsafe free(strings[index]) } }
    var arguments = unsafe [strings[0], strings[1], strings[2], nil]
    var environment = unsafe [strings[3], nil]
    var process: pid_t = 0
    let result = unsafe posix_spawn(&process, "/bin/sh", nil, nil, &arguments, &environment)
    guard result == 0 else { throw TestFailure(description: "cannot run a shell: \(result)") }
    var status: Int32 = -1
    // A signal may interrupt the waiting.
    for _ in 0..<10 where unsafe waitpid(process, &status, 0) == process { break }
    guard status == 0 else { throw TestFailure(description: "status \(status) of: \(script)") }
}

/// What a namespace thread does, and what came of it.
private final class NamespaceWork: Sendable {
    let name: String
    let body: @Sendable () throws -> Void
    let failure = Mutex<(any Error)?>(nil)

    init(_ name: String, _ body: @escaping @Sendable () throws -> Void) {
        self.name = name
        self.body = body
    }

    func run() {
        do {
            let namespace = unsafe fan_open("/run/netns/\(name)", O_RDONLY, 0)
            guard namespace >= 0 else { throw TestFailure(description: "no namespace \(name)") }
            defer { close(namespace) }
            guard fan_setns_network(namespace) == 0 else {
                throw TestFailure(description: "cannot enter namespace \(name)")
            }
            try body()
        } catch {
            failure.withLock { $0 = error }
        }
    }
}

/// Holds what a namespace thread returned.
private final class Returned<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
}

/// Runs a closure on a thread of its own inside a network namespace, and joins it.
func inNamespace<Value: Sendable>(_ name: String, _ body: @escaping @Sendable () throws -> Value) throws -> Value {
    let returned = Returned<Value>()
    let work = NamespaceWork(name) {
        let value = try body()
        returned.value.withLock { $0 = value }
    }
    var thread = pthread_t()
    let created = unsafe pthread_create(
        &thread,
        nil,
        { argument in
            guard let argument = unsafe argument else { return nil }
            unsafe Unmanaged<NamespaceWork>.fromOpaque(argument).takeRetainedValue().run()
            return nil
        },
        Unmanaged.passRetained(work).toOpaque()
    )
    guard created == 0 else { throw TestFailure(description: "cannot start a thread: \(created)") }
    pthread_join(thread, nil)
    if let error = work.failure.withLock({ $0 }) { throw error }
    guard let value = returned.value.withLock({ $0 }) else { throw TestFailure(description: "the thread died") }
    return value
}

/// Namespaces `0..<hosts` on one bridge that netfilter leaves alone; host n has 10.77.0.(n+1)/24 and 240.0.0.(n+1)/8 on `eth0`.
final class TestNetwork: Sendable {
    private static let counter = Atomic<Int>(0)
    /// Removes, once per run, what killed runs left behind: namespaces named after a process that is gone.
    private static let sweep: Void? = try? shell(
        """
        for name in $(ip netns list | grep -o '^fanprobe-[0-9]*-[^ ]*'); do
            owner=${name#fanprobe-}
            [ -d /proc/${owner%%-*} ] || ip netns delete $name
        done
        """
    )
    private let prefix: String
    private let hosts: Int

    init(hosts: Int) throws {
        _ = Self.sweep
        let number = Self.counter.add(1, ordering: .relaxed).newValue
        prefix = "fanprobe-\(getpid())-\(number)"
        self.hosts = hosts
        var script = """
            ip netns add \(prefix)-sw
            ip -n \(prefix)-sw link add br0 type bridge forward_delay 0 mcast_snooping 0
            ip -n \(prefix)-sw link set br0 up
            nf=net.bridge.bridge-nf-call-iptables
            [ ! -e /proc/sys/net/bridge ] || ip netns exec \(prefix)-sw sysctl -qw $nf=0

            """
        for host in 0..<hosts {
            let name = "\(prefix)-\(host)"
            script += """
                ip netns add \(name)
                ip -n \(name) link set lo up
                ip -n \(name) link add eth0 type veth peer name p\(host) netns \(prefix)-sw
                ip -n \(prefix)-sw link set p\(host) master br0 up
                ip -n \(name) address add 10.77.0.\(host + 1)/24 dev eth0
                ip -n \(name) address add 240.0.0.\(host + 1)/8 dev eth0
                ip -n \(name) link set eth0 up

                """
        }
        try shell(script)
    }

    deinit {
        let names = (0..<hosts).map { "\(prefix)-\($0)" } + ["\(prefix)-sw"]
        try? shell(names.map { "ip netns delete \($0) 2>/dev/null || true" }.joined(separator: "\n"))
    }

    /// The namespace of a host.
    func host(_ number: Int) -> String { "\(prefix)-\(number)" }
    /// The namespace of the bridge.
    var bridge: String { "\(prefix)-sw" }
}
