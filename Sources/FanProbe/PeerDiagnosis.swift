internal import FanCore

/// Turns what the probes found out about a peer into a judgement, a sentence and a remedy.
struct PeerDiagnosis {
    var check: PeerCheck
    var target: PeerTarget
    var underlay: EchoOutcome
    var overlay: PathMTUOutcome
    /// What the guest said that is asked for; nil when there is none.
    var guest: PathMTUOutcome?

    private typealias Judgement = (cause: PeerCause, diagnosis: String, remedy: String)

    var result: PeerResult {
        let judgement = self.judgement
        return PeerResult(
            target: target,
            layers: PeerLayers(
                underlay: underlay.layer,
                vxlan: overlay.echo.layer,
                guest: guest?.echo.layer ?? .skipped,
                mtu: mtuLayer
            ),
            roundTrip: farthest.echo.roundTrip ?? underlay.roundTrip,
            pathMTUBytes: farthest.pathMTUBytes,
            finding: Finding(
                code: judgement.cause.rawValue,
                severity: judgement.cause.severity,
                subject: target.name,
                message: judgement.diagnosis,
                remedy: judgement.remedy
            )
        )
    }

    /// The farthest that answered over the overlay: the guest, or else the peer.
    private var farthest: PathMTUOutcome {
        guard let guest, guest.echo.roundTrip != nil else { return overlay }
        return guest
    }

    private var mtuLayer: LayerResult {
        guard farthest.echo.roundTrip != nil else { return .skipped }
        guard let bytes = farthest.pathMTUBytes else { return .unknown }
        if bytes >= check.overlayMTUBytes { return .ok }
        return farthest.isExact ? .fail : .unknown
    }

    private var judgement: Judgement {
        switch (underlay, overlay.echo) {
        case (_, .answered):
            guestJudgement ?? reachable
        case (_, .failed(.noReply)) where guest?.echo.roundTrip != nil,
            (_, .failed(.rejected)) where guest?.echo.roundTrip != nil:
            (
                .pingFiltered,
                "the guest answers, the bridge of its host, \(target.overlayAddress), does not: its pings are probably "
                    + "filtered there; harmless",
                "to silence this, allow ICMP echo to \(target.overlayAddress) on \(target.underlayAddress)"
            )
        case (.failed(.cancelled), _), (_, .failed(.cancelled)):
            interrupted(before: target.name)
        case (_, .failed(.local(let error))):
            overlayNotSent(error)
        case (.failed(.local(let error)), .failed):
            underlayNotSent(error)
        case (.answered, .failed(let failure)):
            overlayBroken(failure)
        case (.failed(let failure), .failed):
            hostSilent(failure)
        }
    }

    private func interrupted(before name: String) -> Judgement {
        (.interrupted, "the check was interrupted before \(name) had answered", PeerCause.interrupted.remedy)
    }

    /// The overlay works, and the guest that is asked for does not answer; nil when none is, or it does.
    private var guestJudgement: Judgement? {
        guard let address = target.guestAddress, case .failed(let failure)? = guest?.echo else { return nil }
        let host = target.underlayAddress
        let remedy =
            "start the guest of \(host) that has \(address), or give one that address; on \(host) see: "
            + "ip neigh show to \(address)"
        switch failure {
        case .cancelled:
            return interrupted(before: address.description)
        case .local(let error):
            return (
                .notSent, "this host could not send to \(address): \(error)", localRemedy(error, destination: address)
            )
        case .rejected(let rejection) where rejection.reporter == check.overlayAddress:
            return (
                .guestMissing,
                "the overlay to its host works, but nobody answers ARP for \(address): no guest there has it",
                remedy
            )
        case .rejected(let rejection):
            return (
                .guestUnreachable, "the overlay to its host works, but \(address) is out of reach: \(rejection)", remedy
            )
        case .noReply:
            return (
                .guestSilent,
                "the overlay to its host works, but \(address) does not answer: no guest there has it, or the one that "
                    + "has it is down or drops pings",
                remedy + "; if it runs, allow ICMP echo in it"
            )
        }
    }

