public import FanCore

extension Finding {
    /// The warning with the remedy that a member of a cluster has, where the one of a single host would be wrong.
    public var inCluster: Finding {
        var warning = self
        switch code {
        case "overlay-out-of-shape":
            warning.remedy = "the agent mends it; where it cannot, its log says why: journalctl -u fanmesh-agent"
        case "mtu-too-large":
            warning.remedy = "raise the MTU of the underlay's link, or lower the overlay's with: fanmesh cluster edit"
        case "no-source-check":
            warning.remedy = "use a kernel that can load eBPF programs, then run: systemctl reload fanmesh-agent"
        case "route-overlap": warning.remedy = "remove the route"
        case "device-not-ours": warning.remedy = "remove the device that is in the way; the agent does the rest"
        default: break
        }
        return warning
    }
}
