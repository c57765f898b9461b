internal import CBPF
internal import CLinuxNetlink
internal import FanSystem

extension Clsact {
    /// The filters on one side of a device, in the order in which they run; none where there is no clsact.
    ///
    /// libbpf lists no filters, hence by netlink itself.
    ///
    /// Requires: no privilege.
    static func query(
        _ ifindex: Int,
        _ direction: ClassifierDirection
    ) throws(BPFError) -> [AttachedClassifiers.Program] {
        let object = "filters of link \(ifindex)"
        var header = tcmsg()
        header.tcm_ifindex = Int32(ifindex)
        let side = UInt32(direction == .ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS)
        header.tcm_parent = UInt32(TC_H_CLSACT) & 0xffff_0000 | side
        let wanted = header
        do throws(NetlinkError) {
            var socket = try NetlinkSocket(NETLINK_ROUTE, "list", object)
            let write = { (request: inout NetlinkMessages) in request.add(RTM_GETTFILTER, flags: NLM_F_DUMP, wanted) }
            return try socket.list("list", object, [write]) { message in
                guard message.type == RTM_NEWTFILTER,
                    let (header, attributes) = message.parts() as (tcmsg, NetlinkAttributes)?,
                    // The kernel lists each priority once without a handle before its filters.
                    header.tcm_handle != 0
                else { return [] }
                return [program(header, attributes, direction)]
            }
        } catch {
            throw .failed("list", object, -error.code)
        }
    }

    private static func program(
        _ header: tcmsg,
        _ attributes: NetlinkAttributes,
        _ direction: ClassifierDirection
    ) -> AttachedClassifiers.Program {
        let kind = attributes[TCA_KIND]?.text ?? ""
        let options = attributes.nested(TCA_OPTIONS)
        // libbpf writes "name:[id]".
        let name = options[TCA_BPF_NAME].map { String($0.text.prefix { $0 != ":" }) }
        return AttachedClassifiers.Program(
            direction: direction,
            mechanism: .clsact,
            id: options[TCA_BPF_ID]?.load(UInt32.self) ?? 0,
            name: kind == "bpf" ? name ?? kind : kind,
            place: ClsactPlace(priority: header.tcm_info >> 16, handle: header.tcm_handle)
        )
    }
}
