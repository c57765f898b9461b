/// A binary heap of deadlines.
///
/// Each key has at most one live deadline: arming it again replaces the earlier one, whose entry is dropped when it
/// comes up.
struct TimerQueue {
    private struct Entry {
        var deadline: UInt64
        var key: Int
        var generation: UInt32
    }

    private var heap: [Entry] = []
    private var generations: [UInt32]
    private var isArmed: [Bool]

    /// Makes an empty queue for keys below `keyCount`.
    init(keyCount: Int) {
        generations = Array(repeating: 0, count: keyCount)
        isArmed = Array(repeating: false, count: keyCount)
    }

    /// Sets the key's deadline, in monotonic nanoseconds.
    mutating func arm(_ key: Int, at deadline: UInt64) {
        generations[key] &+= 1
        isArmed[key] = true
        heap.append(Entry(deadline: deadline, key: key, generation: generations[key]))
        siftUp(heap.count - 1)
    }

    /// Forgets the key's deadline.
    mutating func disarm(_ key: Int) {
        isArmed[key] = false
    }

    /// The earliest live deadline.
    mutating func next() -> UInt64? {
        while let first = heap.first {
            if isLive(first) { return first.deadline }
            removeFirst()
        }
        return nil
    }

    /// Removes and returns the key whose deadline is the earliest, if that is not after `now`.
    mutating func popDue(now: UInt64) -> Int? {
        guard let deadline = next(), deadline <= now else { return nil }
        let key = heap[0].key
        isArmed[key] = false
        removeFirst()
        return key
    }

    private func isLive(_ entry: Entry) -> Bool {
        isArmed[entry.key] && generations[entry.key] == entry.generation
    }

    private mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if heap[child].deadline < heap[smallest].deadline { smallest = child }
            }
            if smallest == parent { return }
            heap.swapAt(parent, smallest)
            parent = smallest
        }
    }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent].deadline <= heap[child].deadline { return }
            heap.swapAt(parent, child)
            child = parent
        }
    }
}
