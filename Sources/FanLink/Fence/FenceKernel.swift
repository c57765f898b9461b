internal import CLinuxNetlink
internal import CMnl
public import FanCore
internal import Glibc

/// The fences in this thread's network namespace: tables of nf_tables with a name of ours.
public enum FenceKernel {
    /// What stands under a network's name, and what it counted.
    public struct Found: Equatable, Sendable {
        /// The rules, nil where there are none.
        public var observation: FenceObservation?
        /// How many packets they dropped.
        public var dropped: UInt64
    }

    /// Reads the fence of a network.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes.
    ///
    /// - Parameter network: the network's name.
    /// - Returns: its rules and counts.
    /// - Throws: ``NetlinkError``.
    public static func find(_ network: String) throws(NetlinkError) -> Found {
        let socket = try FilterSocket("list rules of", Fence.tableName(of: network))
        // A dump that a change came between is incomplete; a quiet moment comes soon.
        for _ in 0..<10 {
            var reader = RuleReader()
            var isWhole = true
            // The kernel ends a dump with the first table of the name.
            for family in Self.families where isWhole {
                isWhole = try socket.dump(table: Fence.tableName(of: network), family.number) { reader.take($0) }
            }
            if isWhole { return reader.found }
        }
        throw NetlinkError(operation: "list rules of", object: Fence.tableName(of: network), code: EINTR)
    }

    private static let families = [FilterTable.Family.bridge, .device, .ipv4]

    /// Puts up a fence, in the place of an older one: at no moment there is none, or half of one.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: ``remove(_:)``.
    ///
    /// - Parameter fence: what to put up.
    /// - Throws: ``NetlinkError``.
    public static func put(_ fence: Fence) throws(NetlinkError) {
        let name = Fence.tableName(of: fence.network)
        let comment = "fanmesh \(fence.identity)"
        try FilterSocket("add rules of", name).commit { batch in
            for table in fence.tables {
                let family = table.family.number
                Self.delete(name, family, &batch)
                batch.message(nf(NFT_MSG_NEWTABLE), family: family, flags: NLM_F_CREATE) {
                    $0.put(Int(NFTA_TABLE_NAME.rawValue), name)
                }
                for chain in table.chains {
                    batch.add(chain, table: name, family: family)
                    for rule in chain.rules {
                        batch.add(rule, chain: chain.name, table: name, family: family, comment: comment)
                    }
                }
            }
        }
    }

    /// Takes a fence down.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: ``put(_:)``.
    ///
    /// - Parameter network: the network's name.
    /// - Throws: ``NetlinkError``.
    public static func remove(_ network: String) throws(NetlinkError) {
        let name = Fence.tableName(of: network)
        try FilterSocket("delete rules of", name).commit { batch in
            for family in families { Self.delete(name, family.number, &batch) }
        }
    }

    /// Deletes a table, whether it is there or not.
    private static func delete(_ name: String, _ family: Int32, _ batch: inout FilterBatch) {
        // Only what exists can be deleted; making what exists already changes nothing.
        for (type, flags) in [(NFT_MSG_NEWTABLE, NLM_F_CREATE), (NFT_MSG_DELTABLE, 0)] {
            batch.message(nf(type), family: family, flags: flags) { $0.put(Int(NFTA_TABLE_NAME.rawValue), name) }
        }
    }
}

/// Sums up the rules of a dump.
private struct RuleReader {
    private(set) var identities: Set<String> = []
    private var rules = 0
    private var dropped: UInt64 = 0

    var found: FenceKernel.Found {
        let identity = identities.count == 1 ? identities.first ?? "" : ""
        return FenceKernel.Found(
            observation: rules == 0 ? nil : FenceObservation(identity: identity, rules: rules),
            dropped: dropped
        )
    }

    mutating func take(_ attributes: ArraySlice<UInt8>) {
        rules += 1
        var identity = ""
        FilterAttribute.visit(attributes) { type, value in
            switch type {
            case Int(NFTA_RULE_USERDATA.rawValue):
                let comment = FilterComment.decode(value) ?? ""
                identity = comment.hasPrefix("fanmesh ") ? String(comment.dropFirst(8)) : ""
            case Int(NFTA_RULE_EXPRESSIONS.rawValue):
                FilterAttribute.visit(value) { _, expression in dropped &+= Self.packets(of: expression) }
            default: break
            }
        }
        identities.insert(identity)
    }

    /// What a counter counted; 0 for any other expression.
    private static func packets(of expression: ArraySlice<UInt8>) -> UInt64 {
        var isCounter = false
        var packets: UInt64 = 0
        FilterAttribute.visit(expression) { type, value in
            if type == Int(NFTA_EXPR_NAME.rawValue) { isCounter = value.starts(with: Array("counter".utf8)) }
            guard type == Int(NFTA_EXPR_DATA.rawValue), isCounter else { return }
            FilterAttribute.visit(value) { type, number in
                guard type == Int(NFTA_COUNTER_PACKETS.rawValue), number.count == 8 else { return }
                packets = number.reduce(0) { $0 << 8 | UInt64($1) }
            }
        }
        return packets
    }
}