    /// The overlay works; what remains are its MTU and the underlay's silence.
    private var reachable: Judgement {
        let bytes = farthest.pathMTUBytes ?? 0
        switch mtuLayer {
        case .fail:
            return (
                .pathMTU,
                "path MTU \(bytes) is below the overlay's \(check.overlayMTUBytes): larger packets are lost",
                "set the MTU of every underlay link to at least \(check.overlayMTUBytes + 50), "
                    + (check.isClusters
                        ? "or run: fanmesh cluster edit mtu=\(bytes)"
                        : "or on every host run: fanmesh up --mtu \(bytes)")
            )
        case .unknown:
            return (
                .pathMTUUnknown,
                "packets of \(bytes) bytes pass over the overlay, the full \(check.overlayMTUBytes) did not in time",
                PeerCause.pathMTUUnknown.remedy
            )
        case .ok, .skipped:
            break
        }
        switch underlay {
        case .answered(_, let attempt) where attempt > 1:
            return (.packetLoss, "reachable, but \(attempt - 1) of \(attempt) underlay pings were lost", "")
        case .answered:
            if case .answered(_, let attempt) = farthest.echo, attempt > 1 {
                return (.packetLoss, "reachable, but \(attempt - 1) of \(attempt) overlay pings were lost", "")
            }
            return (.reachable, "reachable, full-size packets pass", "")
        case .failed(.local(let error)):
            return (
                .pingNotSent,
                "the overlay works, but this host could not ping \(target.underlayAddress): \(error)",
                localRemedy(error, destination: target.underlayAddress)
            )
        case .failed:
            return (
                .pingFiltered,
                "the underlay does not answer ping, the overlay works: ICMP is probably filtered; harmless",
                "to silence this, allow ICMP echo to \(target.underlayAddress)"
            )
        }
    }

    private func overlayNotSent(_ error: SystemError) -> Judgement {
        if error.isMissingAddress || error.isNoRoute {
            let what =
                error.isMissingAddress
                ? "this host does not have its overlay address \(check.overlayAddress)"
                : "this host has no route to \(target.overlayAddress)"
            let remedy = PeerCheck.upRemedy(isClusters: check.isClusters)
            return (.overlayMissing, "\(what): the overlay is not up here", remedy)
        }
        let remedy = localRemedy(error, destination: target.overlayAddress)
        return (.notSent, "this host could not send to \(target.overlayAddress): \(error)", remedy)
    }

    private func underlayNotSent(_ error: SystemError) -> Judgement {
        let what =
            error.isMissingAddress
            ? "this host no longer has its underlay address \(check.underlayAddress)"
            : "this host could not send to \(target.underlayAddress): \(error)"
        let cause = error.isMissingAddress ? PeerCause.underlayAddressMissing : .notSent
        return (cause, what, localRemedy(error, destination: target.underlayAddress))
    }

    private func localRemedy(_ error: SystemError, destination: IPv4Address) -> String {
        if error.isMissingAddress {
            check.isClusters
                ? "give the address back; or run: fanmesh readdress"
                : "look for the host's present address with: ip -4 address; then run fanmesh up for it"
        } else if error.isPermission {
            "allow outgoing ICMP in this host's firewall; see: nft list ruleset"
        } else {
            "see: ip route get \(destination)"
        }
    }

    private func overlayBroken(_ failure: EchoFailure) -> Judgement {
        let from = check.underlay.map { "from \($0) " } ?? ""
        let remedy =
            "allow UDP \(check.port) \(from)in both directions; on \(target.name) run: fanmesh status"
        if case .rejected(let rejection) = failure, rejection.reporter != check.overlayAddress {
            return (.overlayRejected, "the host answers, but not over the overlay: \(rejection)", remedy)
        }
        return (
            .vxlanBlocked,
            "UDP \(check.port) is probably blocked between \(check.underlayAddress) and \(target.underlayAddress), "
                + "or fanmesh is not running there or has other overlay or underlay settings",
            remedy
        )
    }

    private func hostSilent(_ failure: EchoFailure) -> Judgement {
        let address = target.underlayAddress
        guard case .rejected(let rejection) = failure else {
            return (
                .hostSilent,
                "no answer from the host itself: is \(address) up, and is it on the same network?",
                "start \(target.name) or mend its network; from here try: ip neigh show to \(address)"
            )
        }
        if rejection.reporter == check.underlayAddress {
            return (
                .hostMissing,
                "nobody answers ARP for \(address): the host is down or not on this network",
                "start \(target.name), or correct its address in the list of peers"
            )
        }
        let remedy =
            rejection.reason == .prohibited
            ? "allow traffic from \(check.underlayAddress) to \(address) on \(rejection.reporter)"
            : "mend the route to \(address) on \(rejection.reporter)"
        return (.hostUnreachable, "no way to the host itself: \(rejection)", remedy)
    }
}

extension EchoOutcome {
    /// The layer's result; what this host itself prevented is unknown, not failed.
    var layer: LayerResult {
        switch self {
        case .answered: .ok
        case .failed(.noReply), .failed(.rejected): .fail
        case .failed(.local), .failed(.cancelled): .unknown
        }
    }
}
