internal import CLinux
internal import FanSystem
internal import FanCore

extension ProbeLoop {
    /// Sends what is queued, as much as the pacing allows, the sources by turns.
    mutating func flush() {
        for index in sources.indices where !sources[index].queue.isEmpty {
            while !sources[index].queue.isEmpty {
                let allowance = pacer.available(now: fan_monotonic_nanoseconds())
                guard allowance > 0 else { return }
                guard send(source: index, limit: min(allowance, Self.batch)) else { break }
            }
        }
    }

    /// Sends one batch of a source; false when its socket takes no more for now.
    private mutating func send(source index: Int, limit: Int) -> Bool {
        var packets: [fan_packet] = []
        var owners: [QueuedEcho] = []
        /// How many queue entries lead up to and include each packet.
        var consumed: [Int] = []
        var seen = 0
        var offset = 0
        let time = fan_monotonic_nanoseconds()
        while packets.count < limit, seen < sources[index].queue.count {
            let entry = sources[index].queue[seen]
            seen += 1
            guard jobs[entry.job].isActive else { continue }
            let attempt = jobs[entry.job].sent.count
            jobs[entry.job].sent.append(SentEcho(bytes: entry.bytes, time: time))
            let packet = EchoPacket(
                identifier: identifier,
                sequence: jobs[entry.job].sequence,
                token: jobs[entry.job].token,
                job: UInt32(truncatingIfNeeded: entry.job),
                attempt: UInt32(truncatingIfNeeded: attempt)
            )
            var buffer = sendBuffer.mutableSpan
            let length = packet.write(to: &buffer, at: offset, ipBytes: entry.bytes)
            packets.append(
                fan_packet(
                    time: 0,
                    address: jobs[entry.job].destination.rawValue,
                    offset: UInt32(offset),
                    length: UInt32(length)
                )
            )
            owners.append(entry)
            consumed.append(seen)
            offset += length
        }
        guard !packets.isEmpty else {
            sources[index].queue.removeFirst(seen)
            return true
        }
        let socket = sources[index].source.icmp.number
        let result = Int(unsafe fan_send_packets(socket, sendBuffer, packets, UInt32(packets.count)))
        let sent = max(0, result)
        noteDepartures(source: index)
        // What did not leave stays queued and was not an attempt.
        for entry in owners[sent...].reversed() { jobs[entry.job].sent.removeLast() }
        pacer.spend(sent)
        if sent > 0 {
            sources[index].queue.removeFirst(sent == packets.count ? seen : consumed[sent - 1])
            return true
        }
        let error = SystemError(errno: Int32(-result))
        if error.isTransient {
            pacer.exhaust(now: fan_monotonic_nanoseconds())
            return false
        }
        sources[index].queue.removeFirst(consumed[0])
        deliver(.sendFailed(error, bytes: owners[0].bytes), to: owners[0].job)
        return true
    }

    /// Reads what has come for a source.
    mutating func receive(source index: Int) {
        // A packet that waited for its neighbour's address left after it was sent, but before it was answered.
        noteDepartures(source: index)
        for (message, arrival) in read(source: index, .arrivals, { ICMPMessage(packet: $0) }) {
            take(message, source: index, arrival: arrival, time: fan_monotonic_nanoseconds())
        }
    }

    /// Takes note of when the kernel passed a source's packets to their device.
    private mutating func noteDepartures(source index: Int) {
        let departed = read(source: index, .departures) { ICMPMessage.EchoReply(departed: $0) }
        for (echo, time) in departed {
            let job = Int(echo.job)
            let attempt = Int(echo.attempt)
            guard echo.identifier == identifier, job < jobs.count, jobs[job].isActive, jobs[job].source == index,
                echo.token == jobs[job].token, attempt < jobs[job].sent.count
            else { continue }
            jobs[job].sent[attempt].leftAt = time
        }
    }

    /// What the kernel keeps for a socket.
    private enum PacketQueue {
        case arrivals
        case departures
    }

    /// Reads all that one of a source's queues holds, with the kernel's time of each packet.
    private mutating func read<Message>(
        source index: Int,
        _ queue: PacketQueue,
        _ parse: (Span<UInt8>) -> Message?
    ) -> [(Message, UInt64)] {
        let socket = sources[index].source.icmp.number
        let limit = receiveBuffer.count / slotBytes
        var packets = Array(repeating: fan_packet(), count: min(limit, Self.batch))
        var messages: [(Message, UInt64)] = []
        while true {
            let room = UInt32(packets.count)
            let slot = UInt32(slotBytes)
            let count =
                switch queue {
                case .arrivals: Int(unsafe fan_receive_packets(socket, &receiveBuffer, slot, &packets, room))
                case .departures: Int(unsafe fan_receive_stamps(socket, &receiveBuffer, slot, &packets, room))
                }
            // An empty queue, or an error of the socket's that concerns no packet: the timers decide.
            guard count > 0 else { return messages }
            for packet in packets[..<count] {
                let start = Int(packet.offset)
                let bytes = receiveBuffer.span.extracting(start..<start + Int(packet.length))
                if let message = parse(bytes) { messages.append((message, packet.time)) }
            }
            if count < packets.count { return messages }
        }
    }

    /// Passes a message to the probe that it belongs to, if it belongs to any.
    mutating func take(_ message: ICMPMessage, source index: Int, arrival: UInt64, time: UInt64) {
        switch message {
        case .echoReply(let reply):
            let job = Int(reply.job)
            let attempt = Int(reply.attempt)
            guard reply.identifier == identifier, job < jobs.count, jobs[job].isActive, jobs[job].source == index,
                reply.token == jobs[job].token, reply.sequence == jobs[job].sequence,
                reply.source == jobs[job].destination, attempt < jobs[job].sent.count,
                !jobs[job].sent[attempt].isAnswered, reply.ipBytes == jobs[job].sent[attempt].bytes
            else { return }
            jobs[job].sent[attempt].isAnswered = true
            let roundTrip = jobs[job].sent[attempt].roundTrip(answeredAt: arrival, readAt: time)
            deliver(.reply(bytes: reply.ipBytes, attempt: attempt + 1, roundTrip: roundTrip), to: job)
        case .error(let rejection, let quoted):
            guard quoted.identifier == identifier else { return }
            let candidates = stride(from: Int(quoted.sequence), to: sources[index].jobs.count, by: 1 << 16)
            for job in candidates.lazy.map({ [list = sources[index].jobs] in list[$0] }) {
                guard jobs[job].isActive, jobs[job].destination == quoted.destination,
                    quoted.token == nil || quoted.token == jobs[job].token,
                    jobs[job].sent.contains(where: { $0.bytes == quoted.ipBytes && !$0.isAnswered })
                else { continue }
                deliver(.rejected(rejection, bytes: quoted.ipBytes), to: job)
                return
            }
        }
    }
}
