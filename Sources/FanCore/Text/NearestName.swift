/// Finds what was probably meant by a misspelt name.
public enum NearestName {
    /// The candidate closest to a word, nil when none is close.
    public static func find(_ word: String, in candidates: [String]) -> String? {
        let letters = Array(word.lowercased().unicodeScalars)
        guard (1...64).contains(letters.count) else { return nil }
        let limit = max(1, letters.count / 3)
        var best: (distance: Int, name: String)?
        for name in candidates {
            let other = Array(name.unicodeScalars)
            let isStart = letters.count >= 2 && other.starts(with: letters)
            let distance = isStart ? 1 : Self.distance(letters, other)
            if distance <= limit && distance < best?.distance ?? .max { best = (distance, name) }
        }
        return best?.name
    }

    /// How many letters must be added, removed, replaced or swapped with their neighbour.
    private static func distance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 0..<a.count {
            var current = [i + 1]
            for j in 0..<b.count {
                var cost = min(last[j + 1] + 1, current[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
                current.append(cost)
            }
            beforeLast = last
            last = current
        }
        return last[b.count]
    }
}
