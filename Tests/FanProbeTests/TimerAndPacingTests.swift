import TestSupport
import Testing

@testable import FanProbe

@Suite struct TimerAndPacingTests {
    @Test func timersComeUpInOrder() {
        var generator = SeededGenerator(seed: 7)
        var queue = TimerQueue(keyCount: 500)
        var expected: [(UInt64, Int)] = []
        for key in 0..<500 {
            queue.arm(key, at: 1_000_000)
            let deadline = UInt64(key) * 1000 + UInt64.random(in: 0..<100_000_000, using: &generator)
            queue.arm(key, at: deadline)
            if key % 3 == 0 { queue.disarm(key) } else { expected.append((deadline, key)) }
        }
        expected.sort { $0.0 < $1.0 }
        #expect(queue.next() == expected.first?.0)
        var order: [Int] = []
        while let key = queue.popDue(now: .max) { order.append(key) }
        #expect(order == expected.map(\.1))
        #expect(queue.next() == nil)
    }

    @Test func timersWaitForTheirTime() {
        var queue = TimerQueue(keyCount: 1)
        queue.arm(0, at: 10)
        #expect(queue.popDue(now: 9) == nil)
        #expect(queue.popDue(now: 10) == 0)
        #expect(queue.popDue(now: 11) == nil)
    }

    @Test func pacingAllowsABurstPerInterval() {
        var pacer = SendPacer(burst: 10, interval: 100, now: 0)
        #expect(pacer.available(now: 0) == 10)
        pacer.spend(10)
        #expect(pacer.available(now: 99) == 0)
        #expect(pacer.available(now: 100) == 10)
        pacer.exhaust(now: 150)
        #expect(pacer.available(now: 249) == 0)
        #expect(pacer.available(now: 250) == 10)
    }

    @Test func queueKeepsItsOrder() {
        var queue = Queue<Int>()
        var generator = SeededGenerator(seed: 3)
        var next = 0
        var expected = 0
        for _ in 0..<20_000 {
            if Bool.random(using: &generator) || queue.isEmpty {
                queue.append(next)
                next += 1
            } else {
                #expect(queue.first == expected)
                queue.removeFirst()
                expected += 1
            }
            #expect(queue.count == next - expected)
        }
    }
}
