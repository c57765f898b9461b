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
        case "device-not-ours":
            warning.remedy = "rename the device, or stop the program that made it; the agent does the rest"
        case "identity-gone":
            warning.remedy =
                "restore 'node-id' from a backup and run: systemctl restart fanmesh-agent; without one run "
                + "'fanmesh leave --force', then join with a new token"
        case "machine-changed":
            warning.remedy =
                "run 'fanmesh leave --force' here, which makes this copy a node of its own, then join with a new token; "
                + "the original stays as it is"
        default: break
        }
        return warning
    }
}
