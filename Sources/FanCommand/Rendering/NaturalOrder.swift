internal import FanCore

/// The order in which people expect names: `host2` before `host10`, `10.0.0.9` before `10.0.0.10`.
enum NaturalOrder {
    /// Whether one text comes before another; numbers within them compare by value.
    static func precedes(_ a: String, _ b: String) -> Bool {
        var left = Array(a.utf8)[...]
        var right = Array(b.utf8)[...]
        while let first = left.first, let second = right.first {
            if first.isDigit && second.isDigit {
                let x = takeNumber(&left)
                let y = takeNumber(&right)
                if x.count != y.count { return x.count < y.count }
                if x != y { return x.lexicographicallyPrecedes(y) }
            } else if first != second {
                return first < second
            } else {
                left.removeFirst()
                right.removeFirst()
            }
        }
        guard left.isEmpty && right.isEmpty else { return left.isEmpty }
        // Equal but for leading zeros: any fixed order will do.
        return a.utf8.lexicographicallyPrecedes(b.utf8)
    }

    /// Removes the number at the start and returns its digits without leading zeros.
    private static func takeNumber(_ bytes: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let digits = bytes.prefix(while: \.isDigit)
        bytes = bytes.dropFirst(digits.count)
        return digits.drop { $0 == UInt8(ascii: "0") }
    }
}

extension [Document] {
    /// The records in natural order of one of their values.
    func sortedNaturally(by path: String) -> [Document] {
        sorted { NaturalOrder.precedes($0[path].plainText, $1[path].plainText) }
    }
}
