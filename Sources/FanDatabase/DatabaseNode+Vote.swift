internal import CLinux
internal import FanCore
internal import FanSystem
internal import Glibc

extension DatabaseNode {
    /// Gives the only voter the vote that libraft withholds.
    ///
    /// A leader that alone votes and makes this node a voter needs two votes as soon as it has noted so, this node's
    /// among them. When the note does not get here, because this node or the way to it fails just then, and the leader
    /// steps down, it asks for this node's vote; Raft has every node vote, but libraft 0.22.1 only one that knows itself
    /// as a voter: nobody could lead ever again.
    ///
    /// It is safe to say yes for it here: as long as this node's configuration has one voter, nothing was ever committed
    /// that this voter does not have, and nobody else can be given a vote.
    ///
    /// Returns at once; a thread of the node's own answers, so that it does not matter in which network namespace the
    /// caller's thread is. While two are waited for further ones are passed over: candidates ask again.
    public func vote(for candidacy: PeerStream.Candidacy) {
        _ = voting.submit { [weak self] in self?.answer(candidacy) }
    }

    private func answer(_ candidacy: PeerStream.Candidacy) {
        guard let socket = try? connectLocally(),
            let servers = try? DatabaseClient(descriptor: socket, timeout: .seconds(1)).cluster(),
            servers.filter({ $0.role == .voter }).map(\.address) == [candidacy.address], candidacy.address != address
        else { return }
        let way = Descriptor(adopting: connect(candidacy.address))
        guard way.number >= 0 else { return }
        let bytes = PeerStream.opening(id: id, address: address) + PeerStream.vote(for: candidacy)
        // Who closes it has sent it all: the other side reads it first.
        _ = unsafe send(way.number, bytes, bytes.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL))
    }
}

extension PeerStream {
    /// How a connection to another node's database begins.
    static func opening(id: UInt64, address: String) -> [UInt8] {
        var name = Array(address.utf8) + [0]
        name += [UInt8](repeating: 0, count: (8 - name.count % 8) % 8)
        let body = bytes(id) + name
        return bytes(1) + bytes(UInt64(body.count / 8) | UInt64(connectRequest) << 32) + body
    }

    /// A vote for a candidate.
    static func vote(for candidacy: Candidacy) -> [UInt8] {
        let head = [candidacy.term, 1, candidacy.isPreVote ? 1 : 0].flatMap(bytes)
        return [RaftMessage.requestVoteResult.rawValue, 0, 2, 0, 0, 0, 0, 0] + bytes(UInt64(head.count)) + head
    }
}