/// Attributes as netlink has them.
enum FilterAttribute {
    /// Visits each attribute; what is cut short ends the visit.
    static func visit(_ bytes: ArraySlice<UInt8>, _ body: (Int, ArraySlice<UInt8>) -> Void) {
        var rest = bytes
        while let length = rest.hostNumber(0, 2), let type = rest.hostNumber(2, 2) {
            guard length >= 4, length <= rest.count else { return }
            let start = rest.startIndex
            body(type & typeMask, rest[start + 4..<start + length])
            rest = rest.dropFirst((length + 3) & ~3)
        }
    }

    /// The kernel's NLA_TYPE_MASK, whose macro Swift cannot read.
    private static let typeMask = 0x3fff
}

extension ArraySlice<UInt8> {
    /// A number of some bytes in host byte order; nil past the end.
    func hostNumber(_ offset: Int, _ size: Int) -> Int? {
        guard offset + size <= count else { return nil }
        let bytes = self[startIndex + offset..<startIndex + offset + size]
        #if _endian(little)
            return bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
        #else
            return bytes.reduce(0) { $0 << 8 | Int($1) }
        #endif
    }
}

/// One exchange with nf_tables.
@safe private struct FilterSocket: ~Copyable {
    private let pointer: OpaquePointer
    private let operation: String
    private let object: String
    private static let headerBytes = 16
    private static let familyBytes = 4

    init(_ operation: String, _ object: String) throws(NetlinkError) {
        guard let opened = unsafe mnl_socket_open2(NETLINK_NETFILTER, Int32(FAN_EVENT_SOCKET_FLAGS)) else {
            throw NetlinkError(operation: operation, object: object, code: errno)
        }
        guard unsafe mnl_socket_bind(opened, 0, Int32(MNL_SOCKET_AUTOPID)) == 0 else {
            let code = errno
            unsafe mnl_socket_close(opened)
            throw NetlinkError(operation: operation, object: object, code: code)
        }
        unsafe pointer = opened
        self.operation = operation
        self.object = object
    }

    deinit { unsafe _ = mnl_socket_close(pointer) }

    /// Does all of a batch, or nothing.
    borrowing func commit(_ body: (inout FilterBatch) -> Void) throws(NetlinkError) {
        var batch = FilterBatch(sequence: 0)
        let subsystem = UInt16(NFNL_SUBSYS_NFTABLES)
        let begin = Int(NLMSG_MIN_TYPE)
        batch.message(begin, family: AF_UNSPEC, flags: 0, resource: subsystem) { _ in }
        body(&batch)
        // Its answer comes behind those of all messages that failed.
        batch.askForAnswer()
        let last = batch.sequence
        batch.message(begin + 1, family: AF_UNSPEC, flags: 0, resource: subsystem) { _ in }
        try send(batch.bytes)
        var isDone = false
        while !isDone {
            for message in try receive() {
                if message.type == Int(NLMSG_ERROR) {
                    let code = Int32(truncatingIfNeeded: message.payload.hostNumber(0, 4) ?? 0)
                    guard code == 0 else { throw NetlinkError(operation: operation, object: object, code: -code) }
                    if message.sequence == Int(last) { isDone = true }
                }
            }
        }
    }

    /// Visits the attributes of each rule of a table; false when a change came between.
    borrowing func dump(
        table: String,
        _ family: Int32,
        _ body: (ArraySlice<UInt8>) -> Void
    ) throws(NetlinkError) -> Bool {
        var request = FilterBatch(sequence: 0)
        request.message(nf(NFT_MSG_GETRULE), family: family, flags: NLM_F_DUMP) {
            $0.put(Int(NFTA_RULE_TABLE.rawValue), table)
        }
        try send(request.bytes)
        var isWhole = true
        while true {
            for message in try receive() {
                if message.flags & Int(NLM_F_DUMP_INTR) != 0 { isWhole = false }
                switch message.type {
                case Int(NLMSG_DONE): return isWhole
                case Int(NLMSG_ERROR):
                    let code = Int32(truncatingIfNeeded: message.payload.hostNumber(0, 4) ?? 0)
                    throw NetlinkError(operation: operation, object: object, code: -code)
                case nf(NFT_MSG_NEWRULE): body(message.payload.dropFirst(Self.familyBytes))
                default: break
                }
            }
        }
    }

    private struct Answer {
        var type: Int
        var flags: Int
        var sequence: Int
        var payload: ArraySlice<UInt8>
    }

    private borrowing func send(_ bytes: [UInt8]) throws(NetlinkError) {
        let sent = unsafe bytes.withUnsafeBytes { unsafe mnl_socket_sendto(pointer, $0.baseAddress, $0.count) }
        guard sent == bytes.count else { throw NetlinkError(operation: operation, object: object, code: errno) }
    }

    private borrowing func receive() throws(NetlinkError) -> [Answer] {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = unsafe buffer.withUnsafeMutableBytes {
            unsafe mnl_socket_recvfrom(pointer, $0.baseAddress, $0.count)
        }
        guard count >= 0 else { throw NetlinkError(operation: operation, object: object, code: errno) }
        var answers: [Answer] = []
        var rest = buffer[..<count]
        while let length = rest.hostNumber(0, 4), length >= Self.headerBytes, length <= rest.count {
            answers.append(
                Answer(
                    type: rest.hostNumber(4, 2) ?? 0,
                    flags: rest.hostNumber(6, 2) ?? 0,
                    sequence: rest.hostNumber(8, 4) ?? 0,
                    payload: rest[rest.startIndex + Self.headerBytes..<rest.startIndex + length]
                )
            )
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return answers
    }
}
